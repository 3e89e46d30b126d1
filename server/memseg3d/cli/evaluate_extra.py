"""What `memseg3d evaluate` needs besides a worker's packages: told before anything is computed."""

from __future__ import annotations

from importlib.util import find_spec

import typer


def require_extra(baselines: bool = False) -> None:
    """The metrics and the robot need packages that a worker does without."""
    wanted = ["scipy", "surface_distance", *(["skimage", "pyamg"] if baselines else [])]
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        typer.echo(f"memseg3d evaluate needs {' and '.join(missing)}: pip install 'memseg3d[evaluate]'.", err=True)
        raise typer.Exit(1)

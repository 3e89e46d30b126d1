"""Commands of other distributions: entry points of the group `memseg3d.commands`, which take their own arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points

import typer

GROUP = "memseg3d.commands"
KNOWN = {"export": "memseg3d-export"}
"""Commands that come in a distribution of their own, and its name."""


def found(name: str) -> EntryPoint | None:
    """The entry point of a command, where its distribution is installed."""
    return next(iter(entry_points(group=GROUP, name=name)), None)


def export(context: typer.Context) -> None:
    """Write a labelmap as DICOM-SEG: memseg3d export --dicom FOLDER --labelmap FILE --out FILE (--help: all)."""
    raise typer.Exit(run("export", context.args))


def run(name: str, arguments: Sequence[str]) -> int:
    """Run a command of another distribution; its exit code, 1 with a sentence where it is not installed."""
    point = found(name)
    if point is None:
        where = f"{sys.executable} -m pip install ./export"
        typer.echo(
            f"memseg3d {name} comes in the distribution {KNOWN[name]}, which is not installed here: {where} in a "
            "checkout of MemSeg3D installs it.",
            err=True,
        )
        return 1
    command: Callable[[Sequence[str]], int] = point.load()
    return command(list(arguments))

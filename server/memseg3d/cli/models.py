"""`memseg3d models`: the checkpoints that are found by name, and what is known of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from memseg3d.cli.networks import ModelsOption


def models(
    folder: ModelsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """List the models that are found, with size, SHA-256, licence and place."""
    from memseg3d.network.models import ENVIRONMENT, list_models, model_folders

    if folder is not None and not folder.is_dir():
        raise typer.BadParameter(f"{folder} is no folder.", param_hint="--models")
    found = [_describe(path) for path in list_models(folder)]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found:
        _print_table(found)
    else:
        places = ", ".join(str(place) for place in model_folders(folder))
        typer.echo(f"No model found. Looked in: {places}. Name another folder by --models or {ENVIRONMENT}.")


def _describe(path: Path) -> dict[str, Any]:
    from memseg3d.network.models import ModelDamaged, describe_model

    words: dict[str, Any] = {"name": path.stem, "bytes": path.stat().st_size, "path": str(path)}
    try:
        model = describe_model(path)
    except ModelDamaged as error:
        return words | {"sha256": "", "licence": "", "fault": str(error)}
    return words | {"sha256": model.sha256, "licence": model.licence, "fault": ""}


def _print_table(found: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "MB", "SHA-256", "licence", "where")
    for model in found:
        table.add_row(
            model["name"],
            f"{model['bytes'] / 1e6:.1f}",
            model["sha256"][:16] or "-",
            model["licence"] or "unknown",
            model["fault"] or model["path"],
        )
    Console().print(table)

"""`memseg3d models`: the models that are found by name; fetch public ones, add one from a file, remove one."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memseg3d.cli.networks import ModelsOption

if TYPE_CHECKING:
    from memseg3d.catalogue.entries import CatalogueModel
    from memseg3d.catalogue.installing import ModelShelf

app = typer.Typer(help="The models that are found by name; fetch public ones, add one from a file, remove one.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]
CatalogueOption = Annotated[
    Path | None, typer.Option("--catalogue", help="Another catalogue than the one that came with MemSeg3D.")
]


@app.callback(invoke_without_command=True)
def models(context: typer.Context, folder: ModelsOption = None, as_json: JsonOption = False) -> None:
    """List the models that are found, with size, SHA-256, licence and place."""
    if context.invoked_subcommand is not None:
        context.obj = folder
        return
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


@app.command()
def available(
    context: typer.Context, folder: ModelsOption = None, catalogue: CatalogueOption = None, as_json: JsonOption = False
) -> None:
    """List the public models that `memseg3d models get` fetches. Nothing is fetched, nobody is asked."""
    from memseg3d.catalogue.entries import CatalogueError, read_catalogue

    shelf = _shelf(context, folder)
    try:
        listed = read_catalogue(catalogue)
    except CatalogueError as error:
        raise _refused(error) from error
    if as_json:
        typer.echo(json.dumps([_entry(model, shelf) for model in listed], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("model", no_wrap=True)
    for title in ("MB", "licence", "here", "what for"):
        table.add_column(title)
    for model in listed:
        licence = model.licence.id + (" (to be accepted)" if model.licence.needs_consent else "")
        here = "yes" if model.is_installed(shelf.folder) else ""
        table.add_row(model.name, f"{model.bytes / 1e6:.0f}" if model.bytes else "?", licence, here, model.use)
    Console().print(table)


@app.command()
def get(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of a model in `memseg3d models available`.")],
    folder: ModelsOption = None,
    catalogue: CatalogueOption = None,
    accept_licence: Annotated[
        str | None, typer.Option("--accept-licence", help="The licence that you accept, by its id.")
    ] = None,
    proxy: Annotated[
        str | None, typer.Option("--proxy", help="Address of a proxy; that of the environment or system if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Tell progress and result as lines of JSON.")] = False,
) -> None:
    """Fetch a public model into the folder of models. Ctrl+C stops; the same command goes on from there."""
    from memseg3d.catalogue.download import Downloader
    from memseg3d.catalogue.entries import CatalogueError, model_called, read_catalogue

    shelf = _shelf(context, folder)
    try:
        model = model_called(name, read_catalogue(catalogue))
        _ask_consent(model, shelf, accept_licence)
        path = shelf.get(model, Downloader(proxy), _JsonProgress() if as_json else _TextProgress())
    except CatalogueError as error:
        raise _refused(error) from error
    except KeyboardInterrupt:
        typer.echo("\nStopped. What has come is kept: the same command goes on from there.", err=True)
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps({"type": "done", "name": model.name, "path": str(path)}))
    else:
        typer.echo(f"{model.name} is at {path}. Use it by --model {model.name}.")


@app.command()
def add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A checkpoint, or a folder of nnInteractive's.")],
    name: Annotated[str | None, typer.Option("--name", help="Its name; that of the file if left out.")] = None,
    folder: ModelsOption = None,
) -> None:
    """Copy a model of your own into the folder of models, with the card beside it."""
    from memseg3d.catalogue.entries import CatalogueError
    from memseg3d.network.models import name_of

    try:
        path = _shelf(context, folder).add(file, name)
    except CatalogueError as error:
        raise _refused(error) from error
    typer.echo(f"{name_of(path)} was added: {path}.")


@app.command()
def accept(
    context: typer.Context,
    licence: Annotated[str, typer.Argument(help="The licence's id, as `available` and messages name it.")],
    folder: ModelsOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Keep that you accept a licence, for models that you have from elsewhere."""
    from memseg3d.catalogue.entries import CatalogueError, read_catalogue

    shelf = _shelf(context, folder)
    try:
        known = sorted({model.licence.id for model in read_catalogue(catalogue)})
        if licence not in known:
            raise CatalogueError(f"No model of the catalogue comes under {licence!r}: there are {', '.join(known)}.")
        shelf.accept(licence)
    except CatalogueError as error:
        raise _refused(error) from error
    typer.echo(f"{licence} is accepted for the models of {shelf.folder}.")


@app.command()
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of a model in your folder of models.")],
    folder: ModelsOption = None,
) -> None:
    """Delete a model from the folder of models, with its card and what is left of an unfinished fetch."""
    from memseg3d.catalogue.entries import CatalogueError

    try:
        gone = _shelf(context, folder).remove(name)
    except CatalogueError as error:
        raise _refused(error) from error
    for path in gone:
        typer.echo(f"Deleted {path}.")


class _TextProgress:
    """A line that is written over, ten times a second at most; on no terminal nothing."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, name: str, done: int, total: int) -> None:
        is_last = bool(total) and done >= total
        if not sys.stderr.isatty() or (time.monotonic() < self._next and not is_last):
            return
        self._next = time.monotonic() + 0.1
        of = f" of {total / 1e6:.1f} MB ({100 * done // total} %)" if total else " MB"
        typer.echo(f"\r{name}: {done / 1e6:.1f}{of}   " + ("\n" if is_last else ""), nl=False, err=True)


class _JsonProgress:
    """Lines of JSON, four a second at most: for panels."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, name: str, done: int, total: int) -> None:
        if time.monotonic() >= self._next or (total and done >= total):
            self._next = time.monotonic() + 0.25
            typer.echo(json.dumps({"type": "progress", "file": name, "done": done, "total": total}))


def _ask_consent(model: CatalogueModel, shelf: ModelShelf, accepted: str | None) -> None:
    """Take the consent of the option, or ask for it on a terminal. Raises CatalogueError without it."""
    from memseg3d.catalogue.entries import CatalogueError

    licence = model.licence
    if accepted is not None:
        if accepted != licence.id:
            raise CatalogueError(f"{model.name} comes under {licence.id}, not under {accepted!r}.")
        shelf.accept(licence.id)
    elif licence.needs_consent and licence.id not in shelf.consents() and sys.stdin.isatty():
        typer.echo(f"{licence.title}\n{licence.terms}\nThe whole text: {licence.address}")
        if typer.confirm("Do you accept it?"):
            shelf.accept(licence.id)
    shelf.require_consent(model)


def _shelf(context: typer.Context, folder: Path | None) -> ModelShelf:
    from memseg3d.catalogue.installing import ModelShelf
    from memseg3d.network.models import own_folder

    return ModelShelf(own_folder(folder or context.obj))


def _entry(model: CatalogueModel, shelf: ModelShelf) -> dict[str, Any]:
    licence = model.licence
    return {
        "name": model.name,
        "use": model.use,
        "bytes": model.bytes,
        "installed": model.is_installed(shelf.folder),
        "page": model.page,
        "licence": {
            "id": licence.id,
            "title": licence.title,
            "terms": licence.terms,
            "address": licence.address,
            "needs_consent": licence.needs_consent,
            "accepted": licence.id in shelf.consents(),
        },
    }


def _refused(error: Exception) -> typer.Exit:
    typer.echo(f"memseg3d models: {error}", err=True)
    return typer.Exit(2)


def _describe(path: Path) -> dict[str, Any]:
    from memseg3d.network.models import ModelDamaged, describe_model, name_of, weights_in

    size = (weights_in(path) or path).stat().st_size
    words: dict[str, Any] = {"name": name_of(path), "bytes": size, "path": str(path)}
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

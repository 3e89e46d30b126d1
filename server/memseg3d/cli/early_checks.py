"""What is told before torch is loaded and data are read: files, folders and models that are not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from memseg3d.network.signs import Signs

NO_MEM3D = "{name} is no network of Mem3D's; `memseg3d evaluate rounds` judges any."
TWO_WINDOWS = "{name} looks at two windows, a video has one: name a SAM 2 by --model."
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")]


def check_exists(path: Path | None, option: str) -> None:
    """Raise `typer.BadParameter` where a path is named and nothing is there."""
    if path is not None and not path.exists():
        raise typer.BadParameter(f"{path} does not exist; check the path.", param_hint=option)


def check_all_exist(paths: Iterable[Path], option: str) -> None:
    """The same for several."""
    for path in paths:
        check_exists(path, option)


def check_is_folder(path: Path | None, option: str) -> None:
    """Raise `typer.BadParameter` where a path is named and is no folder."""
    check_exists(path, option)
    if path is not None and not path.is_dir():
        raise typer.BadParameter(f"{path} is no folder; name one.", param_hint=option)


def check_is_new(paths: Iterable[Path], overwrite: bool, option: str) -> None:
    """Raise `typer.BadParameter` where a file that a command writes is there and may not be replaced."""
    there = next((path for path in paths if path.exists()), None)
    if there is not None and not overwrite:
        raise typer.BadParameter(f"{there} is there already; name another one, or --overwrite.", param_hint=option)


def check_picture(path: Path, option: str = "--out") -> None:
    """Raise `typer.BadParameter` where a picture cannot go there."""
    if path.suffix.lower() != ".png" or path.is_dir():
        raise typer.BadParameter(f"{path} is no name for a picture; let it end in .png.", param_hint=option)


def check_image_size(side: int | None, option: str = "--image-size") -> None:
    """Raise `typer.BadParameter` for a side that SAM 2 cannot take."""
    if side is not None and side % 32:
        raise typer.BadParameter(
            f"SAM 2 takes images of a multiple of 32 pixels, not {side}: choose 512 or 1024.", param_hint=option
        )


def check_has_manifest(path: Path | None, option: str, kind: str = "cases with truth") -> None:
    """Raise `typer.BadParameter` where a folder is named that lists no cases."""
    if path is not None and not (path / "MANIFEST.json").is_file():
        raise typer.BadParameter(f"{path} holds no MANIFEST.json; give the folder of {kind}.", param_hint=option)


def check_training_data(folder: Path | None, option: str, is_judged_by: bool = False) -> None:
    """Raise `typer.BadParameter` where a folder is named that is no training data. is_judged_by: by the development
    set in it.
    """
    check_has_manifest(folder, option, "the training data")
    if folder is None:
        return
    from memseg3d.datasets.training_data import development_groups, training_cases
    from memseg3d.files import UnreadableFile

    try:
        (development_groups if is_judged_by else training_cases)(folder)
    except UnreadableFile as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def check_is_mem3d(model: str | None, models: Path | None) -> None:
    """Raise `typer.BadParameter` where a safetensors file is a network of another kind than Mem3D's."""
    from memseg3d.network.signs import is_mem3d

    _check_signs(model, models, lambda signs: is_mem3d(signs.tensors), NO_MEM3D)


def check_one_window(model: str | None, models: Path | None) -> None:
    """Raise `typer.BadParameter` where a safetensors file is an embedded network that looks at two windows."""
    from memseg3d.network.signs import NANO_KEY

    _check_signs(model, models, lambda signs: NANO_KEY not in signs.metadata, TWO_WINDOWS)


def _check_signs(model: str | None, models: Path | None, are_right: Callable[[Signs], bool], sentence: str) -> None:
    from memseg3d.network.models import find_model, name_of
    from memseg3d.network.signs import signs_of

    path = find_model(model, models)
    signs = signs_of(path)
    if signs is not None and not are_right(signs):
        raise typer.BadParameter(sentence.format(name=name_of(path)), param_hint="--model")


def check_model(model: str | None, models: Path | None, option: str = "--model") -> None:
    """Raise `typer.BadParameter` where there is no model of that name, or one of those joined by a +."""
    from memseg3d.network.models import ModelNotFound, find_model

    check_is_folder(models, "--models")
    try:
        find_model(model, models)
    except ModelNotFound as error:
        first, plus, last = str(model).rpartition("+")
        if not plus:
            raise typer.BadParameter(str(error), param_hint=option) from error
        check_model(first or None, models, option)
        check_model(last, models, option)

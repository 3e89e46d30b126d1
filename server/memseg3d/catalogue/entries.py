"""The catalogue of public models, read from `catalogue.json`: addresses, sizes, sums and licences."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from memseg3d.network.models import model_folders

FILE = "catalogue.json"
LONGEST_NAME = 200
"""Letters of a model's path, so that every system takes it."""


class CatalogueError(ValueError):
    """What was asked of the catalogue cannot be done; the message says why, and what to do."""


@dataclass(frozen=True)
class Licence:
    """Under which terms a model is passed on. terms: in plain words; address: of the whole text."""

    id: str
    title: str
    address: str
    terms: str
    needs_consent: bool


@dataclass(frozen=True)
class RemoteFile:
    """One file of a model. path: where it goes in the folder of models; bytes: 0 where nobody has told.

    sha256: in hexadecimal, or how it begins where no more is known, '' where nothing is. optional: a model is whole
    without it.
    """

    path: str
    url: str
    bytes: int = 0
    sha256: str = ""
    optional: bool = False


@dataclass(frozen=True)
class CatalogueModel:
    """A model that can be fetched. page: for people."""

    name: str
    use: str
    licence: Licence
    page: str
    files: tuple[RemoteFile, ...]

    @property
    def bytes(self) -> int:
        """Bytes to be fetched, as far as they are known."""
        return sum(file.bytes for file in self.files)

    @property
    def is_folder(self) -> bool:
        """True where the model is a folder of files."""
        return any("/" in file.path for file in self.files)

    def place(self, folder: Path) -> Path:
        """The model's file or folder in a folder of models."""
        return folder / self.files[0].path.split("/")[0]

    def is_installed(self, folder: Path) -> bool:
        """True where all that it needs lies in the folder."""
        return all((folder / file.path).is_file() for file in self.files if not file.optional)


def read_catalogue(path: Path | None = None) -> list[CatalogueModel]:
    """The models of a catalogue; by default the one that came with MemSeg3D. Raises CatalogueError."""
    found = path or next((place / FILE for place in model_folders() if (place / FILE).is_file()), None)
    if found is None:
        raise CatalogueError(f"There is no {FILE} beside the models that came with MemSeg3D: install it again.")
    advice = "install MemSeg3D again" if path is None else "give another catalogue"
    try:
        return _models_of(json.loads(found.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise CatalogueError(f"{found} cannot be read ({error.strerror}): {advice}.") from error
    except (AttributeError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CatalogueError(f"{found} is no catalogue of models: {advice}.") from error


def model_called(name: str, models: Iterable[CatalogueModel]) -> CatalogueModel:
    """The model of that name, upper and lower case alike. Raises CatalogueError, with the names that there are."""
    listed = list(models)
    for model in listed:
        if model.name.lower() == name.lower():
            return model
    raise CatalogueError(f"The catalogue has no {name!r}. It has: {', '.join(model.name for model in listed)}.")


def _models_of(words: dict[str, Any]) -> list[CatalogueModel]:
    if words["format"] != 1:
        raise ValueError("it is of another version")
    licences = {name: Licence(id=name, **each) for name, each in words["licences"].items()}
    models = [
        CatalogueModel(
            each["name"],
            each["use"],
            licences[each["licence"]],
            each["page"],
            tuple(RemoteFile(**file) for file in each["files"]),
        )
        for each in words["models"]
    ]
    for model in models:
        texts = [model.name, model.use, model.page, *vars(model.licence).values()]
        if not all(isinstance(text, str | bool) for text in texts) or not model.files:
            raise ValueError(f"{model.name} is told wrongly")
        for file in model.files:
            _check_file(file)
    return models


def _check_file(file: RemoteFile) -> None:
    """Raise ValueError or TypeError unless a file lies in the folder of models and its words are such."""
    place = PurePosixPath(file.path)
    is_inside = bool(place.parts) and not place.is_absolute() and ".." not in place.parts
    if not is_inside or len(file.path) > LONGEST_NAME or set(file.path) & set("\\:\0"):
        raise ValueError(f"{file.path} lies outside the folder of models")
    is_sum = isinstance(file.sha256, str) and set(file.sha256) <= set("0123456789abcdefABCDEF")
    is_size = isinstance(file.bytes, int) and not isinstance(file.bytes, bool) and file.bytes >= 0
    if not (is_sum and is_size and isinstance(file.url, str) and isinstance(file.optional, bool)):
        raise ValueError(f"{file.path} is told wrongly")

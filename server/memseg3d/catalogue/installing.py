"""The folder of models on this computer: fetched from the catalogue, added from files, removed; each with its card."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from memseg3d.catalogue.download import Downloader
from memseg3d.catalogue.entries import CatalogueError, CatalogueModel
from memseg3d.network.models import CONSENTS, SUFFIXES, accepted_licences, name_of, sha256_of, weights_in

PARTS = (".part", ".part.etag")

Told = Callable[[str, int, int], None]
"""The file's name, bytes that are there, bytes in all."""


class ModelShelf:
    """One folder of models: files with a card of the same name, and folders of those that are several files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def consents(self) -> dict[str, str]:
        """When each licence was accepted here, by its id."""
        return accepted_licences(self.folder)

    def accept(self, licence: str) -> None:
        """Keep that this user has accepted a licence, so that it is asked for once."""
        if licence not in self.consents():
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_whole(self.folder / CONSENTS, json.dumps(self.consents() | {licence: when}, indent=1))

    def require_consent(self, model: CatalogueModel) -> None:
        """Raise CatalogueError where a model's licence has to be accepted first."""
        licence = model.licence
        if licence.needs_consent and licence.id not in self.consents():
            raise CatalogueError(
                f"{model.name} is not free for every use. {licence.title}: {licence.terms} The whole text: "
                f"{licence.address}. Accept it by --accept-licence {licence.id}."
            )

    def get(self, model: CatalogueModel, downloader: Downloader, told: Told = lambda name, done, total: None) -> Path:
        """Fetch a model of the catalogue; its file or folder. What was fetched before is not fetched again.

        Raises CatalogueError; files that have come whole, and parts to go on with, are kept.
        """
        self.require_consent(model)
        for file in model.files:
            target = self.folder / file.path
            if target.is_file():
                continue
            downloader.fetch(file, target, functools.partial(told, target.name))
        place = model.place(self.folder)
        if not model.is_folder:
            card = {
                "sha256": sha256_of(place),
                "licence": model.licence.id,
                "use": model.use,
                "source": model.files[0].url,
            }
            _write_whole(place.with_suffix(".json"), json.dumps(card, indent=1))
        else:
            # nnInteractive's own session shows the first line of this file
            _write_whole(
                place / "LICENSE", f"{model.licence.title}\n\n{model.licence.terms}\n{model.licence.address}\n"
            )
        return place

    def add(self, file: Path, name: str | None = None) -> Path:
        """Copy a checkpoint with its card, or a folder of nnInteractive's, under its own name or another.

        Raises CatalogueError where it is none, cannot be read, or its name is taken.
        """
        if name is not None and (Path(name).name != name or re.search(r'[<>:"/\\|?*\x00-\x1f]|^\.', name)):
            raise CatalogueError(f"{name!r} is no name for a model: take letters, digits, dots and dashes.")
        stem = name or name_of(file)
        target = self.folder / (f"{stem}{file.suffix}" if file.is_file() else stem)
        if self.folder.exists() and not self.folder.is_dir():
            raise CatalogueError(f"{self.folder} is a file: name a folder by --models.")
        if any((self.folder / f"{stem}{suffix}").exists() for suffix in ("", *SUFFIXES)):
            raise CatalogueError(f"There is a model called {stem}: give another --name, or remove that one.")
        part = target.with_name(f"{target.name}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if file.is_dir():
                _check_folder(file)
                shutil.copytree(file, part)
            else:
                _check_file(file)
                shutil.copyfile(file, part)
                card = file.with_suffix(".json")
                if card.is_file():
                    _write_whole(target.with_suffix(".json"), card.read_text("utf-8"))
            os.replace(part, target)
        except OSError as error:
            raise CatalogueError(f"{file} cannot be copied ({error.strerror}): check the file and the room.") from error
        finally:
            _delete(part)
        return target

    def remove(self, name: str) -> list[Path]:
        """Delete a model of this folder, its card, and what is left of a fetch; what was deleted. Raises CatalogueError
        where there is none of that name.
        """
        if not name or Path(name).name != name:
            raise CatalogueError(f"{name!r} is no model's name.")
        stem = name if (self.folder / name).is_dir() else Path(name).stem if Path(name).suffix in SUFFIXES else name
        files = [f"{stem}{suffix}" for suffix in SUFFIXES]
        wanted = [stem, f"{stem}.json", *files, *(f"{file}{part}" for file in files for part in PARTS)]
        found = [self.folder / each for each in wanted if (self.folder / each).exists()]
        if not any(path.suffix != ".json" for path in found):
            raise CatalogueError(f"There is no model {name} in {self.folder}.")
        try:
            for path in found:
                _delete(path)
        except OSError as error:
            raise CatalogueError(f"{name} cannot be deleted ({error.strerror}): stop whoever uses it.") from error
        return found


def _check_file(file: Path) -> None:
    if file.suffix not in SUFFIXES:
        raise CatalogueError(f"{file.name} is no model: give a file that ends in {', '.join(SUFFIXES)}.")
    is_cut_off = False
    try:
        with file.open("rb") as opened:
            head = opened.read(9)
            if head[8:9] == b"{" and file.suffix == ".safetensors":
                opened.seek(8)
                is_cut_off = file.stat().st_size < _safetensors_bytes(head, opened.read(_size_of_header(head)))
    except OSError as error:
        raise CatalogueError(f"{file} cannot be read ({error.strerror}): give another file.") from error
    if is_cut_off:
        raise CatalogueError(f"{file.name} is damaged or cut off: fetch it again.")
    is_whole = head[8:9] == b"{" if file.suffix == ".safetensors" else head[:2] in (b"PK", b"\x80\x02")
    if not is_whole:
        raise CatalogueError(f"{file.name} is no checkpoint: fetch it again, and see that it is not a web page.")


def _size_of_header(head: bytes) -> int:
    """Of a safetensors file; no more than is ever read of one."""
    return min(int.from_bytes(head[:8], "little"), 100_000_000)


def _safetensors_bytes(head: bytes, header: bytes) -> float:
    """How many bytes a file of this header has; infinitely many where the header cannot be read."""
    try:
        tensors = [each for name, each in json.loads(header).items() if name != "__metadata__"]
        return 8 + len(header) + max((int(each["data_offsets"][1]) for each in tensors), default=0)
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        return float("inf")


def _check_folder(folder: Path) -> None:
    if weights_in(folder) is None:
        raise CatalogueError(
            f"{folder} is no model: a folder of nnInteractive's holds plans.json and fold_0/checkpoint_final.pth."
        )


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.new")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)

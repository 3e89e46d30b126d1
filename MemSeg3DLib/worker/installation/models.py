"""Models on this computer: what there is, how large, under which licence, and whether a device can hold it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.background import TaskControl
from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.base.home import Home
from MemSeg3DLib.base.units import MEGABYTE
from MemSeg3DLib.worker.connection.plan import EMBEDDED_MODEL
from MemSeg3DLib.worker.connection.trial import ConnectionReport
from MemSeg3DLib.worker.installation.packaged import Packaged
from MemSeg3DLib.worker.installation.stored_data import remove_all

SUFFIXES = (".safetensors", ".pt", ".pth")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CHUNK = 1 << 20
# Torch and the worker alone, and what the features of one slice of 1024 x 1024 pixels take at most, in bytes.
_BASE, _FEATURES = 700_000_000, 3_000_000_000
_SAM2_SIZE = 1024


@dataclass(frozen=True)
class ModelEntry:
    """One model. path: None where it is a remote worker's; bytes: 0 where not known; needs_bytes: about, of memory."""

    name: str
    path: Path | None
    bytes: int
    licence: str
    use: str
    image_size: int
    needs_bytes: int
    is_embedded: bool
    fault: str = ""

    def fit(self, memory_bytes: int) -> str:
        """A few words on whether a device with so much memory can hold it; empty where that is not known."""
        if not memory_bytes or not self.needs_bytes:
            return ""
        needs, has = f"{self.needs_bytes / 1e9:.1f} GB", f"{memory_bytes / 1e9:.1f} GB"
        if self.needs_bytes > memory_bytes:
            return f"too large: needs about {needs}, the device has {has}"
        if self.needs_bytes > 0.7 * memory_bytes:
            return f"tight: needs about {needs} of {has}"
        return f"fits: needs about {needs} of {has}"


class ModelFolder:
    """The user's own models, and the embedded one. What a file holds is checked by the worker: tensors alone."""

    def __init__(self, home: Home, packaged: Packaged) -> None:
        self.folder = home.models
        self._packaged = packaged

    def models(self) -> list[ModelEntry]:
        """Everything that the local worker finds by name, the embedded one first."""
        embedded = [describe(path, is_embedded=True) for path in _files(self._packaged.models)]
        own = [describe(path, is_embedded=False) for path in _files(self.folder)]
        return sorted(embedded, key=lambda one: one.name != EMBEDDED_MODEL) + own

    def add(self, file: Path, control: TaskControl, name: str | None = None) -> ModelEntry:
        """Copy a model, and the card beside it, into the folder. name: by default that of the file.

        Raises SetupError where it is no checkpoint or its name is taken, TaskCancelled; nothing half copied is left.
        """
        if file.is_dir():
            if not is_folder_model(file):
                raise SetupError(f"{file.name} is no model: a folder must hold plans.json and fold_0 with its weights.")
        elif file.suffix not in SUFFIXES:
            raise SetupError(f"{file.name} is no model: choose a file that ends in {', '.join(SUFFIXES)}.")
        else:
            _check_start(file)
        wanted = name or (file.name if file.is_dir() else file.stem)
        if not _NAME.fullmatch(wanted):
            raise SetupError(
                f"{wanted!r} cannot be a model's name: take letters, digits, dots, dashes and underscores."
            )
        if wanted.lower() in {one.name.lower() for one in self.models()}:
            raise SetupError(f"There is a model called {wanted}: give this one another name, or remove that one first.")
        target = self.folder / (wanted if file.is_dir() else f"{wanted}{file.suffix}")
        self.folder.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        try:
            for each in sorted(file.rglob("*")) if file.is_dir() else [file]:
                copy = part / each.relative_to(file) if file.is_dir() else part
                if each.is_file():
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    _copy(each, copy, control)
            card = file.with_suffix(".json")
            if card.is_file() and not file.is_dir():
                target.with_suffix(".json").write_bytes(card.read_bytes())
            os.replace(part, target)
        except OSError as error:
            raise SetupError(
                f"{file.name} cannot be copied ({error.strerror}): check the file and the space."
            ) from error
        finally:
            remove_all([part] if part.exists() else [])
        return describe(target, is_embedded=False)

    def remove(self, name: str) -> None:
        """Delete one of the user's own models. Raises SetupError for the embedded one, and where there is none."""
        found = next((one for one in self.models() if one.name == name), None)
        if found is None or found.path is None:
            raise SetupError(f"There is no model called {name}.")
        if found.is_embedded:
            raise SetupError(f"{name} came with MemSeg3D and stays with it.")
        try:
            remove_all([found.path])
            found.path.with_suffix(".json").unlink(missing_ok=True)
        except OSError as error:
            raise SetupError(f"{name} cannot be deleted ({error.strerror}): stop the worker that uses it.") from error


def remote_model(report: ConnectionReport) -> ModelEntry:
    """The model that a remote worker has loaded, as it tells of it."""
    return ModelEntry(
        report.model, None, 0, report.model_licence, "", report.image_size, 0, report.model == EMBEDDED_MODEL
    )


def describe(path: Path, is_embedded: bool) -> ModelEntry:
    """What is known of a model file: from its card, and from the head of the file."""
    if path.is_dir():
        return _folder_entry(path)
    size = path.stat().st_size
    card, fault = _card(path)
    configuration = card.get("configuration")
    image_size = _whole(configuration.get("image_size") if isinstance(configuration, dict) else None)
    image_size = image_size or _size_in_head(path) or _SAM2_SIZE
    needs = _whole(card.get("memory_mb")) * MEGABYTE
    if not needs:
        needs = _BASE + 2 * size + int(_FEATURES * (image_size / _SAM2_SIZE) ** 2)
    licence = str(card.get("licence") or card.get("license") or "")
    return ModelEntry(path.stem, path, size, licence, str(card.get("use") or ""), image_size, needs, is_embedded, fault)


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if path.suffix in SUFFIXES or is_folder_model(path)]


def is_folder_model(path: Path) -> bool:
    """True for a folder with the plans and the weights of an nnU-Net, as nnInteractive's models are."""
    return (path / "plans.json").is_file() and any(path.glob("fold_*/checkpoint_final.pth"))


def _folder_entry(path: Path) -> ModelEntry:
    size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    licence = path / "LICENSE"
    lines = licence.read_text("utf-8", "replace").splitlines() if licence.is_file() else []
    words = next((line.strip() for line in lines if line.strip()), "")
    return ModelEntry(path.name, path, size, words, "", 0, _BASE + 2 * size + _FEATURES, False)


def _card(path: Path) -> tuple[dict[str, Any], str]:
    card = path.with_suffix(".json")
    if not card.is_file():
        return {}, ""
    try:
        words = json.loads(card.read_text("utf-8"))
    except (OSError, ValueError):
        return {}, f"{card.name} cannot be read"
    return (words, "") if isinstance(words, dict) else ({}, f"{card.name} is no card")


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _head(path: Path) -> dict[str, Any] | None:
    """The header of a safetensors file; None where it is none."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= 100_000_000:
                return None
            words = json.loads(file.read(length))
    except (OSError, ValueError):
        return None
    return words if isinstance(words, dict) else None


def _size_in_head(path: Path) -> int:
    head = _head(path) if path.suffix == ".safetensors" else None
    metadata = head.get("__metadata__") if head else None
    try:
        return _whole(json.loads(metadata["memseg3d.config"])["image_size"]) if isinstance(metadata, dict) else 0
    except (KeyError, TypeError, ValueError):
        return 0


def _check_start(file: Path) -> None:
    """Raise SetupError where the file cannot be what its name says: a page of a download site, half a file."""
    try:
        with file.open("rb") as opened:
            start = opened.read(4)
    except OSError as error:
        raise SetupError(f"{file} cannot be read ({error.strerror}): choose another file.") from error
    is_whole = _head(file) is not None if file.suffix == ".safetensors" else start[:2] in (b"PK", b"\x80\x02")
    if not is_whole:
        raise SetupError(f"{file.name} is no checkpoint: download it again, and check that it is not a web page.")


def _copy(source: Path, target: Path, control: TaskControl) -> None:
    total, done = source.stat().st_size, 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            writer.write(chunk)
            done += len(chunk)
            control.tell(f"Copying {source.name}", done, total)
        writer.flush()
        os.fsync(writer.fileno())

"""The challenge's npz cases: read without running what a pickle asks for, written as the evaluator writes them."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.files import UnreadableFile

BOX_NAMES = ("z_min", "z_max", "z_mid", "z_mid_x_min", "z_mid_y_min", "z_mid_x_max", "z_mid_y_max")
Place = tuple[int, int, int]
NO_TRUTH = "{case} has no truth (gts); name the folder of the files that have it."


@dataclass(frozen=True)
class ClassBox:
    """The box of one class: closed intervals of slices, and of the rows and columns of its middle slice."""

    z_min: int
    z_max: int
    z_mid: int
    z_mid_x_min: int
    z_mid_y_min: int
    z_mid_x_max: int
    z_mid_y_max: int

    @classmethod
    def of(cls, words: dict[str, Any]) -> ClassBox:
        """From the dictionary of the file. Raises KeyError or ValueError."""
        return cls(**{name: int(words[name]) for name in BOX_NAMES})

    def words(self) -> dict[str, int]:
        """As the file has it."""
        return {name: int(getattr(self, name)) for name in BOX_NAMES}


@dataclass(frozen=True)
class ClassClicks:
    """The clicks of one class, (z, y, x). order: which of the two lists each click was added to, None for a round in
    which the class needed none and the file says so.
    """

    fg: tuple[Place, ...] = ()
    bg: tuple[Place, ...] = ()
    order: tuple[str | None, ...] = ()

    def added(self, place: Place, is_foreground: bool) -> ClassClicks:
        """With one click more."""
        if is_foreground:
            return replace(self, fg=(*self.fg, place), order=(*self.order, "fg"))
        return replace(self, bg=(*self.bg, place), order=(*self.order, "bg"))

    def in_order(self) -> list[tuple[Place, bool]]:
        """Clicks as they were given; first all positive ones where the file does not tell."""
        known = [kind for kind in self.order if kind is not None]
        if known.count("fg") != len(self.fg) or known.count("bg") != len(self.bg):
            return [(place, True) for place in self.fg] + [(place, False) for place in self.bg]
        lists = {"fg": iter(self.fg), "bg": iter(self.bg)}
        return [(next(lists[kind]), kind == "fg") for kind in known]


@dataclass(frozen=True, eq=False)
class ChallengeCase:
    """What a model is given. imgs: (z, y, x); spacing as stored; boxes, clicks: one a class, in the labels' order."""

    name: str
    imgs: NDArray[Any]
    spacing: tuple[float, float, float]
    boxes: tuple[ClassBox, ...] | None = None
    clicks: tuple[ClassClicks, ...] | None = None
    prev_pred: NDArray[np.uint8] | None = None
    gts: NDArray[Any] | None = None


def read_case(path: Path) -> ChallengeCase:
    """Read a case. Raises `UnreadableFile` where it is damaged, or where an array asks for more than plain values."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            arrays = {name: _array(archive, name) for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, pickle.UnpicklingError, OSError) as error:
        raise UnreadableFile(f"{path.name} is damaged or no case of the challenge ({error}).") from error
    if "imgs" not in arrays or arrays["imgs"].ndim != 3:
        raise UnreadableFile(f"{path.name} holds no volume 'imgs' (slice, row, column).")
    x, y, z = _spacing(arrays.get("spacing", np.ones(3)), path)
    try:
        boxes = tuple(ClassBox.of(each) for each in arrays["boxes"]) if "boxes" in arrays else None
        clicks = _clicks(arrays) if "clicks" in arrays else None
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableFile(f"The prompts of {path.name} are not as the challenge writes them ({error}).") from error
    before, truth = arrays.get("prev_pred"), arrays.get("gts")
    return ChallengeCase(path.name, arrays["imgs"], (x, y, z), boxes, clicks, before, truth)


def check_case(path: Path) -> tuple[int, ...]:
    """The shape of a case (z, y, x), by what is small in its file: the voxels are not read. Raises `UnreadableFile`."""
    shapes = _shapes(path)
    if len(shapes.get("imgs", ())) != 3:
        raise UnreadableFile(f"{path.name} holds no volume 'imgs' (slice, row, column).")
    if "spacing" in shapes:
        _spacing(read_array(path, "spacing"), path)
    return shapes["imgs"]


def check_truth(path: Path, case: Path, shape: tuple[int, ...]) -> None:
    """Raise `UnreadableFile` where a file has no truth of the case's shape, by the file's headers."""
    found = _shapes(path).get("gts")
    if found is None:
        raise UnreadableFile(NO_TRUTH.format(case=path.name))
    if found != shape:
        raise UnreadableFile(f"{case.name} and its truth have different shapes.")


def write_case(path: Path, case: ChallengeCase) -> None:
    """Write a case as the evaluator does, clicks and boxes as arrays of Python objects. Whole or not at all."""
    arrays: dict[str, Any] = {"imgs": case.imgs, "spacing": np.array(case.spacing)}
    if case.gts is not None:
        arrays["gts"] = case.gts
    if case.boxes is not None:
        arrays["boxes"] = _objects([box.words() for box in case.boxes])
    if case.clicks is not None:
        arrays["clicks"] = _objects(
            [{"fg": [list(each) for each in one.fg], "bg": [list(each) for each in one.bg]} for one in case.clicks]
        )
        arrays["clicks_order"] = _objects([list(one.order) for one in case.clicks])
    if case.prev_pred is not None:
        arrays["prev_pred"] = case.prev_pred
    save(path, arrays)


def save(path: Path, arrays: dict[str, Any]) -> None:
    """numpy's compressed npz, under its name once it is whole."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_array(path: Path, name: str) -> NDArray[Any]:
    """One array of a file. Raises `UnreadableFile`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _array(archive, name)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, OSError, pickle.UnpicklingError) as error:
        raise UnreadableFile(f"{path.name} holds no array '{name}' that can be read ({error}).") from error


def _spacing(stored: NDArray[Any], path: Path) -> tuple[float, float, float]:
    try:
        spacing = np.asarray(stored, float).ravel()
    except (TypeError, ValueError):
        spacing = np.zeros(0)
    if spacing.size != 3 or not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise UnreadableFile(f"'spacing' of {path.name} should be three positive numbers.")
    x, y, z = (float(each) for each in spacing)
    return x, y, z


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Of every array of a file, by its header."""
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    found[name.removesuffix(".npy")] = _header(file)[0]
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, OSError) as error:
        raise UnreadableFile(f"{path.name} is damaged or no case of the challenge ({error}).") from error
    return found


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def _clicks(arrays: dict[str, NDArray[Any]]) -> tuple[ClassClicks, ...]:
    orders: Sequence[Any] = arrays["clicks_order"].tolist() if "clicks_order" in arrays else ()
    found = []
    for place, each in enumerate(arrays["clicks"].tolist()):
        fg, bg = (tuple(_place(one) for one in each.get(kind, ())) for kind in ("fg", "bg"))
        order = orders[place] if place < len(orders) else ()
        found.append(ClassClicks(fg, bg, tuple(None if kind is None else str(kind) for kind in order)))
    return tuple(found)


def _place(words: Any) -> Place:
    z, y, x = (int(each) for each in words)
    return z, y, x


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    """One entry a class, whatever the lists in it have in common."""
    found = np.empty(len(values), object)
    for place, value in enumerate(values):
        found[place] = value
    return found


_HARMLESS = {
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class _PlainValues(pickle.Unpickler):
    """Lists, dictionaries, numbers and arrays; anything else may run code and is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as file:
        content = file.read()
    stream = io.BytesIO(content)
    shape, dtype = _header(stream)
    if not dtype.hasobject:
        return np.asarray(np.lib.format.read_array(io.BytesIO(content), allow_pickle=False))
    found = np.asarray(_PlainValues(stream).load(), dtype=object)
    return found.reshape(shape)

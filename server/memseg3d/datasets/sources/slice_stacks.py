"""A volume kept as a folder of numbered 2D files: PNG, JPEG, or npy arrays."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.datasets.paths import entries
from memseg3d.datasets.sources.base import Header, Source
from memseg3d.files import Geometry, UnreadableFile, VolumeFile

PICTURES = (".png", ".jpg", ".jpeg")
ARRAYS = (".npy",)
_NEEDS_PILLOW = "PNG and JPEG need Pillow: pip install 'memseg3d[data]'."


@dataclass(frozen=True)
class SliceStack(Source):
    """Slices of a folder in their order along k. is_labels: numbers are kept as stored, also a palette's indices.

    geometry: the grid where a record tells it, of the volume's shape. offset: added to every stored number, where
    values were shifted to be stored; slope: multiplied before.
    """

    folder: Path
    names: tuple[str, ...]
    is_labels: bool = False
    geometry: Geometry | None = None
    slope: float = 1.0
    offset: float = 0.0

    @classmethod
    def of_folder(
        cls,
        folder: Path,
        suffixes: tuple[str, ...],
        is_labels: bool = False,
        geometry: Geometry | None = None,
        slope: float = 1.0,
        offset: float = 0.0,
    ) -> SliceStack:
        """The files of a folder with one of `suffixes`, by the number at their end.

        Raises `UnreadableFile` where there is none, a number is missing or comes twice.
        """
        numbered: dict[int, str] = {}
        for path in entries(folder):
            found = re.search(r"(\d+)$", path.stem)
            if path.suffix.lower() not in suffixes or found is None:
                continue
            number = int(found.group(1))
            if number in numbered:
                raise UnreadableFile(
                    f"{folder} holds slice {number} twice: {numbered[number]} and {path.name}; keep one."
                )
            numbered[number] = path.name
        if not numbered:
            raise UnreadableFile(f"{folder} holds no numbered slices ({', '.join(suffixes)}).")
        first, last = min(numbered), max(numbered)
        if len(numbered) != last - first + 1:
            missing = next(n for n in range(first, last) if n not in numbered)
            raise UnreadableFile(f"{folder} has no slice {missing}, but {first} to {last}; copy the folder again.")
        names = tuple(numbered[n] for n in range(first, last + 1))
        return cls(folder, names, is_labels, geometry, slope, offset)

    @property
    def shown(self) -> str:
        """The folder."""
        return str(self.folder)

    def paths(self) -> tuple[Path, ...]:
        """Every slice."""
        return tuple(self.folder / name for name in self.names)

    def header(self) -> Header:
        """Shape by the first slice; the grid where a record told it, else 1 mm voxels."""
        shape = (len(self.names), *self._slice(self.names[0]).shape)
        if self.geometry is None:
            return Header(Geometry.regular(shape, (1.0, 1.0, 1.0)), False, False)
        if self.geometry.shape != shape:
            raise UnreadableFile(
                f"{self.folder} holds {shape} voxels, its record says {self.geometry.shape}; slices were added or lost."
            )
        return Header(self.geometry)

    def read(self, scratch: Path | None = None) -> VolumeFile:
        """All slices, of one size and type."""
        header = self.header()
        first = self._slice(self.names[0])
        voxels = np.empty(header.shape, first.dtype)
        for k, name in enumerate(self.names):
            plane = self._slice(name)
            if plane.shape != first.shape:
                raise UnreadableFile(
                    f"{self.folder / name} has {plane.shape} pixels and {self.names[0]} {first.shape}; "
                    "all slices of a case have one size."
                )
            if plane.dtype != voxels.dtype:
                voxels = voxels.astype(np.result_type(voxels.dtype, plane.dtype))
            voxels[k] = plane
        if (self.slope, self.offset) != (1.0, 0.0):
            voxels = _restored(voxels, self.slope, self.offset)
        return VolumeFile(voxels, header.geometry.spacing_kji, header.geometry)

    def _slice(self, name: str) -> NDArray[Any]:
        path = self.folder / name
        if path.suffix.lower() in ARRAYS:
            return _array(path)
        return _picture(path, self.is_labels)


def _restored(voxels: NDArray[Any], slope: float, offset: float) -> NDArray[Any]:
    if slope == 1.0 and float(offset).is_integer():
        low, high = int(voxels.min()) + int(offset), int(voxels.max()) + int(offset)
        fits = next((t for t in (np.int16, np.int32) if np.iinfo(t).min <= low and high <= np.iinfo(t).max), None)
        if fits is not None:
            return (voxels.astype(np.int64) + int(offset)).astype(fits)
    return (voxels * slope + offset).astype(np.float32)


def _array(path: Path) -> NDArray[Any]:
    try:
        plane = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise UnreadableFile(f"{path} is no array of numbers that can be read; copy it again.") from error
    if not isinstance(plane, np.ndarray) or plane.ndim != 2 or plane.dtype.kind not in "biuf" or not plane.size:
        raise UnreadableFile(f"{path} should hold one slice of numbers (row, column).")
    return plane.astype(np.uint8) if plane.dtype == bool else plane


def _picture(path: Path, is_labels: bool) -> NDArray[Any]:
    try:
        from PIL import Image
    except ImportError as error:
        raise UnreadableFile(f"{path} cannot be read yet. {_NEEDS_PILLOW}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                is_palette = picture.mode in ("P", "1")
                plane = np.asarray(picture.convert("L") if is_palette and not is_labels else picture)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableFile(f"{path} claims to be far larger than any slice; it is not read.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableFile(f"{path} is damaged or no picture. Copy it again.") from error
    if plane.ndim == 3:
        plane = _grey(plane, path, is_labels)
    return plane.astype(np.uint8) if plane.dtype == bool else plane


def _grey(plane: NDArray[Any], path: Path, is_labels: bool) -> NDArray[Any]:
    """One channel of a picture whose channels are equal; colours only for images, by their mean."""
    colours = plane[..., :3] if plane.shape[-1] >= 3 else plane[..., :1]
    if (colours == colours[..., :1]).all():
        return np.ascontiguousarray(colours[..., 0])
    if is_labels:
        raise UnreadableFile(f"{path} holds colours where labels should be; save one number for each pixel.")
    return np.rint(colours.mean(-1)).astype(plane.dtype)

"""Writes a labelmap on the grid of the volume it was drawn on, with numbers only: no header string travels along."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.files.errors import UnwritableLabelmap
from memseg3d.files.geometry import Geometry
from memseg3d.files.headers import nifti_header, nrrd_header

FORMATS = (".nii.gz", ".nrrd")

_GZIP = zlib.MAX_WBITS | 16
_LEVEL = 4
_SLAB_VOXELS = 1 << 22


def write_labelmap(path: str | Path, labels: NDArray[Any], geometry: Geometry) -> Path:
    """Write labels (k, j, i) as a compressed .nii.gz or .nrrd file: uint8 up to label 255, uint16 up to 65535.

    The file appears whole or not at all. Returns its path. Raises `UnwritableLabelmap`.
    """
    dtype = _dtype(labels, geometry)
    thickness = max(1, _SLAB_VOXELS // max(1, labels[0].size))
    slabs = (labels[start : start + thickness] for start in range(0, labels.shape[0], thickness))
    return write_slabs(path, slabs, dtype, geometry)


def write_slabs(path: str | Path, slabs: Iterable[NDArray[Any]], dtype: Any, geometry: Geometry) -> Path:
    """Write the labelmap that slabs (n, j, i) make one after the other, without ever holding it whole.

    dtype: uint8 or uint16, which holds every label. As `write_labelmap` in all else.
    """
    path = Path(path)
    suffix = next((s for s in FORMATS if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise UnwritableLabelmap(f"{path.name} should end in {' or '.join(FORMATS)}.")
    unfinished = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    little = np.dtype(dtype).newbyteorder("<")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A label is a run of equal bytes: looking for nothing else takes half the time and makes smaller files.
        strategy = zlib.Z_RLE if little.itemsize == 1 else zlib.Z_DEFAULT_STRATEGY
        pack = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP, strategy=strategy)
        with unfinished.open("wb") as file:
            if suffix == ".nrrd":
                file.write(nrrd_header(geometry, little))
            else:
                file.write(pack.compress(nifti_header(geometry, little)))
            for slab in _counted(slabs, geometry):
                file.write(pack.compress(np.ascontiguousarray(slab, little).data.cast("B")))
            file.write(pack.flush())
        unfinished.replace(path)
    except (RuntimeError, OSError) as error:
        raise UnwritableLabelmap(f"{path} cannot be written: check that the folder exists and has room.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _counted(slabs: Iterable[NDArray[Any]], geometry: Geometry) -> Iterator[NDArray[Any]]:
    """The slabs; raises `UnwritableLabelmap` where they do not make the volume's shape."""
    count = 0
    for slab in slabs:
        count += len(slab)
        if slab.shape[1:] != geometry.shape[1:] or count > geometry.shape[0]:
            raise UnwritableLabelmap(f"Slabs of shape {slab.shape} do not make a labelmap of {geometry.shape}.")
        yield slab
    if count != geometry.shape[0]:
        raise UnwritableLabelmap(f"The labelmap has {count} slices and its volume {geometry.shape[0]}.")


def _dtype(labels: NDArray[Any], geometry: Geometry) -> Any:
    if labels.shape != geometry.shape:
        raise UnwritableLabelmap(
            f"The labelmap has shape {labels.shape} and its volume {geometry.shape}; they should be the same (k, j, i)."
        )
    if labels.dtype.kind not in "biu":
        raise UnwritableLabelmap(f"Labels are whole numbers, not {labels.dtype}.")
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise UnwritableLabelmap(f"Labels run from 0 to 65535; these run from {low} to {high}.")
    return np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16

"""Writes a NIfTI labelmap with the header forms of its image, so that it lies on it for every reader."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from MemSeg3DLib.base.lattices import is_same_lattice
from MemSeg3DLib.export.labelmaps.nifti_forms import HEADER_BYTES, NiftiForms
from MemSeg3DLib.export.labelmaps.reading import read_forms

_LEVEL = 4
_DATA_AT = HEADER_BYTES + 4
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def laid_on_nifti(
    labels: NDArray[Any], affine: NDArray[np.float64], like: Path
) -> tuple[NDArray[Any], NiftiForms] | None:
    """Labels (k, j, i) in the order of the axes of a NIfTI file on the same grid, and that file's forms.

    affine: 4x4 from (i, j, k, 1) to LPS mm. None where the file has another grid; raises ExportError where it cannot be
    read.
    """
    shape, forms = read_forms(like)
    position = _LPS @ forms.position()
    # Slicer takes the lengths of pixdim also where they are not those of the form; a volume loaded so is this one, too.
    as_loaded = position.copy()
    stated = np.abs(forms.pixdim[1:]) * forms.millimetres
    lengths = np.linalg.norm(position[:3, :3], axis=0)
    as_loaded[:3, :3] *= np.where(np.isfinite(stated) & (stated > 0), stated, 1.0) / lengths
    for theirs in (position, as_loaded):
        laid = laid_on_grid(labels, affine, shape, theirs)
        if laid is not None:
            return laid, forms
    return None


def laid_on_grid(
    labels: NDArray[Any], affine: NDArray[np.float64], shape: tuple[int, int, int], theirs: NDArray[np.float64]
) -> NDArray[Any] | None:
    """Labels (k, j, i) with their axes turned and flipped onto another grid; None where that holds other voxels.

    affine: 4x4 of the labels from (i, j, k, 1) to LPS mm; theirs: that of the other grid, which has `shape` (k, j, i).
    """
    between = np.linalg.inv(theirs) @ affine
    turn = np.rint(between[:3, :3]).astype(int)
    if not (np.abs(turn).sum(axis=0) == 1).all() or not (np.abs(turn).sum(axis=1) == 1).all():
        return None
    source = [int(np.flatnonzero(turn[axis])[0]) for axis in range(3)]
    turned = np.transpose(labels, [2 - source[2], 2 - source[1], 2 - source[0]])
    flips = [axis for axis in range(3) if turn[axis, source[axis]] < 0]
    if turned.shape != shape:
        return None
    back = np.eye(4)
    back[:3, :3] = np.linalg.inv(turn)
    for axis in flips:
        back[source[axis], 3] = shape[2 - axis] - 1
    if not is_same_lattice(affine @ back, theirs, shape):
        return None
    return np.ascontiguousarray(np.flip(turned, tuple(2 - axis for axis in flips)))


def write_nifti_labelmap(path: Path, labels: NDArray[Any], forms: NiftiForms, words: str) -> bool:
    """Write labels (k, j, i), uint8 or uint16, as .nii or .nii.gz; False where the disk holds something else then.

    words: the description, at most 79 letters. Raises OSError.
    """
    little = labels.astype(labels.dtype.newbyteorder("<"), copy=False)
    header = bytearray(_DATA_AT)
    struct.pack_into("<i", header, 0, HEADER_BYTES)
    struct.pack_into("<8h", header, 40, 3, *labels.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, *((2, 8) if labels.dtype.itemsize == 1 else (512, 16)))
    struct.pack_into("<2f", header, 108, _DATA_AT, 1.0)
    described = words.encode("ascii", "replace")[:79]
    header[148 : 148 + len(described)] = described
    header[344:348] = b"n+1\0"
    forms.put(header)
    content = bytes(header) + np.ascontiguousarray(little).tobytes()
    packed = path.name.endswith(".gz")
    path.write_bytes(gzip.compress(content, _LEVEL, mtime=0) if packed else content)
    # A disk that fills up may take less than it says: what was written is read again.
    written = path.read_bytes()
    return (gzip.decompress(written) if packed else written) == content

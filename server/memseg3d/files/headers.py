"""Headers of labelmap files: SimpleITK writes them for two voxels a side, and only the sizes are put right."""

from __future__ import annotations

import re
import struct
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from memseg3d.files.errors import UnwritableLabelmap
from memseg3d.files.geometry import Geometry

_NIFTI_HEADER_BYTES = 352
"""With the four bytes that say that no extension follows."""
_NIFTI_SIZES = 42
_NIFTI_LARGEST = 32767


def nifti_header(geometry: Geometry, dtype: np.dtype) -> bytes:
    """The bytes before the voxels of a .nii file on this grid, with the forms of the input where that was NIfTI.

    Raises `UnwritableLabelmap`: a side is too long.
    """
    k, j, i = geometry.shape
    if max(geometry.shape) > _NIFTI_LARGEST:
        raise UnwritableLabelmap(f"NIfTI files have at most {_NIFTI_LARGEST} voxels a side; save as .nrrd.")
    example = geometry if geometry.nifti is None else Geometry.regular(geometry.shape, (1.0, 1.0, 1.0))
    header = bytearray(_example(example, dtype, "a.nii", compressed=False)[:_NIFTI_HEADER_BYTES])
    if geometry.nifti is not None:
        geometry.nifti.put(header)
    struct.pack_into("<3h", header, _NIFTI_SIZES, i, j, k)
    return bytes(header)


def nrrd_header(geometry: Geometry, dtype: np.dtype) -> bytes:
    """The bytes before the gzip-compressed voxels of a .nrrd file on this grid, the empty line included."""
    k, j, i = geometry.shape
    header, end, _ = _example(geometry, dtype, "a.nrrd", compressed=True).partition(b"\n\n")
    return re.sub(rb"(?m)^sizes: .*$", f"sizes: {i} {j} {k}".encode("ascii"), header) + end


def _example(geometry: Geometry, dtype: np.dtype, name: str, compressed: bool) -> bytes:
    """A file of 2 x 2 x 2 voxels on the grid."""
    image = sitk.GetImageFromArray(np.zeros((2, 2, 2), dtype.newbyteorder("=")))
    geometry.place(image)
    with tempfile.TemporaryDirectory(prefix="memseg3d-") as folder:
        path = Path(folder) / name
        sitk.WriteImage(image, str(path), useCompression=compressed)
        return path.read_bytes()

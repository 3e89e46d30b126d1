"""Voxels mapped from a file instead of read: for volumes that are as large as the memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from memseg3d.files.geometry import Geometry
from memseg3d.files.itk import VolumeFile, check_header, check_perpendicular, quiet

ByteOrder = Literal["<", ">"]

_DTYPES = {
    sitk.sitkInt8: np.int8,
    sitk.sitkUInt8: np.uint8,
    sitk.sitkInt16: np.int16,
    sitk.sitkUInt16: np.uint16,
    sitk.sitkFloat32: np.float32,
    sitk.sitkFloat64: np.float64,
}
"""Types that need no narrowing."""
_SLAB_VOXELS = 1 << 22


def mapped_volume(header: Path, shown: str, voxels: Path, offset: int, byte_order: ByteOrder) -> VolumeFile | None:
    """The volume whose uncompressed voxels lie in `voxels` from byte `offset` on, mapped read-only.

    header: what SimpleITK reads the grid and the type from. None where only the library can
    read it (another type, number of axes, values that are not finite); raises `UnreadableFile` as `read_image` does.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(header))
    try:
        with quiet():
            reader.ReadImageInformation()
    except RuntimeError:
        return None
    check_header(reader, shown)
    dtype = _DTYPES.get(reader.GetPixelID())
    if dtype is None or reader.GetDimension() != 3:
        return None
    geometry = Geometry.of_image(reader)
    check_perpendicular(geometry, shown)
    stored = np.dtype(dtype).newbyteorder(byte_order)
    if voxels.stat().st_size < offset + math.prod(geometry.shape) * stored.itemsize:
        return None
    content = np.memmap(voxels, stored, "r", offset, geometry.shape)
    if stored.kind == "f" and not _is_finite(content):
        return None
    return VolumeFile(content, geometry.spacing_kji, geometry)


def _is_finite(voxels: np.ndarray) -> bool:
    thickness = max(1, _SLAB_VOXELS // max(1, voxels[0].size))
    starts = range(0, voxels.shape[0], thickness)
    return all(bool(np.isfinite(voxels[start : start + thickness]).all()) for start in starts)

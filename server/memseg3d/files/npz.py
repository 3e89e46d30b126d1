"""Reads the .npz cases of the CVPR segmentation challenges: `imgs` (slice, row, column) and `spacing`."""

from __future__ import annotations

import errno
import zipfile
import zlib
from pathlib import Path

import numpy as np

from memseg3d.files.errors import UnreadableFile
from memseg3d.files.geometry import Geometry
from memseg3d.files.itk import VolumeFile, narrowed


def read_npz(path: Path) -> VolumeFile:
    """Read a challenge case. `spacing` is taken as (x, y, z), as SimpleITK gave it to the challenge's makers.

    Raises `UnreadableFile`. Object arrays beside the image (boxes, clicks) are never unpickled.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "imgs" not in arrays.files:
                raise UnreadableFile(
                    f"{path.name} holds no array named 'imgs', but: {', '.join(arrays.files) or 'nothing'}."
                )
            voxels = arrays["imgs"]
            spacing = arrays["spacing"] if "spacing" in arrays.files else None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise UnreadableFile(f"{path.name} cannot be read ({error.strerror}).") from error
        raise UnreadableFile(f"{path.name} is damaged or cut off. Copy it again.") from error
    except ValueError as error:
        if isinstance(error, UnreadableFile):
            raise
        raise UnreadableFile(
            f"{path.name} holds Python objects where the image should be; save plain arrays."
        ) from error
    if voxels.ndim != 3:
        raise UnreadableFile(
            f"'imgs' of {path.name} has {voxels.ndim} dimensions; MemSeg3D needs (slice, row, column)."
        )
    if voxels.dtype.kind not in "iuf":
        raise UnreadableFile(f"'imgs' of {path.name} holds {voxels.dtype} values; MemSeg3D needs numbers.")
    notes: tuple[str, ...] = ()
    if spacing is None:
        spacing, notes = np.ones(3), (f"{path.name} holds no spacing; 1 mm is assumed.",)
    spacing = np.asarray(spacing)
    if spacing.size != 3 or spacing.dtype.kind not in "iuf" or not np.all(np.isfinite(spacing)) or np.any(spacing <= 0):
        raise UnreadableFile(f"'spacing' of {path.name} should be three positive numbers in mm.")
    x, y, z = (float(s) for s in spacing.ravel())
    return VolumeFile(
        narrowed(np.ascontiguousarray(voxels)), (z, y, x), Geometry.regular(voxels.shape, (z, y, x)), notes
    )

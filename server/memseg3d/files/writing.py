"""Writes a labelmap on the grid of the volume it was drawn on, with numbers only: no header string travels along."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from memseg3d.files.errors import UnwritableLabelmap
from memseg3d.files.geometry import Geometry

FORMATS = (".nii.gz", ".nrrd")


def write_labelmap(path: str | Path, labels: NDArray[Any], geometry: Geometry) -> Path:
    """Write labels (k, j, i) as a compressed .nii.gz or .nrrd file: uint8 up to label 255, uint16 up to 65535.

    The file appears whole or not at all. Returns its path. Raises `UnwritableLabelmap`.
    """
    path = Path(path)
    suffix = next((s for s in FORMATS if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise UnwritableLabelmap(f"{path.name} should end in {' or '.join(FORMATS)}.")
    image = sitk.GetImageFromArray(_packed(labels, geometry))
    geometry.place(image)
    unfinished = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(unfinished), useCompression=True)
        unfinished.replace(path)
    except (RuntimeError, OSError) as error:
        raise UnwritableLabelmap(f"{path} cannot be written: check that the folder exists and has room.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _packed(labels: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    if labels.shape != geometry.shape:
        raise UnwritableLabelmap(
            f"The labelmap has shape {labels.shape} and its volume {geometry.shape}; they should be the same (k, j, i)."
        )
    if labels.dtype.kind not in "biu":
        raise UnwritableLabelmap(f"Labels are whole numbers, not {labels.dtype}.")
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise UnwritableLabelmap(f"Labels run from 0 to 65535; these run from {low} to {high}.")
    return np.ascontiguousarray(labels, np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16)

"""The volume that is segmented: voxels in (k, j, i) order with their spacing, checked once and never copied."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Iterator

import numpy as np

from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.propagation.volume.slice_reader import SliceReader

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
"""Voxel types that the wire protocol knows."""

LARGEST, SMALLEST = 1e36, 1e-36
"""The greatest value and the least difference of values that are computed with, in single precision."""
_SLAB_VOXELS = 1 << 22


class VolumeError(PropagationError):
    """The array is no volume that can be segmented. Codes: not_three_dimensional, unsupported_dtype, empty, one_slice,
    bad_spacing, not_finite, constant, out_of_range.
    """


class Volume:
    """A scalar volume on a regular grid.

    voxels: (k, j, i) = (slice, row, column), one of `DTYPES`; kept as it came (a memory map stays one).
    spacing: (sk, sj, si) in mm, all positive.
    Raises `VolumeError`.
    """

    def __init__(self, voxels: np.ndarray, spacing: tuple[float, float, float]) -> None:
        _check_array(voxels)
        self.spacing = _checked_spacing(spacing)
        self.voxels = voxels if voxels.dtype.isnative else voxels.astype(voxels.dtype.newbyteorder("="))
        _check_values(self.voxels)
        self._reader = SliceReader(self.voxels)
        self._id: str | None = None
        self.key = uuid.uuid4().hex
        """Names this object in caches of one process; cheaper than the content's id."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(k, j, i) number of voxels."""
        return self.voxels.shape

    @property
    def id(self) -> str:
        """Content hash as in `volume_id`, computed once."""
        # No cached_property: that of Python 3.11 has everybody wait for whatever volume is being hashed.
        if self._id is None:
            self._id = volume_id(self.voxels, self.spacing)
        return self._id

    def slice_shape(self, axis: int) -> tuple[int, int]:
        """(rows, columns) of the slices across `axis`."""
        rows, columns = (size for other, size in enumerate(self.shape) if other != axis)
        return rows, columns

    def slice_spacing(self, axis: int) -> tuple[float, float]:
        """(row, column) spacing in mm of the slices across `axis`."""
        rows, columns = (step for other, step in enumerate(self.spacing) if other != axis)
        return rows, columns

    def slice(self, axis: int, index: int) -> np.ndarray:
        """View (rows, columns) of one slice, not to be changed: the two remaining axes in their (k, j, i) order."""
        return self._reader.slice(axis, index)


def volume_id(voxels: np.ndarray, spacing: tuple[float, float, float]) -> str:
    """SHA-256 (hex) of canonical JSON of dtype, shape and spacing, followed by the little-endian C-order voxels."""
    header = {"dtype": voxels.dtype.name, "shape": list(voxels.shape), "spacing": [float(step) for step in spacing]}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii"))
    little = voxels.dtype.newbyteorder("<")
    for slab in _slabs(voxels):
        digest.update(np.ascontiguousarray(slab, dtype=little).data.cast("B"))
    return digest.hexdigest()


def _slabs(voxels: np.ndarray) -> Iterator[np.ndarray]:
    """Runs of whole slices of a few million voxels, so that no check copies the volume."""
    thickness = max(1, _SLAB_VOXELS // max(1, voxels[0].size))
    for start in range(0, voxels.shape[0], thickness):
        yield voxels[start : start + thickness]


def _check_array(voxels: np.ndarray) -> None:
    if not isinstance(voxels, np.ndarray):
        raise VolumeError("not_three_dimensional", "The volume must be a numpy array of three axes (k, j, i).")
    if voxels.ndim == 4 and voxels.shape[-1] in (3, 4):
        raise VolumeError(
            "not_three_dimensional",
            f"The volume has {voxels.shape[-1]} colour channels; convert it to one grey channel.",
        )
    if voxels.ndim != 3:
        raise VolumeError(
            "not_three_dimensional",
            f"The volume has {voxels.ndim} dimensions; choose one three-dimensional frame of it.",
        )
    if voxels.dtype.name not in DTYPES:
        raise VolumeError(
            "unsupported_dtype",
            f"Voxels of type {voxels.dtype.name} cannot be read; convert them to one of {', '.join(DTYPES)}.",
        )
    if voxels.size == 0:
        raise VolumeError("empty", "The volume has no voxels; check how it was exported.")
    if min(voxels.shape) < 2:
        raise VolumeError(
            "one_slice",
            f"The volume of shape {tuple(voxels.shape)} is a single slice; load the whole series (at least 2 slices).",
        )


def _checked_spacing(spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    values = tuple(float(step) for step in spacing)
    if len(values) != 3 or not all(np.isfinite(step) and step > 0 for step in values):
        raise VolumeError("bad_spacing", f"The spacing {values} must be three positive lengths in mm (k, j, i).")
    return values[0], values[1], values[2]


def _check_values(voxels: np.ndarray) -> None:
    low = high = float(voxels[0, 0, 0])
    for slab in _slabs(voxels):
        lowest, highest = float(slab.min()), float(slab.max())
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            raise VolumeError("not_finite", "The volume holds NaN or infinite voxels; replace them, for example by 0.")
        low, high = min(low, lowest), max(high, highest)
    if low == high:
        raise VolumeError("constant", f"Every voxel has the value {voxels[0, 0, 0]}; there is nothing to segment.")
    if max(-low, high) > LARGEST or high - low < SMALLEST:
        raise VolumeError(
            "out_of_range",
            f"The voxels go from {low:.3g} to {high:.3g}, which single precision cannot tell apart: replace values "
            "that stand for none, or multiply all by a factor that brings them nearer to 1.",
        )

"""How sure propagation was of each pixel of a finished mask: probabilities in four steps, compressed, by slice."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

HALF = 128
"""Smallest stored value of a pixel that belongs to the mask."""
_STEP = 32
"""Width of a step: finer ones would decide nothing, and noise would fill the memory."""


@dataclass(frozen=True)
class SoftSlice:
    """Probabilities of a slice's mask in 1/255, within `top`, `left`, `height`, `width`; 0 outside of the mask.

    bits: zlib of uint8 rows.
    """

    top: int
    left: int
    height: int
    width: int
    bits: bytes

    @classmethod
    def of(cls, probability: np.ndarray, mask: np.ndarray) -> SoftSlice | None:
        """probability: float (rows, columns) in [0, 1]; mask: bool of the same shape, which has the last word: its
        pixels are stored as more than 1/2, no others are. None for an empty mask.
        """
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size == 0:
            return None
        top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        inner = np.s_[top:bottom, left:right]
        exact = np.clip(np.rint(probability[inner] * 255.0), HALF, 255).astype(np.uint8)
        values = np.where(mask[inner], exact - exact % _STEP + _STEP // 2, 0).astype(np.uint8)
        return cls(top, left, bottom - top, right - left, zlib.compress(values.tobytes(), level=1))

    def values(self) -> np.ndarray:
        """uint8 (height, width)."""
        return np.frombuffer(zlib.decompress(self.bits), np.uint8).reshape(self.height, self.width)

    def on(self, slice_shape: tuple[int, int]) -> np.ndarray:
        """Float32 (rows, columns) probabilities of the whole slice."""
        result = np.zeros(slice_shape, np.float32)
        result[self.top : self.top + self.height, self.left : self.left + self.width] = self.values()
        result /= 255.0
        return result

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """uint8 values at pixels given by two integer arrays of one shape."""
        row, column = rows - self.top, columns - self.left
        inside = (row >= 0) & (row < self.height) & (column >= 0) & (column < self.width)
        result = np.zeros(rows.shape, np.uint8)
        result[inside] = self.values()[row[inside], column[inside]]
        return result

    def to_json(self) -> dict[str, Any]:
        """JSON object that `from_json` reads."""
        place = [self.top, self.left, self.height, self.width]
        return {"place": place, "bits": base64.b64encode(self.bits).decode("ascii")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SoftSlice:
        """Raises KeyError, TypeError or ValueError where the JSON is no slice."""
        top, left, height, width = (int(each) for each in data["place"])
        if min(top, left) < 0 or min(height, width) < 1:
            raise ValueError(f"place {data['place']!r}")
        bits = base64.b64decode(data["bits"], validate=True)
        stream = zlib.decompressobj()
        try:
            # One byte more than expected is enough to refuse a stream that would fill the memory.
            length = len(stream.decompress(bits, height * width + 1))
        except zlib.error as error:
            raise ValueError(f"The probabilities of a slice are no zlib stream: {error}.") from error
        if length != height * width or not stream.eof:
            raise ValueError(f"The probabilities of a slice do not fill {height} x {width} pixels.")
        return cls(top, left, height, width, bits)

"""The outline of a mask, as it is drawn on a slice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def outline(mask: NDArray[Any], width: int = 1) -> NDArray[np.bool_]:
    """The outermost `width` pixels of a mask (rows, columns): bool of its shape. Those at the border are outermost."""
    shape = np.asarray(mask, bool)
    inner = shape
    for _ in range(width):
        padded = np.pad(inner, 1)
        inner = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(shape & ~inner)

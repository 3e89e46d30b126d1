"""The slice on which a finished mask is most wrong, cut out and kept beside the target's result for the report."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.pages.html import image_address
from memseg3d.pages.outlines import outline

MARGIN = 0.25
"""Part of the sides of what is shown that is left around it."""
LEAST, MOST = 32, 160
"""Pixels of a picture's sides: at least, and at most (every second, third ... pixel is kept of larger ones)."""
TRUTH, FOUND = (63, 191, 63), (230, 80, 60)
"""Colours of the two outlines."""
ZOOMED = 240


def picture_file(result: Path) -> Path:
    """Beside the result of one target."""
    return result.with_suffix(".npz")


def keep_picture(result: Path, image: NDArray[Any], truth: NDArray[Any], mask: NDArray[Any], axis: int) -> None:
    """Keep the slice across `axis` with the most wrong voxels, the largest of the truth where none is wrong.

    image, truth, mask: (k, j, i). Whole or not at all.
    """
    wrong = np.count_nonzero(np.moveaxis(truth != mask, axis, 0), axis=(1, 2))
    if not wrong.any():
        wrong = np.count_nonzero(np.moveaxis(truth, axis, 0), axis=(1, 2))
    index = int(np.argmax(wrong))
    planes = [each.take(index, axis) for each in (image, truth, mask)]
    rows, columns = _part(planes[1] | planes[2])
    grey, *masks = (plane[rows, columns] for plane in planes)
    values = np.nan_to_num(grey.astype(np.float32))
    low, high = np.percentile(values, (1, 99))
    eight = np.clip(255 * (values - low) / max(float(high - low), 1e-6), 0, 255).astype(np.uint8)
    file = picture_file(result)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".unfinished-picture")
    try:
        with partial.open("wb") as stream:
            np.savez_compressed(stream, image=eight, truth=masks[0], mask=masks[1], index=np.array(index))
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def drawn(result: Path) -> tuple[str, int] | None:
    """The picture of a target as a `data:` address of a PNG, and its slice; None where none was kept.

    Needs Pillow, which comes with matplotlib.
    """
    from PIL import Image

    try:
        with np.load(picture_file(result), allow_pickle=False) as kept:
            grey, truth, mask, index = kept["image"], kept["truth"], kept["mask"], int(kept["index"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
    times = max(1, ZOOMED // max(grey.shape))
    large = [np.kron(each, np.ones((times, times), each.dtype)) for each in (grey, truth, mask)]
    colours = np.repeat(large[0][..., None], 3, 2)
    for outlined, colour in ((large[1], TRUTH), (large[2], FOUND)):
        colours[outline(outlined)] = colour
    stream = io.BytesIO()
    Image.fromarray(colours).save(stream, "PNG", optimize=True)
    return image_address(stream.getvalue()), index


def _part(shown: NDArray[Any]) -> tuple[slice, slice]:
    """Rows and columns around what is shown; the whole slice where that is nothing."""
    ranges = []
    for axis, size in enumerate(shown.shape):
        filled = np.flatnonzero(shown.any(axis=1 - axis))
        low, high = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, size)
        margin = max(round(MARGIN * (high - low)), (LEAST - (high - low)) // 2, 2)
        low, high = max(0, low - margin), min(size, high + margin)
        ranges.append(slice(low, high, max(1, -(-(high - low) // MOST))))
    return ranges[0], ranges[1]

"""The picture of the orders of coordinates in docs: one voxel of the phantom, as each program tells where it is."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from demo.phantom import make_phantom

VOXEL = (52, 84, 60)
"""(k, j, i), in the liver."""
SIDE, WIDE = 480, 1120
BACKGROUND, INK, FAINT, MARK = "#10141a", "#e8ecf1", "#8b95a5", "#ffe45c"


def draw(path: Path) -> Path:
    """Write the picture to `path`."""
    phantom = make_phantom()
    k, j, i = VOXEL
    grey = np.clip((phantom.voxels[k] + 160.0) / 400.0, 0, 1)
    shown = Image.fromarray((255 * grey).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    picture = Image.new("RGB", (WIDE, SIDE + 40), BACKGROUND)
    picture.paste(shown, (40, 30))
    pen, font, small = ImageDraw.Draw(picture), ImageFont.load_default(17), ImageFont.load_default(14)
    scale = SIDE / phantom.voxels.shape[1]
    x, y = 40 + (i + 0.5) * scale, 30 + (j + 0.5) * scale
    pen.line((40, y, x - 8, y), MARK)
    pen.line((x, 30, x, y - 8), MARK)
    pen.ellipse((x - 6, y - 6, x + 6, y + 6), outline=MARK, width=2)
    pen.text((42, 6), f"i, x: column {i} from the left edge of the array", MARK, small)
    pen.text((46, y - 22), f"j, y: row {j}", MARK, small, stroke_width=3, stroke_fill=BACKGROUND)
    pen.text((46, SIDE + 6), f"k, z: slice {k} of {phantom.voxels.shape[0]}", MARK, small)
    pen.text((SIDE + 6, 36), "L", FAINT, font)
    pen.text((46, 36), "R", FAINT, font)
    left, back, head = (
        origin + step * index
        for origin, step, index in zip(phantom.origin, phantom.spacing[::-1], (i, j, k), strict=True)
    )
    rows = [
        ("--coordinates", "the same voxel", "where it is read"),
        ("kji", f"{k}, {j}, {i}", "numpy array[k, j, i]; napari's status bar"),
        ("ijk", f"{i}, {j}, {k}", "3D Slicer, Data Probe: (60, 84, 52)"),
        ("itksnap", f"{i + 1}, {j + 1}, {k + 1}", "ITK-SNAP, cursor position (counts from 1)"),
        ("lps", f"{left:g}, {back:g}, {head:g}", "mm to left, back, head: DICOM, ITK"),
        ("ras", f"{-left:g}, {-back:g}, {head:g}", "mm to right, front, head: 3D Slicer"),
    ]
    for place, row in enumerate(rows):
        for offset, text, ink in zip((0, 130, 290), row, (MARK, INK, FAINT), strict=True):
            pen.text(
                (SIDE + 70 + offset, 120 + 44 * place),
                text,
                FAINT if place == 0 else ink,
                font if offset < 290 else small,
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)
    return path


if __name__ == "__main__":
    draw(Path(sys.argv[1]))

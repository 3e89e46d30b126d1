"""The pictures of the clinicians' guide: every prompt on a kidney of the phantom, and what it finds.

PYTHONPATH=.:Testing python Testing/desktop/draw_prompts.py [docs/images/prompts.png]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import memseg3d
from demo.phantom import make_phantom
from demo.phantom_anatomy import LEFT_KIDNEY
from memseg3d.cases.case import Case

SLICE, SIDE, HEAD, GAP, COLUMNS = 21, 300, 44, 12, 4
PART = (slice(70, 126), slice(78, 134))
"""Rows and columns of the phantom that are shown."""
MUSCLE = (1, 33.0, 17.0)
"""A place in the psoas, which the lasso takes for kidney; in the part."""
BACKGROUND, INK, FAINT = "#10141a", "#e8ecf1", "#8b95a5"


def stories(truth: np.ndarray) -> list[tuple[str, str, Callable[[Case], object]]]:
    """Name, what is drawn, and how; places (k, j, i) of the part, whose middle slice is 1. truth: of that slice."""
    rows, columns = (np.flatnonzero(truth.any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
    middle = (top + bottom) // 2
    within = np.flatnonzero(truth[middle])
    inside = int(within[len(within) // 3])
    filled = {j: np.flatnonzero(truth[j]) for j in range(top + 4, bottom - 3)}
    stroke = [(1, j, int(places[len(places) // 3])) for j, places in filled.items()]
    turns = np.linspace(0, 2 * np.pi, 25)[:-1]
    centre, reach = ((top + bottom) / 2, (left + right) / 2), ((bottom - top) / 2 + 3, (right - left) / 2 + 3)
    round_it = [(1, centre[0] + reach[0] * np.sin(turn), centre[1] + reach[1] * np.cos(turn)) for turn in turns]
    ends = [
        (1, top, int(np.flatnonzero(truth[top]).mean())),
        (1, bottom, int(np.flatnonzero(truth[bottom]).mean())),
        (1, int(np.flatnonzero(truth[:, left]).mean()), left),
        (1, int(np.flatnonzero(truth[:, right]).mean()), right),
    ]
    return [
        ("Box", "round the whole object", lambda case: case.box("x", (1, top, left), (1, bottom, right))),
        ("Point +", "on the object", lambda case: case.click("x", (1, middle, inside))),
        (
            "Point -",
            "on a leak: here the muscle beside it",
            lambda case: case.lasso("x", round_it).click("x", MUSCLE, positive=False),
        ),
        ("Scribble", "a stroke along it", lambda case: case.stroke("x", stroke)),
        ("Lasso", "a closed line round it", lambda case: case.lasso("x", round_it)),
        ("Extreme points", "its four outermost points", lambda case: case.extreme_points("x", ends)),
        ("Mask", "the slice painted by hand", lambda case: case.paint("x", 1, truth)),
        ("Box in space", "round all of its slices", lambda case: case.box("x", (0, top, left), (2, bottom, right))),
    ]


def draw(path: Path) -> Path:
    """Write the picture."""
    phantom = make_phantom()
    part = (slice(SLICE - 1, SLICE + 2), *PART)
    voxels, truth = phantom.voxels[part], phantom.mask(LEFT_KIDNEY)[part][1]
    told = stories(truth)
    lines = -(-len(told) // COLUMNS)
    page = Image.new("RGB", (GAP + COLUMNS * (SIDE + GAP), GAP + lines * (SIDE + HEAD + GAP)), BACKGROUND)
    pen, font, small = ImageDraw.Draw(page), ImageFont.load_default(18), ImageFont.load_default(14)
    for place, (name, words, prompt) in enumerate(told):
        left, top = GAP + place % COLUMNS * (SIDE + GAP), GAP + place // COLUMNS * (SIDE + HEAD + GAP)
        with memseg3d.open(voxels, phantom.spacing, window=(-160, 240), progress=False) as case:
            prompt(case)
            page.paste(case.slice_picture(0, 1, SIDE), (left, top + HEAD))
        pen.text((left, top), name, INK, font)
        pen.text((left, top + 23), words, FAINT, small)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, optimize=True)
    return path


if __name__ == "__main__":
    print(draw(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/prompts.png")))

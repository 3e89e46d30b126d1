"""A page of examples of every kind of synthetic volume, targets outlined: what a network is taught, to look at."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from PIL import Image

from memseg3d.training.synthetic.appearance import render
from memseg3d.training.synthetic.fields import Stack
from memseg3d.training.synthetic.hold_out import candidates
from memseg3d.training.synthetic.library import WORLDS

COLUMNS = 8
STACK = Stack(24, 160, 3.0)
OUTLINE = "#ff3b30"


def draw_sheet(path: Path, seed: int) -> Path:
    """Two rows a kind: eight volumes, each on its target's largest slice, then the last of them slice by slice."""
    kinds = list(WORLDS)
    size = 1.75
    layout = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.02)
    figure = Figure(figsize=(COLUMNS * size, 2 * len(kinds) * (size + 0.12) + 0.3), layout=layout)
    axes = figure.subplots(2 * len(kinds), COLUMNS, squeeze=False)
    for number, kind in enumerate(kinds):
        examples = _examples(kind, seed)
        image, mask, _ = examples[-1]
        for axis, (each, target, words) in zip(axes[2 * number], examples, strict=True):
            _show(axis, each, target, int(target.sum((1, 2)).argmax()), words)
        shown = np.flatnonzero(mask.any((1, 2)))
        # One slice beyond each end, so that the page tells how targets end.
        first, last = max(0, int(shown[0]) - 1), min(len(mask) - 1, int(shown[-1]) + 1)
        for axis, index in zip(
            axes[2 * number + 1], np.linspace(first, last, COLUMNS).round().astype(int), strict=True
        ):
            _show(axis, image, mask, int(index), f"slice {index}")
        axes[2 * number][0].set_ylabel(kind, fontsize=11, weight="bold")
        axes[2 * number + 1][0].set_ylabel(f"{kind}: one target", fontsize=8)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=90)
    # Grey values and one colour: a palette makes a third of the file.
    Image.open(drawn).convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def _examples(kind: str, seed: int) -> list[tuple[NDArray[Any], NDArray[Any], str]]:
    """Eight volumes of a kind with a target each: image and mask (k, j, i), and what is hard about the target."""
    found: list[tuple[NDArray[Any], NDArray[Any], str]] = []
    number = 0
    while len(found) < COLUMNS:
        rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
        number += 1
        world = WORLDS[kind][0](rng, STACK)
        image = render(rng, world).numpy()
        targets = candidates(image, world)
        if targets:
            target = targets[int(rng.integers(len(targets)))]
            found.append((image, target.mask, ", ".join(sorted(target.traits))))
        elif number > 20 * COLUMNS:
            raise RuntimeError(f"Worlds of the kind {kind} hold no targets: look at its maker.")
    return found


def _show(axis: Axes, image: NDArray[Any], mask: NDArray[Any], index: int, words: str) -> None:
    low, high = np.percentile(image, [0.5, 99.5])
    axis.imshow(image[index], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    if mask[index].any():
        axis.contour(mask[index], levels=[0.5], colors=OUTLINE, linewidths=1.3)
    axis.set_title(_short(words.split(", ")), fontsize=6.5, pad=2)
    axis.set_xticks([])
    axis.set_yticks([])


def _short(words: Sequence[str]) -> str:
    """At most three words: a title is no wider than its picture."""
    return ", ".join(words[:3]) + (" ..." if len(words) > 3 else "")

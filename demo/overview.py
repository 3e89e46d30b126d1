"""overview.png: slices with the contours of each round and of the truth, and the quality curve, one row a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from demo.phantom_dicom import looks_like_ct
from demo.planes import Plane, display_plane
from demo.results import Case, Mask, TargetResult

BACKGROUND, PANEL, INK, FAINT = "#10141a", "#171d26", "#e8ecf1", "#8b95a5"
BEFORE, AFTER, TRUTH = "#ffa23e", "#37d5ff", "#ffffff"
SLICES = 5
# Inches: the page, its header, a row with its headline, the side of a slice and the gap between two.
WIDTH, HEADER, HEADLINE, SIDE, GAP = 17.0, 0.78, 0.42, 2.5, 0.07
ROW = SIDE + HEADLINE + 0.14
SMALLEST_VIEW = 60.0
"""Side in mm below which a view is not cut."""


def draw_overview(case: Case, results: list[TargetResult], path: Path, subtitle: str) -> None:
    """Write the picture. subtitle: a line below the title, such as what computed it."""
    height = HEADER + ROW * len(results) + 0.12
    figure = plt.figure(figsize=(WIDTH, height), facecolor=BACKGROUND)
    figure.text(0.012, 1 - 0.36 / height, f"MemSeg3D · {case.name}", color=INK, size=19, weight="bold")
    figure.text(0.012, 1 - 0.64 / height, subtitle, color=FAINT, size=11)
    _legend(figure, results)
    low, high = _window(case.voxels)
    for row, result in enumerate(results):
        plane = display_plane(case.affine, result.target.box.axis)
        view = _view(case, result, plane)
        top = 1 - (HEADER + ROW * row + HEADLINE) / height
        bottom = top - SIDE / height
        _headline(figure, result, top + 0.08 / height)
        for column, index in enumerate(_chosen(result)):
            left = (0.2 + column * (SIDE + GAP)) / WIDTH
            axes = figure.add_axes((left, bottom, SIDE / WIDTH, SIDE / height))
            _draw_slice(axes, case, result, plane, index, view, (low, high))
        left = (0.2 + SLICES * (SIDE + GAP) + 0.12) / WIDTH
        _draw_curve(figure.add_axes((left, bottom + 0.42 / height, 0.975 - left, (SIDE - 0.42) / height)), result)
    figure.savefig(path, dpi=110, facecolor=BACKGROUND)
    plt.close(figure)


def _legend(figure: Any, results: list[TargetResult]) -> None:
    handles = [Line2D([], [], color=BEFORE, lw=2.2, label="after the box")]
    if any(len(result.rounds) > 1 for result in results):
        handles.append(Line2D([], [], color=AFTER, lw=2.2, label="after one correction"))
    if any(result.target.truth is not None for result in results):
        handles.append(Line2D([], [], color=TRUTH, lw=1.2, ls=(0, (2, 2)), label="truth"))
    handles.append(Line2D([], [], color="#ffe45c", marker="s", mfc="none", ls="", ms=10, mew=1.4, label="box drawn"))
    if any(result.rounds[-1].click for result in results):
        handles.append(Line2D([], [], color="#ff5f7e", marker="P", ls="", ms=10, mec="white", label="click"))
    legend = figure.legend(
        handles=handles,
        loc="upper right",
        ncols=len(handles),
        frameon=False,
        fontsize=11.5,
        bbox_to_anchor=(0.988, 1 - 0.12 / figure.get_figheight()),
        handletextpad=0.5,
        columnspacing=1.6,
    )
    for text in legend.get_texts():
        text.set_color(INK)


def _window(voxels: NDArray[np.generic]) -> tuple[float, float]:
    """Grey values of black and white: a soft-tissue window for CT, else nearly the whole range."""
    if looks_like_ct(voxels):
        return -160.0, 240.0
    low, high = np.percentile(np.asarray(voxels, np.float32), (1, 99.5))
    return float(low), float(max(high, low + 1e-6))


def _chosen(result: TargetResult) -> list[int]:
    """Slices to show: spread over the object, with the box's own and the corrected one among them."""
    axis = result.target.box.axis
    other = tuple(a for a in range(3) if a != axis)
    known = [result.target.truth] if result.target.truth is not None else [turn.mask for turn in result.rounds]
    filled = np.flatnonzero(np.any([mask.any(axis=other) for mask in known], axis=0))
    if not filled.size:
        filled = np.array([result.target.box.index])
    first, last = int(filled[0]), int(filled[-1])
    wanted = np.linspace(first + 0.08 * (last - first), last - 0.08 * (last - first), SLICES)
    chosen = [round(value) for value in wanted]
    fixed = {result.target.box.index, *(turn.click.index for turn in result.rounds if turn.click)}
    taken: set[int] = set()
    for index in sorted(fixed):
        free = [n for n in range(SLICES) if n not in taken]
        nearest = min(free, key=lambda n: abs(wanted[n] - index))
        chosen[nearest] = index
        taken.add(nearest)
    return sorted(chosen)


def _view(case: Case, result: TargetResult, plane: Plane) -> tuple[slice, slice]:
    """Rows and columns of the displayed slice that hold the object on every slice, with some room around it."""
    masks = [turn.mask for turn in result.rounds]
    masks += [] if result.target.truth is None else [result.target.truth]
    box = result.target.box
    ranges = []
    for axis in (plane.rows, plane.columns):
        others = tuple(a for a in range(3) if a != axis)
        filled = np.flatnonzero(np.any([mask.any(axis=others) for mask in masks], axis=0))
        low = min([box.lower[axis], *filled[:1]])
        high = max([box.upper[axis], *filled[-1:]])
        ranges.append((low * case.spacing[axis], high * case.spacing[axis]))
    side = max(SMALLEST_VIEW, 1.24 * max(high - low for low, high in ranges))
    found = []
    for (low, high), axis, flipped in zip(
        ranges, (plane.rows, plane.columns), (plane.flip_rows, plane.flip_columns), strict=True
    ):
        count, step = case.voxels.shape[axis], case.spacing[axis]
        size = min(count, round(side / step))
        start = int(np.clip(round((low + high) / 2 / step - size / 2), 0, count - size))
        found.append(slice(count - start - size, count - start) if flipped else slice(start, start + size))
    return found[0], found[1]


def _draw_slice(
    axes: Any,
    case: Case,
    result: TargetResult,
    plane: Plane,
    index: int,
    view: tuple[slice, slice],
    window: tuple[float, float],
) -> None:
    rows, columns = view
    aspect = case.spacing[plane.rows] / case.spacing[plane.columns]
    shown = plane.cut(case.voxels, index)[view]
    axes.imshow(shown, cmap="gray", vmin=window[0], vmax=window[1], aspect=aspect, interpolation="bicubic")
    contours = [(turn.mask, colour, 2.0, "solid") for turn, colour in zip(result.rounds, (BEFORE, AFTER), strict=False)]
    if result.target.truth is not None:
        contours.append((result.target.truth, TRUTH, 1.0, (0, (2, 2))))  # type: ignore[arg-type]
    for mask, colour, width, style in contours:
        _contour(axes, plane.cut(mask, index)[view], colour, width, style)
    box = result.target.box
    if index == box.index:
        corner_1, corner_2 = plane.place(box.lower, case.voxels.shape), plane.place(box.upper, case.voxels.shape)
        left, right = sorted((corner_1[1], corner_2[1]))
        upper, lower = sorted((corner_1[0], corner_2[0]))
        place = (left - 0.5 - columns.start, upper - 0.5 - rows.start)
        axes.add_patch(
            Rectangle(place, right - left + 1, lower - upper + 1, fill=False, ec="#ffe45c", lw=1.4, clip_on=True)
        )
    for turn in result.rounds:
        if turn.click is not None and turn.click.index == index:
            row, column = plane.place(turn.click.position, case.voxels.shape)
            marker = "P" if turn.click.positive else "X"
            place = (column - columns.start, row - rows.start)
            axes.plot(*place, marker=marker, ms=13, color="#ff5f7e", mec="white", mew=1.1, ls="")
    # Contours are padded and would widen the view.
    axes.set_xlim(-0.5, shown.shape[1] - 0.5)
    axes.set_ylim(shown.shape[0] - 0.5, -0.5)
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.text(
        0.03,
        0.965,
        f"slice {index}",
        transform=axes.transAxes,
        color=INK,
        size=10,
        va="top",
        bbox={"fc": BACKGROUND, "ec": "none", "alpha": 0.6, "pad": 2.5},
    )


def _contour(axes: Any, mask: Mask, colour: str, width: float, style: Any) -> None:
    if not mask.any():
        return
    # A border of zeros closes contours at the edge of the view.
    padded = np.pad(mask.astype(float), 1)
    places = np.arange(-1, mask.shape[1] + 1), np.arange(-1, mask.shape[0] + 1)
    axes.contour(*places, padded, levels=[0.5], colors=[colour], linewidths=[width], linestyles=[style])


def _draw_curve(axes: Any, result: TargetResult) -> None:
    """Predicted quality by slice for each round, with the true Dice of each slice faintly behind it."""
    axes.set_facecolor(PANEL)
    axis = result.target.box.axis
    for turn, colour in zip(result.rounds, (BEFORE, AFTER), strict=False):
        if result.target.truth is not None:
            found = _slice_dice(turn.mask, result.target.truth, axis)
            axes.plot(list(found), list(found.values()), color=colour, lw=1.1, ls=(0, (1.5, 1.5)), alpha=0.85)
        if turn.quality:
            indices = sorted(turn.quality)
            axes.plot(indices, [turn.quality[n] for n in indices], color=colour, lw=2.2)
    marks = [(result.target.box.index, "box", "#ffe45c")]
    marks += [(turn.click.index, "click", "#ff5f7e") for turn in result.rounds if turn.click]
    for n, (index, word, colour) in enumerate(sorted(marks)):
        axes.axvline(index, color=colour, lw=1, alpha=0.75)
        # Words of two close marks lean away from each other.
        lean = "center" if len(marks) == 1 else ("right", "left")[n > 0]
        axes.text(index, 1.012, word, color=colour, size=10, ha=lean, va="bottom", transform=axes.get_xaxis_transform())
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.set_xlabel(
        "slice    (solid: predicted quality, dotted: true Dice)"
        if result.target.truth is not None
        else "slice    (predicted quality)",
        color=FAINT,
        size=10,
    )
    axes.tick_params(colors=FAINT, labelsize=9.5, length=0)
    axes.yaxis.tick_right()
    axes.grid(color="#2a3340", lw=0.7)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _headline(figure: Any, result: TargetResult, bottom: float) -> None:
    """The target's name above its row, and what each round reached."""
    figure.text(0.012, bottom, result.target.segment.name, color=INK, size=14.5, weight="bold", va="bottom")
    scores = [result.dice(n) for n in range(len(result.rounds))]
    words = "   ".join(
        f"{word} {score:.3f}" for word, score in zip(("box", "+ 1 click"), scores, strict=False) if score is not None
    )
    if words:
        figure.text(0.012 + 2.0 / WIDTH, bottom, f"Dice   {words}", color=FAINT, size=12, va="bottom")


def _slice_dice(mask: Mask, truth: Mask, axis: int) -> dict[int, float]:
    """Dice of every slice on which the mask or the truth has a voxel."""
    other = tuple(a for a in range(3) if a != axis)
    both, sizes = (mask & truth).sum(axis=other), mask.sum(axis=other) + truth.sum(axis=other)
    return {int(n): float(2 * both[n] / sizes[n]) for n in np.flatnonzero(sizes)}

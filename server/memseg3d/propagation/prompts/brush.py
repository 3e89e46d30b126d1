"""The pixels under a brush, row by row: each piece of a stroke covers one run of every row that it meets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_AT_ONCE = 1 << 16
"""Rows of all pieces together, or pixels of their lines, that are looked at in one go: a few megabytes."""
_ROUNDING = 1e-9
"""By so much a pixel's centre may miss the brush's edge: it lies on it but for rounding."""


def under_brush(starts: np.ndarray, ends: np.ndarray, reach: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Boolean (rows, columns): pixels no further from a straight piece than the brush reaches.

    starts, ends: (N, 2) (row, column) of the pieces; reach: half the brush's height and width, above 0.
    """
    height, width = shape
    changes, covered = np.zeros(height * (width + 1), np.int64), np.zeros(shape, bool)
    rows, base = np.arange(height, dtype=float) / reach[0], np.arange(height) * (width + 1)
    at_once = max(1, _AT_ONCE // max(1, height))
    for first in range(0, len(starts), at_once):
        piece = slice(first, first + at_once)
        left, right = _runs(starts[piece] / reach, ends[piece] / reach, rows, float(reach[1]), width)
        # Where runs begin and end; what lies between is summed up once for all of them.
        changes += np.bincount((base + left).ravel(), minlength=changes.size)
        changes -= np.bincount((base + np.maximum(left, right)).ravel(), minlength=changes.size)
        covered = np.cumsum(changes.reshape(height, width + 1), axis=1)[:, :-1] > 0
        if covered.all():
            break
    return np.asarray(covered)


def mark_lines(pixels: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
    """Set the pixels (rows, columns) that straight pieces from `starts` to `ends`, (N, 2), pass through."""
    for row, column in _walked(starts, ends, pixels.shape):
        inside = (row >= 0) & (row < pixels.shape[0]) & (column >= 0) & (column < pixels.shape[1])
        pixels[row[inside], column[inside]] = True


def _runs(
    start: np.ndarray, end: np.ndarray, rows: np.ndarray, width: float, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """First column and the one after the last, (pieces, rows), that each piece covers; the brush is the unit disk."""
    low = np.full((len(start), len(rows)), np.inf)
    high = np.full_like(low, -np.inf)
    for row, column in ((each[:, :1], each[:, 1:]) for each in (start, end)):
        square = 1.0 - (rows - row) ** 2
        met = square >= -_ROUNDING
        half = np.sqrt(np.maximum(square, 0.0))
        np.minimum(low, column - half, out=low, where=met)
        np.maximum(high, column + half, out=high, where=met)
    _widen(start, end, rows, low, high)
    first = np.clip(np.ceil(low * width - _ROUNDING), 0, columns)
    last = np.clip(np.floor(high * width + _ROUNDING) + 1, 0, columns)
    return first.astype(np.int64), last.astype(np.int64)


def _widen(start: np.ndarray, end: np.ndarray, rows: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Widen the runs by what lies beside the straight piece itself, between its two ends."""
    along = end - start
    length = np.hypot(along[:, 0], along[:, 1])[:, None]
    down, across = np.hsplit(along / np.where(length > 0, length, 1.0), 2)
    offset = rows - start[:, :1]
    # Of a pixel at `column`: 0 <= its place along the piece <= length, and -1 <= its distance from it <= 1.
    left, right = np.full_like(low, -np.inf), np.full_like(low, np.inf)
    for slope, at, least, most in ((across, down * offset, 0.0, length), (down, -across * offset, -1.0, 1.0)):
        flat = slope == 0
        safe = np.where(flat, 1.0, slope)
        one, other = (least - at) / safe, (most - at) / safe
        left = np.where(flat, left, np.maximum(left, np.minimum(one, other)))
        right = np.where(flat, right, np.minimum(right, np.maximum(one, other)))
        right = np.where(flat & ((at < least) | (at > most)), -np.inf, right)
    met = (length > 0) & (left <= right)
    np.minimum(low, left + start[:, 1:], out=low, where=met)
    np.maximum(high, right + start[:, 1:], out=high, where=met)


def _walked(starts: np.ndarray, ends: np.ndarray, shape: tuple[int, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of pixels along the pieces, two a pixel's length, in portions; only what is near the slice: a
    line may come from a million pixels away.
    """
    way = ends - starts
    steps = np.maximum(np.ceil(np.abs(way).max(axis=1) * 2), 1.0)
    first, last = np.zeros(len(way)), np.ones(len(way))
    for side in (0, 1):
        moves = way[:, side] != 0
        safe = np.where(moves, way[:, side], 1.0)
        one, other = (-1.0 - starts[:, side]) / safe, (shape[side] - starts[:, side]) / safe
        first = np.where(moves, np.maximum(first, np.minimum(one, other)), first)
        last = np.where(moves, np.minimum(last, np.maximum(one, other)), last)
        last = np.where(moves | ((starts[:, side] >= -1) & (starts[:, side] <= shape[side])), last, -1.0)
    begin = np.floor(first * steps)
    counts = np.where(first <= last, np.ceil(last * steps) - begin + 1, 0).astype(np.int64)
    bounds = np.searchsorted(np.cumsum(counts), np.arange(0, counts.sum() + _AT_ONCE, _AT_ONCE), side="right")
    for low, high in zip(bounds[:-1], bounds[1:] + 1, strict=True):
        count = counts[low:high]
        piece = np.repeat(np.arange(low, min(high, len(counts))), count)
        step = np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
        place = ((begin[piece] + step) / steps[piece])[:, None]
        pixel = np.floor(starts[piece] + way[piece] * place + 0.5).astype(np.int64)
        yield pixel[:, 0], pixel[:, 1]

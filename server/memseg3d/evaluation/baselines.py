"""What methods without a network reached with the same robot: read from a table, or run anew, compared in pairs."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memseg3d.evaluation.results import TargetResult
from memseg3d.files import UnreadableFile

ENVIRONMENT = "MEMSEG3D_BASELINES"
GROW_CUT = "A_growcut"
MORE_INFORMATION = ("A2_", "A3_")
"""Methods whose names begin so were told more than the robot's prompts, so no network has to beat them."""

Rows = Mapping[str, "BaselineRow"]


@dataclass(frozen=True)
class BaselineRow:
    """One method on one target. box: in-plane (x0, y0, x1, y1), inclusive; axis: of (x, y, z). dice, nsd: per round."""

    method: str
    case: str
    label: int
    axis: int
    slice: int
    box: tuple[int, ...]
    dice: tuple[float, ...]
    nsd: tuple[float, ...]

    @property
    def key(self) -> str:
        """case/label."""
        return f"{self.case}/{self.label}"


def find_baselines(data: Path, named: Path | None = None) -> Path | None:
    """The table of baselines: `named`, MEMSEG3D_BASELINES, or `../facts/baselines.csv` beside the data folder.

    None where there is none of its own; raises `UnreadableFile` where one that was asked for is absent.
    """
    promised = named or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    if promised is not None:
        if not promised.is_file():
            raise UnreadableFile(f"There is no table of baselines at {promised}; check the path.")
        return promised
    beside = data.resolve().parent / "facts" / "baselines.csv"
    return beside if beside.is_file() else None


def read_baselines(path: Path, method: str = GROW_CUT) -> dict[str, BaselineRow]:
    """The rows of one method by "case/label". Raises `UnreadableFile` where the table lacks it or a column."""
    rows = read_all_baselines(path).get(method)
    if not rows:
        raise UnreadableFile(f"{path} has no rows of the method {method}.")
    return rows


def read_all_baselines(path: Path) -> dict[str, dict[str, BaselineRow]]:
    """Rows by method, then by "case/label". Raises `UnreadableFile` where the file is no table of baselines."""
    with path.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    methods: dict[str, dict[str, BaselineRow]] = {}
    try:
        for row in map(_row, lines):
            methods.setdefault(row.method, {})[row.key] = row
    except (KeyError, ValueError, TypeError) as error:
        raise UnreadableFile(f"{path} is not a table of baselines: {error} is missing or no number.") from error
    return methods


def _row(line: dict[str, str]) -> BaselineRow:
    rounds = range(sum(f"dice{n}" in line for n in range(20)))
    return BaselineRow(
        method=line["method"],
        case=line["case"],
        label=int(line["label"]),
        axis=int(line["axis"]),
        slice=int(line["slice"]),
        box=tuple(int(n) for n in line["box"].split()),
        dice=tuple(float(line[f"dice{n}"]) for n in rounds),
        nsd=tuple(float(line[f"nsd{n}"]) for n in rounds),
    )


def plane_corners(result: TargetResult) -> tuple[int, ...]:
    """The box of a result as tables have it: in-plane (x0, y0, x1, y1)."""
    plane = [axis for axis in (2, 1, 0) if axis != result.axis]
    return tuple(corner[axis] for corner in (result.box.lower, result.box.upper) for axis in plane)


def rows_of(method: str, results: Sequence[TargetResult]) -> dict[str, BaselineRow]:
    """Results of this program as rows, by "case/label"."""
    return {
        result.target.key: BaselineRow(
            method,
            result.target.case,
            result.target.label,
            2 - result.axis,
            result.box.index,
            plane_corners(result),
            tuple(score.dice for score in result.rounds),
            tuple(score.nsd for score in result.rounds),
        )
        for result in results
    }


@dataclass(frozen=True)
class Agreement:
    """How a method that was run anew compares with its rows in the table: is the robot the same?

    same_prompts: targets with the same axis, slice and box. largest_first, largest: the greatest difference of Dice on
    any target, after the box and after any round; mean: of the mean Dice over targets after the last round.
    """

    method: str
    targets: int
    same_prompts: int
    largest_first: float
    largest: float
    mean: float


def agreement(ours: Rows, table: Rows) -> Agreement | None:
    """Compare two lots of rows of one method on the targets that both have; None where they share none."""
    keys = [key for key in ours if key in table]
    if not keys:
        return None
    rounds = min(*(len(row.dice) for row in (*ours.values(), *table.values())), 20)
    mine = np.array([ours[key].dice[:rounds] for key in keys])
    theirs = np.array([table[key].dice[:rounds] for key in keys])
    same = [
        (ours[key].axis, ours[key].slice, ours[key].box) == (table[key].axis, table[key].slice, table[key].box)
        for key in keys
    ]
    apart = np.abs(mine - theirs)
    mean = abs(float(mine[:, -1].mean() - theirs[:, -1].mean()))
    method = ours[keys[0]].method
    return Agreement(method, len(keys), sum(same), float(apart[:, 0].max()), float(apart.max()), mean)

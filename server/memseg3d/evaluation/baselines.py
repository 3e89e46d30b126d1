"""What methods without a network reached with the same robot, read from a table, for a comparison in pairs."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from memseg3d.files import UnreadableFile

ENVIRONMENT = "MEMSEG3D_BASELINES"
GROW_CUT = "A_growcut"


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
    with path.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    try:
        rows = [_row(line) for line in lines if line["method"] == method]
    except (KeyError, ValueError) as error:
        raise UnreadableFile(f"{path} is not a table of baselines: {error} is missing or no number.") from error
    if not rows:
        raise UnreadableFile(f"{path} has no rows of the method {method}.")
    return {row.key: row for row in rows}


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

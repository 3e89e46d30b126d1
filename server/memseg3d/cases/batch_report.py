"""What became of each case of a batch: a table, on the disk after every case, and what need not be done again."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from memseg3d.cases.batch_list import FILES, BatchCase

REPORT = "report.csv"
MARK = "batch.json"


@dataclass(frozen=True)
class CaseLine:
    """One case. millilitres: of all its segments; quality: the least of their means; message: why it failed."""

    case: str
    status: Literal["done", "done before", "failed"]
    seconds: float = 0.0
    segments: int = 0
    millilitres: float = 0.0
    quality: float | None = None
    message: str = ""


class BatchReport:
    """`report.csv` in the folder of a batch."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / REPORT
        self.lines: list[CaseLine] = []

    def add(self, line: CaseLine) -> None:
        """Add a case; the table on the disk is whole at every moment."""
        self.lines.append(line)
        fresh = self._path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, [each.name for each in fields(CaseLine)])
            table.writeheader()
            table.writerows(asdict(each) for each in self.lines)
        fresh.replace(self._path)

    @property
    def failed(self) -> list[CaseLine]:
        """The cases that have no result."""
        return [line for line in self.lines if line.status == "failed"]


def mark_of(case: BatchCase, settings: Mapping[str, Any]) -> str:
    """What a result depends on: model, options, prompts, and which files lay there, by size and time of change."""
    files = [case.image, *(Path(text.rpartition("=")[2]) for option in FILES for text in case.texts.get(option, ()))]
    words = {"settings": dict(settings), "texts": {name: list(each) for name, each in sorted(case.texts.items())}}
    return hashlib.sha256(json.dumps([words, [_seen(path) for path in files]], sort_keys=True).encode()).hexdigest()


def is_done(folder: Path, mark: str) -> bool:
    """Whether a case's folder holds the result of just this."""
    try:
        return bool(json.loads((folder / MARK).read_text("utf-8"))["made_from"] == mark)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _seen(path: Path) -> list[Any]:
    try:
        found = path.stat()
        inner = sorted(each.name for each in path.iterdir()) if path.is_dir() else []
    except OSError:
        return [str(path), None]
    return [str(path), found.st_size, found.st_mtime_ns, inner]

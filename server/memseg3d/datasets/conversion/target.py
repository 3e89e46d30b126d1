"""What a layout to be written is: how a case is written, and what is added when all are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from memseg3d.datasets.conversion.options import Options
from memseg3d.datasets.conversion.staging import Staging
from memseg3d.datasets.description import Case
from memseg3d.datasets.record import CaseRecord, Record


@dataclass(frozen=True)
class Written:
    """units: files and folders of the case to be renamed into place, in order. record: what the layout cannot keep."""

    units: tuple[str, ...]
    record: CaseRecord


def _nothing(root: Path, record: Record, options: Options) -> None:
    """Layouts without an index."""


@dataclass(frozen=True)
class Target:
    """write: one case into the staging folder. finish: the files that describe the set, written last."""

    write: Callable[[Case, Staging, Options], Written]
    finish: Callable[[Path, Record, Options], None] = _nothing

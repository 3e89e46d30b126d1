"""`memseg3d-dataset.json`: what the layout of a converted set cannot keep, and how far it has come."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memseg3d.datasets.description import Split
from memseg3d.datasets.errors import DataSetError, unwritable
from memseg3d.files import Geometry

NAME = "memseg3d-dataset.json"
_FORMAT = 1


@dataclass(frozen=True)
class CaseRecord:
    """One finished case. geometry: of the volume as written (k, j, i). A stored number v means v * slope + offset."""

    split: Split = Split.UNKNOWN
    patient: str = ""
    modality: str = ""
    channels: tuple[str, ...] = ()
    geometry: Geometry | None = None
    slope: float = 1.0
    offset: float = 0.0
    slice_axis: int = 0


@dataclass
class Record:
    """The file. fingerprint: of the source and the options, so that a conversion is only ever continued as it began.

    skipped: cases that were left out, with the sentence why.
    """

    layout: str
    fingerprint: str = ""
    is_complete: bool = False
    label_names: dict[int, str] = field(default_factory=dict)
    cases: dict[str, CaseRecord] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def write(self, root: Path) -> None:
        """Replace the file under `root` as a whole. Raises `UnwritableDataSet`."""
        words = {
            "format": _FORMAT,
            "layout": self.layout,
            "fingerprint": self.fingerprint,
            "is_complete": self.is_complete,
            "label_names": {str(value): name for value, name in sorted(self.label_names.items())},
            "cases": {name: _to_json(case) for name, case in self.cases.items()},
            "skipped": self.skipped,
        }
        unfinished = root / f".unfinished-{os.getpid()}-{NAME}"
        try:
            unfinished.write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
            unfinished.replace(root / NAME)
        except OSError as error:
            raise unwritable(root / NAME, error, "Make room and run the same command again: it goes on.") from error
        finally:
            unfinished.unlink(missing_ok=True)


def read_record(root: Path) -> Record | None:
    """The record under `root`; None where there is none. Raises `DataSetError` where it is damaged."""
    path = root / NAME
    if not path.is_file():
        return None
    try:
        words = json.loads(path.read_text(encoding="utf-8-sig"))
        if words["format"] != _FORMAT:
            raise DataSetError(f"{path} was written by a later version; update memseg3d.")
        return Record(
            str(words["layout"]),
            str(words["fingerprint"]),
            bool(words["is_complete"]),
            {int(value): str(name) for value, name in words["label_names"].items()},
            {str(name): _from_json(case) for name, case in words["cases"].items()},
            {str(name): str(why) for name, why in words["skipped"].items()},
        )
    except DataSetError:
        raise
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise DataSetError(f"{path} is damaged; restore it, or convert the set again into a new folder.") from error


def case_record(record: Record | None, name: str) -> CaseRecord:
    """What is recorded of a case, or nothing."""
    return (record.cases.get(name) if record else None) or CaseRecord()


def _to_json(case: CaseRecord) -> dict[str, Any]:
    return {
        "split": str(case.split),
        "patient": case.patient,
        "modality": case.modality,
        "channels": list(case.channels),
        "geometry": case.geometry.to_json() if case.geometry else None,
        "slope": case.slope,
        "offset": case.offset,
        "slice_axis": case.slice_axis,
    }


def _from_json(words: dict[str, Any]) -> CaseRecord:
    return CaseRecord(
        Split(words["split"]),
        str(words["patient"]),
        str(words["modality"]),
        tuple(str(channel) for channel in words["channels"]),
        Geometry.from_json(words["geometry"]) if words["geometry"] else None,
        float(words["slope"]),
        float(words["offset"]),
        int(words["slice_axis"]),
    )

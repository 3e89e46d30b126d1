"""A folder a case with image.nii.gz and label.nii.gz, and MANIFEST.json: what `memseg3d evaluate` reads."""

from __future__ import annotations

from pathlib import Path

from memseg3d.datasets.description import Case, DataSet, Fault, Split
from memseg3d.datasets.errors import DataSetError
from memseg3d.datasets.listing.base import (
    Layout,
    Recognition,
    Sure,
    no_image,
    no_label,
    read_json,
    recorded,
    with_names,
)
from memseg3d.datasets.paths import plain_name
from memseg3d.datasets.record import Record
from memseg3d.datasets.sources.volume_files import VolumeOnDisk

INDEX = "MANIFEST.json"


def _recognise(root: Path) -> Recognition | None:
    if not (root / INDEX).is_file() or not any(root.glob("*/image.nii.gz")):
        return None
    return Recognition(root, f"{INDEX} lies beside folders with image.nii.gz", Sure.DESCRIBED)


def _read(root: Path, record: Record | None) -> DataSet:
    cases: list[Case] = []
    faults: list[Fault] = []
    for name, entry in sorted(read_json(root / INDEX).items()):
        if not isinstance(entry, dict):
            raise DataSetError(f'{root / INDEX} should say {{"{name}": {{"modality": "CT"}}}}.')
        folder = root / plain_name(name, root / INDEX)
        image, labels = folder / "image.nii.gz", folder / "label.nii.gz"
        if not image.is_file():
            faults.append(no_image(name, labels, str(image)))
        elif not labels.is_file():
            faults.append(no_label(name, image, str(labels)))
        else:
            modality = str(entry.get("modality", "")).replace("unknown", "")
            case = Case(name, (VolumeOnDisk(image),), VolumeOnDisk(labels), modality, (), Split.UNKNOWN)
            cases.append(recorded(case, record))
    names = record.label_names if record else {}
    return DataSet("cases", root, "", with_names(cases, names), tuple(faults), names)


CASES = Layout(
    "cases", "MANIFEST.json and <case>/{image,label}.nii.gz, as `memseg3d evaluate` reads them", _recognise, _read
)

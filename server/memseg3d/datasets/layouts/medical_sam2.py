"""BTCV, FLARE and others as Medical-SAM2 and MemRefine-MedSAM3D train from them: folders of 2D JPEG and npy files."""

from __future__ import annotations

from pathlib import Path

from memseg3d.datasets.description import Case, DataSet, Fault, Split
from memseg3d.datasets.listing.base import Layout, Recognition, Sure, no_image, no_label, with_names
from memseg3d.datasets.listing.stacks import ARRAYS, stacked_case, told_spacing
from memseg3d.datasets.paths import child, folders
from memseg3d.datasets.record import Record

SPLITS = (("Training", Split.TRAIN), ("Validation", Split.VALIDATION), ("Test", Split.TEST))


def _recognise(root: Path) -> Recognition | None:
    for name, _ in SPLITS:
        folder = child(root, name)
        images, masks = (child(folder, "image"), child(folder, "mask")) if folder else (None, None)
        if images and masks and (folders(images) or folders(masks)):
            return Recognition(root, f"{name} holds image/<case>/ and mask/<case>/", Sure.NAMED)
    return None


def mask_folder(masks: Path, case: str) -> Path:
    """Where a case's masks lie: under its own name, or with label in place of img (img0001 has label0001)."""
    own = masks / case
    return own if own.is_dir() or "img" not in case else masks / case.replace("img", "label")


def _read(root: Path, record: Record | None) -> DataSet:
    cases: list[Case] = []
    faults: list[Fault] = []
    for name, split in SPLITS:
        folder = child(root, name)
        images, masks = (child(folder, "image"), child(folder, "mask")) if folder else (None, None)
        if images is None or masks is None:
            continue
        used = set()
        for case, path in folders(images).items():
            labels = mask_folder(masks, case)
            used.add(labels.name)
            if not labels.is_dir():
                faults.append(no_label(case, path, str(labels)))
                continue
            found = stacked_case(Case(case, (), None, split=split), path, labels, record, ARRAYS)
            (cases if isinstance(found, Case) else faults).append(found)  # type: ignore[arg-type]
        for left in sorted(set(folders(masks)) - used):
            faults.append(no_image(left, masks / left, f"a folder of that name in {images}"))
    names = record.label_names if record else {}
    return DataSet("medical-sam2", root, "", with_names(cases, names), tuple(faults), names, told_spacing(cases))


MEDICAL_SAM2 = Layout(
    "medical-sam2", "{Training,Test}/image/<case>/0.jpg, {Training,Test}/mask/<case>/0.npy", _recognise, _read
)

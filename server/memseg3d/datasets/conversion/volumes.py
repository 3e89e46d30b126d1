"""A case as NIfTI volumes: for folders of images and labels, the decathlon's form, and folders of cases."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from memseg3d.datasets.conversion.options import Options
from memseg3d.datasets.conversion.selecting import chosen_labels
from memseg3d.datasets.conversion.staging import Staging
from memseg3d.datasets.conversion.target import Written
from memseg3d.datasets.description import Case, Split
from memseg3d.datasets.errors import BrokenCase, UnwritableDataSet, unwritable
from memseg3d.datasets.record import CaseRecord, Record
from memseg3d.datasets.sources.base import Source, slabs
from memseg3d.datasets.sources.volume_files import VolumeOnDisk
from memseg3d.files import UnwritableLabelmap, write_labelmap, write_slabs

_GO_ON = "Make room and run the same command again: it goes on."


def write_folders(case: Case, staging: Staging, options: Options) -> Written:
    """images/<case>.nii.gz with labels/<case>.nii.gz, several channels as <case>_0000; without labels: imagesTs."""
    images = "images" if case.labels else "imagesTs"
    several = len(case.images) > 1
    names = [f"{images}/{case.name}{f'_{n:04d}' if several else ''}.nii.gz" for n in range(len(case.images))]
    for name, source in zip(names, case.images, strict=True):
        copy_volume(source, staging.file(name))
    return Written((*_labels(case, staging, options, f"labels/{case.name}.nii.gz"), *names), _record(case))


def write_cases(case: Case, staging: Staging, options: Options) -> Written:
    """<case>/image.nii.gz, the first channel, with <case>/label.nii.gz."""
    if case.labels is None:
        raise BrokenCase(f"{case.image.shown} has no labels, and this layout keeps no image without them.")
    _labels(case, staging, options, f"{case.name}/label.nii.gz")
    copy_volume(case.image, staging.file(f"{case.name}/image.nii.gz"))
    return Written((case.name,), _record(case))


def finish_cases(root: Path, record: Record, options: Options) -> None:
    """MANIFEST.json."""
    words = {name: {"modality": kept.modality or "unknown"} for name, kept in sorted(record.cases.items())}
    _write_json(root / "MANIFEST.json", words)


def write_msd(case: Case, staging: Staging, options: Options) -> Written:
    """imagesTr with labelsTr; what is for testing, or has no labels, in imagesTs (and labelsTs)."""
    is_test = case.split is Split.TEST or case.labels is None
    part = "Ts" if is_test else "Tr"
    image = f"images{part}/{case.name}.nii.gz"
    if len(case.images) == 1:
        copy_volume(case.image, staging.file(image))
    else:
        _join(case, staging.file(image))
    return Written((*_labels(case, staging, options, f"labels{part}/{case.name}.nii.gz"), image), _record(case))


def finish_msd(root: Path, record: Record, options: Options) -> None:
    """dataset.json."""
    training = [name for name in record.cases if (root / f"imagesTr/{name}.nii.gz").is_file()]
    test = [name for name in record.cases if name not in training]
    channels = next((kept.channels for kept in record.cases.values() if kept.channels), ())
    modality = next((kept.modality for kept in record.cases.values() if kept.modality), "unknown")
    words: dict[str, Any] = {
        "name": root.name,
        "tensorImageSize": "4D" if len(channels) > 1 else "3D",
        "modality": {str(n): channel for n, channel in enumerate(channels or (modality,))},
        "labels": {"0": "background", **{str(v): name for v, name in sorted(record.label_names.items())}},
        "numTraining": len(training),
        "numTest": len(test),
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in training],
        "test": [f"./imagesTs/{name}.nii.gz" for name in test],
    }
    if not record.label_names:
        del words["labels"]
    _write_json(root / "dataset.json", words)


def copy_volume(source: Source, path: Path) -> None:
    """Write the volume as .nii.gz. A NIfTI file keeps its bytes, so its header says what it said."""
    if isinstance(source, VolumeOnDisk) and source.channel is None:
        name = source.path.name.lower()
        # Copied only after it was read as a whole: a damaged file is not spread.
        if name.endswith(".nii.gz"):
            source.read()
            shutil.copyfile(source.path, path)
            return
        if name.endswith(".nii"):
            source.read()
            with source.path.open("rb") as plain, gzip.open(path, "wb", compresslevel=4) as packed:
                shutil.copyfileobj(plain, packed, 1 << 20)
            return
    volume = source.read()
    _catching(lambda: write_slabs(path, slabs(volume.voxels), volume.voxels.dtype, volume.geometry), path)


def _labels(case: Case, staging: Staging, options: Options, name: str) -> tuple[str, ...]:
    """The labels under a name, on the image's grid where the source keeps none of its own; the name where written."""
    if case.labels is None:
        return ()
    labels = chosen_labels(case, options)
    path = staging.file(name)
    is_copied = isinstance(case.labels, VolumeOnDisk) and not options.labels and _is_nifti(case.labels.path)
    if is_copied and case.labels.read().voxels.dtype.kind in "iu":
        copy_volume(case.labels, path)
        return (name,)
    own = case.labels.header()
    geometry = own.geometry if own.is_placed else case.image.header().geometry
    _catching(lambda: write_labelmap(path, labels, geometry), path)
    return (name,)


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _join(case: Case, path: Path) -> None:
    """Several channels as one 4D file."""
    joined = []
    for source in case.images:
        volume = source.read()
        image = sitk.GetImageFromArray(volume.voxels)
        volume.geometry.place(image)
        joined.append(image)
    try:
        sitk.WriteImage(sitk.JoinSeries(joined), str(path), useCompression=True)
    except RuntimeError as error:
        raise UnwritableDataSet(f"{path.name} cannot be written: is the disk full? {_GO_ON}") from error


def _catching(write: Any, path: Path) -> None:
    """Files' error of writing as one of data sets, a full disk being told."""
    try:
        write()
    except UnwritableLabelmap as error:
        if isinstance(error.__cause__, OSError):
            raise unwritable(path, error.__cause__, _GO_ON) from error
        raise BrokenCase(str(error)) from error


def _record(case: Case) -> CaseRecord:
    return CaseRecord(case.split, case.patient, case.modality, case.channels, slice_axis=case.slice_axis)


def _write_json(path: Path, words: Any) -> None:
    unfinished = path.with_name(f".unfinished-{path.name}")
    unfinished.write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8", newline="\n")
    unfinished.replace(path)

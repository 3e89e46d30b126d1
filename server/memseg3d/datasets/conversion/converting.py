"""Writes a data set in another layout: each case whole or not at all, again from where it was stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from memseg3d.datasets.checking import check_case
from memseg3d.datasets.conversion.frames import finish_mem3d, write_medical_sam2, write_mem3d, write_video
from memseg3d.datasets.conversion.npz import write_cvpr25
from memseg3d.datasets.conversion.options import Options, settle
from memseg3d.datasets.conversion.selecting import chosen_channel, chosen_names, read_labels
from memseg3d.datasets.conversion.staging import NAME as STAGING
from memseg3d.datasets.conversion.staging import Staging
from memseg3d.datasets.conversion.target import Target
from memseg3d.datasets.conversion.volumes import finish_cases, finish_msd, write_cases, write_folders, write_msd
from memseg3d.datasets.description import Case, DataSet
from memseg3d.datasets.door import layout_name
from memseg3d.datasets.errors import BrokenCase, DataSetError, UnwritableDataSet, unwritable
from memseg3d.datasets.paths import plain_name
from memseg3d.datasets.record import NAME as RECORD
from memseg3d.datasets.record import Record, read_record
from memseg3d.files import UnreadableFile

TARGETS = {
    "folders": Target(write_folders),
    "msd": Target(write_msd, finish_msd),
    "cases": Target(write_cases, finish_cases),
    "medical-sam2": Target(write_medical_sam2),
    "mem3d": Target(write_mem3d, finish_mem3d),
    "video": Target(write_video),
    "cvpr25": Target(write_cvpr25),
}
"""Layouts that can be written. The others are the names of published sets."""


def target_name(words: str) -> str:
    """The target from the words of a command line. Raises `DataSetError` where nothing is written in that layout."""
    name = layout_name(words)
    if name not in TARGETS:
        raise DataSetError(f"{name} is one published set and not written; convert to one of {', '.join(TARGETS)}.")
    return name


def convert(
    data: DataSet,
    root: Path,
    target: str,
    asked: Options | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Record:
    """Write the cases of `data` under `root` in the layout `target`, and return what was recorded.

    Broken pairs are left out and stand in the record with their sentence. A conversion that was stopped goes on with
    the cases that are missing; `root` is otherwise to be empty. say: called with a line for each case. Raises
    `DataSetError` for options that do not go together or another conversion's folder, `NoRoom` on a full disk: the
    cases until then stay, and the same call goes on.
    """
    options = settle(target, asked or Options())
    _check_options(data, options)
    record = _begin(data, root, target, options)
    record.skipped = {fault.case: fault.sentence for fault in data.faults}
    try:
        with Staging(root) as staging:
            for number, case in enumerate(data.cases, 1):
                if case.name in record.cases:
                    continue
                say(f"{number} of {len(data.cases)}: {case.name}")
                _convert_case(case, staging, target, options, record)
                staging.clear()
        if record.cases:
            TARGETS[target].finish(root, record, options)
    except OSError as error:
        done = f"{len(record.cases)} of {len(data.cases)} cases are written; make room and run the same command again."
        raise unwritable(Path(error.filename or root), error, f"{done} It goes on.") from error
    record.is_complete = True
    record.write(root)
    return record


def _convert_case(case: Case, staging: Staging, target: str, options: Options, record: Record) -> None:
    """One case into place and into the record, or among the skipped."""
    try:
        plain_name(case.name, case.image.paths()[0])
        fault = check_case(case, is_quick=True).fault
        if fault is not None:
            raise BrokenCase(fault.sentence)
        written = TARGETS[target].write(chosen_channel(case, options), staging, options)
    except UnwritableDataSet:
        raise
    except (DataSetError, UnreadableFile) as error:
        record.skipped[case.name] = str(error)
        return
    staging.publish(written.units)
    record.cases[case.name] = written.record
    record.write(staging.root)


def _check_options(data: DataSet, options: Options) -> None:
    unknown = [label for label in options.labels if data.label_names and label not in data.label_names]
    if unknown:
        known = ", ".join(f"{value} ({name})" for value, name in data.label_names.items())
        raise DataSetError(f"{data.root} has no label {unknown[0]}; it has {known}.")
    if options.labels and not data.label_names:
        _check_held(data, options.labels)


def _check_held(data: DataSet, wanted: Collection[int]) -> None:
    """Raise `DataSetError` for a label that no file holds, where nothing but the files tells which there are."""
    held: set[int] = set()
    for case in data.cases:
        # What cannot be read is told when its turn comes.
        with contextlib.suppress(UnreadableFile):
            held |= {int(value) for value in np.unique(read_labels(case))} if case.labels else set()
        if held.issuperset(wanted):
            return
    missing = next(label for label in wanted if label not in held)
    known = ", ".join(map(str, sorted(held - {0}))) or "none"
    raise DataSetError(f"{data.root} has no label {missing}; its files hold {known}.")


def _begin(data: DataSet, root: Path, target: str, options: Options) -> Record:
    """The record to go on with, or a new one in an empty folder."""
    inside, outside = root.resolve(), data.root.resolve()
    if inside == outside or outside in inside.parents:
        raise UnwritableDataSet(f"{root} lies in the set that is read; name a folder elsewhere.")
    words = [data.layout, target, [(case.name, str(case.split)) for case in data.cases], options.to_json()]
    fingerprint = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
    try:
        root.mkdir(parents=True, exist_ok=True)
        held = [path.name for path in root.iterdir() if path.name not in (STAGING, RECORD)]
    except OSError as error:
        raise unwritable(root, error, "Name a folder that can be made.") from error
    record = read_record(root)
    if record is None:
        if held:
            raise UnwritableDataSet(f"{root} is not empty and holds no conversion of ours; name a new folder.")
        record = Record(target, fingerprint, label_names=chosen_names(data.label_names, options))
        record.write(root)
        return record
    if record.fingerprint != fingerprint:
        raise UnwritableDataSet(
            f"{root} holds another conversion (other cases, splits or options); name a new folder, or remove this one."
        )
    record.is_complete = False
    return record

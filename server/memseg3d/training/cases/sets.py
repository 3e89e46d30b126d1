"""Which cases a run learns from and which it is judged by; every broken one is told before hours are spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from memseg3d.datasets.checking import check_case
from memseg3d.datasets.description import Case, DataSet, Split
from memseg3d.datasets.door import open_data
from memseg3d.datasets.errors import BrokenCase
from memseg3d.datasets.splits import draw_splits, read_splits, with_splits

VALIDATION_SHARE = 0.2
SHOWN = 5
"""Broken cases that one message names."""


@dataclass(frozen=True)
class TrainingSet:
    """train: never empty. validation: may be empty. labels: the values that occur, None where the headers alone were
    read.
    """

    data: DataSet
    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    labels: tuple[int, ...]


def open_training_set(
    root: Path,
    layout: str | None = None,
    splits: Path | None = None,
    skip_broken: bool = False,
    say: Callable[[str], None] = print,
    seed: int = 1,
) -> TrainingSet:
    """The cases under `root`, every file of them read once and judged.

    Validation: the set's own (else its test cases, else drawn by patient with `seed`), or what the file `splits` says.
    skip_broken: go on without broken cases, naming them. Raises `BrokenCase`, whose sentence names the files; raises
    `DataSetError` where the folder is none.
    """
    data = open_data(root, layout)
    if splits is not None:
        data = with_splits(data, read_splits(splits), splits)
    checks = [check_case(case) for case in data.cases]
    faults = [*data.faults, *(check.fault for check in checks if check.fault)]
    unlabelled = [check.case for check in checks if check.case.labels is None and check.fault is None]
    if faults and not skip_broken:
        told = "\n".join(f"  {fault.case}: {fault.reason}. {fault.sentence}" for fault in faults[:SHOWN])
        more = f"\n  and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise BrokenCase(
            f"{len(faults)} cases of {root} are broken:\n{told}{more}\n"
            f"Repair them (`memseg3d data check {root}` names all), or leave them out by --skip-broken."
        )
    for fault in faults:
        say(f"Left out {fault.case}: {fault.sentence}")
    for case in unlabelled:
        say(f"Left out {case.name}: {case.image.shown} has no labels, so nothing can be learnt from it.")
    usable = [check for check in checks if check.fault is None and check.case.labels is not None]
    if not usable:
        raise BrokenCase(f"{root} holds no case with labels that can be learnt from.")
    train, validation = _parted([check.case for check in usable], seed)
    labels = sorted({value for check in usable for value in check.labels})
    return TrainingSet(data, tuple(train), tuple(validation), tuple(labels))


def _parted(cases: list[Case], seed: int) -> tuple[list[Case], list[Case]]:
    told = {split: [case for case in cases if case.split is split] for split in Split}
    train = told[Split.TRAIN]
    if not train:
        patients = {case.patient_or_name for case in told[Split.UNKNOWN]}
        if not told[Split.UNKNOWN]:
            raise BrokenCase("No case is meant to train; `memseg3d data split` writes another split.")
        if len(patients) < 3:
            return told[Split.UNKNOWN], told[Split.VALIDATION] or told[Split.TEST]
        drawn = draw_splits(told[Split.UNKNOWN], seed, VALIDATION_SHARE, 0.0)
        train = [case for case in told[Split.UNKNOWN] if drawn.by_case[case.name] is Split.TRAIN]
        held = [case for case in told[Split.UNKNOWN] if drawn.by_case[case.name] is not Split.TRAIN]
        return train, told[Split.VALIDATION] or held
    return train, told[Split.VALIDATION] or told[Split.TEST]

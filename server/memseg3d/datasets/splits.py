"""Which cases train, validate and test: drawn by patient, the same for a seed, kept in a file."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from memseg3d.datasets.description import Case, DataSet, Split
from memseg3d.datasets.errors import WrongSplit, unwritable

_FORMAT = 1


@dataclass(frozen=True)
class Splits:
    """Split by case, patient by case, and the seed by which they were drawn."""

    by_case: Mapping[str, Split]
    patients: Mapping[str, str]
    seed: int

    def names(self, split: Split) -> list[str]:
        """The cases of a split, sorted."""
        return sorted(name for name, found in self.by_case.items() if found is split)

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises `UnwritableDataSet`."""
        words = {"format": _FORMAT, "seed": self.seed}
        lists = {str(split): self.names(split) for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)}
        text = json.dumps({**words, **lists, "patients": dict(sorted(self.patients.items()))}, indent=1) + "\n"
        unfinished = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(text, encoding="utf-8", newline="\n")
            unfinished.replace(path)
        except OSError as error:
            raise unwritable(path, error, "Name another file.") from error
        finally:
            unfinished.unlink(missing_ok=True)


def read_splits(path: Path) -> Splits:
    """Read a file of splits. Raises `WrongSplit` where it is damaged, or a case or patient stands in two splits."""
    try:
        words = json.loads(path.read_text(encoding="utf-8-sig"))
        lists = {split: _names(words.get(str(split), [])) for split in Split if split is not Split.UNKNOWN}
        patients = {str(case): str(patient) for case, patient in words.get("patients", {}).items()}
        seed = int(words.get("seed", 0))
    except (OSError, ValueError, RecursionError, AttributeError, TypeError) as error:
        raise WrongSplit(f"{path} is no file of splits that can be read; `memseg3d data split` writes one.") from error
    by_case: dict[str, Split] = {}
    by_patient: dict[str, Split] = {}
    for split, names in lists.items():
        for name in names:
            if by_case.setdefault(name, split) is not split:
                raise WrongSplit(f"{path} has case {name} in {by_case[name]} and in {split}; remove one.")
            patient = patients.get(name, name)
            if by_patient.setdefault(patient, split) is not split:
                raise WrongSplit(f"{path} has patient {patient} in {by_patient[patient]} and in {split}; keep one.")
    return Splits(by_case, patients, seed)


def _names(words: object) -> list[str]:
    """Of a list alone: a single name would be taken letter by letter."""
    if not isinstance(words, list):
        raise TypeError("no list")
    return [str(name) for name in words]


def draw_splits(cases: Iterable[Case], seed: int, validation: float, test: float) -> Splits:
    """Draw patients for validation and test; all others train. validation, test: shares of the patients, 0 to 1.

    Who is drawn follows from the seed and the patients' names alone: neither order nor machine matter, and of a set
    that grows most stay where they are. A share above zero draws one patient at least. Cases without labels are left
    out. Raises `WrongSplit` where nobody would be left to train.
    """
    labelled = [case for case in cases if case.labels is not None]
    patients = sorted({case.patient_or_name for case in labelled})
    ranked = sorted(patients, key=lambda patient: hashlib.sha256(f"{seed}\0{patient}".encode()).digest())
    numbers = [max(1, round(share * len(ranked))) if share > 0 else 0 for share in (test, validation)]
    if min(validation, test) < 0 or sum(numbers) >= len(ranked):
        raise WrongSplit(
            f"{len(ranked)} patients with labels cannot be split into {numbers[1]} for validation, {numbers[0]} for "
            "test and some to train; ask for smaller shares."
        )
    chosen = dict.fromkeys(ranked, Split.TRAIN)
    chosen |= dict.fromkeys(ranked[: numbers[0]], Split.TEST)
    chosen |= dict.fromkeys(ranked[numbers[0] : sum(numbers)], Split.VALIDATION)
    by_case = {case.name: chosen[case.patient_or_name] for case in labelled}
    return Splits(by_case, {case.name: case.patient_or_name for case in labelled}, seed)


def with_patients(cases: Iterable[Case], pattern: str) -> list[Case]:
    """The cases with the patient that the first group of `pattern` finds in their names.

    Raises `WrongSplit` where the pattern is none, or says nothing of a case.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise WrongSplit(f"{pattern!r} is no regular expression ({error}).") from error
    if compiled.groups < 1:
        raise WrongSplit(f"{pattern!r} should have a group, such as '^(patient\\d+)_', around what names the patient.")
    found = []
    for case in cases:
        match = compiled.search(case.name)
        if match is None or not match.group(1):
            raise WrongSplit(f"{pattern!r} finds no patient in the case name {case.name}; write it for every case.")
        found.append(replace(case, patient=match.group(1)))
    return found


def with_splits(data: DataSet, splits: Splits, told_by: Path) -> DataSet:
    """The cases that the file names, each with its split and patient. Raises `WrongSplit` where one is missing."""
    names = {case.name for case in data.cases}
    missing = sorted(set(splits.by_case) - names)
    if missing:
        raise WrongSplit(f"{told_by} names {missing[0]}, which {data.root} does not hold; is it of another set?")
    cases = [
        replace(case, split=splits.by_case[case.name], patient=splits.patients.get(case.name, case.patient))
        for case in data.cases
        if case.name in splits.by_case
    ]
    return replace(data, cases=tuple(cases))

"""Which cases of a data set are judged, found without a network."""

from __future__ import annotations

from collections.abc import Iterable

from memseg3d.datasets.conversion.selecting import read_labels
from memseg3d.datasets.description import Case, DataSet, Split
from memseg3d.datasets.errors import BrokenCase, DataSetError


def require_label(cases: Iterable[Case], label: int) -> None:
    """Raise `DataSetError` where none of these cases shows a label; files are read until one does."""
    if not any((read_labels(case) == label).any() for case in cases):
        raise DataSetError(f"None of the cases shows label {label}; choose another by --label.")


def chosen_cases(data: DataSet, names: Iterable[str] | None = None) -> tuple[Case, ...]:
    """The cases that test, or all where no list says which; those of `names` alone. Raises `DataSetError`."""
    if data.faults:
        raise BrokenCase(f"{data.root} has broken cases. {data.faults[0].sentence}")
    labelled = [case for case in data.cases if case.labels is not None]
    if names is not None:
        wanted = set(names)
        missing = sorted(wanted - {case.name for case in labelled})
        if missing:
            raise DataSetError(f"{data.root} has no labelled case {', '.join(missing)}.")
        return tuple(case for case in labelled if case.name in wanted)
    testing = [case for case in labelled if case.split in (Split.TEST, Split.VALIDATION)]
    found = tuple(testing or labelled)
    if not found:
        raise DataSetError(f"{data.root} has no case with labels to be judged by.")
    return found

"""Looks at every pair of a data set: can it be read, do labels lie on their image, is there anything in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memseg3d.datasets.description import Case, Fault, Reason
from memseg3d.datasets.sources.base import Header, Source, as_labels, slabs
from memseg3d.files import UnreadableFile
from memseg3d.files.geometry import ON_IMAGE

SPACING_TOLERANCE = 1e-2
"""Relative difference of spacings that says nothing: files keep them in single precision and rounded."""


@dataclass(frozen=True)
class CaseCheck:
    """What was found in one case. spacing: (k, j, i) mm, None where it is not kept. labels: voxels by value."""

    case: Case
    shape: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    labels: dict[int, int] = field(default_factory=dict)
    fault: Fault | None = None
    remarks: tuple[str, ...] = ()


def check_case(case: Case, is_quick: bool = False) -> CaseCheck:
    """Read a case and judge it; the first fault is told. is_quick: headers only. One case is in memory at a time."""
    try:
        headers = [source.header() for source in case.images]
        truth = case.labels.header() if case.labels else None
    except UnreadableFile as error:
        return CaseCheck(case, fault=Fault(case.name, Reason.UNREADABLE, str(error)))
    first = headers[0]
    spacing = first.geometry.spacing_kji if first.has_spacing else None
    found = CaseCheck(case, first.shape, spacing)
    others = list(zip(case.images[1:], headers[1:], strict=True))
    if case.labels and truth:
        others.append((case.labels, truth))
    for source, header in others:
        apart = grid_difference(first, header)
        if apart:
            reason, words = apart
            sentence = (
                f"{source.shown} {words}, as {case.image.shown} does; resample it onto the image, labels by nearest."
            )
            return _with(found, Fault(case.name, reason, sentence))
    if min(first.shape) == 0:
        return _with(found, Fault(case.name, Reason.EMPTY, f"{case.image.shown} holds no voxels; remove the case."))
    return found if is_quick else _look_inside(found)


def grid_difference(one: Header, other: Header) -> tuple[Reason, str] | None:
    """How the second grid differs from the first, as reason and the middle of a sentence; None where it does not."""
    if one.shape != other.shape:
        return Reason.OTHER_GRID, f"has {_by(other.shape)} voxels, not {_by(one.shape)}"
    first, second = one.geometry, other.geometry
    if one.has_spacing and other.has_spacing and not np.allclose(first.spacing, second.spacing, SPACING_TOLERANCE, 0):
        return (
            Reason.MIXED_SPACINGS,
            f"has voxels of {_mm(second.spacing_kji)} mm, not {_mm(first.spacing_kji)} mm",
        )
    if not (one.is_placed and other.is_placed):
        return None
    apart = first.apart(second)
    if apart <= ON_IMAGE:
        return None
    return (
        Reason.OTHER_GRID,
        f"does not lie at the same place (corners are {apart * min(first.spacing):.1f} mm apart)",
    )


def _look_inside(found: CaseCheck) -> CaseCheck:
    """Decode everything."""
    case = found.case
    remarks: list[str] = []
    try:
        for source in case.images:
            is_flat, not_finite = _grey_values(source)
            if is_flat:
                sentence = f"{source.shown} holds one value everywhere; export it again, or remove the case."
                return _with(found, Fault(case.name, Reason.EMPTY, sentence))
            if not_finite:
                remarks.append(f"{source.shown} holds {not_finite} values that are not finite.")
    except UnreadableFile as error:
        return _with(found, Fault(case.name, Reason.UNREADABLE, str(error)))
    if case.labels is None:
        return CaseCheck(case, found.shape, found.spacing, {}, None, tuple(remarks))
    try:
        stored = case.labels.read()
    except UnreadableFile as error:
        return _with(found, Fault(case.name, Reason.UNREADABLE, str(error)))
    try:
        counts = count_labels(as_labels(stored, case.labels.shown))
    except UnreadableFile as error:
        return _with(found, Fault(case.name, Reason.WRONG_LABELS, str(error)))
    return CaseCheck(case, found.shape, found.spacing, counts, _label_fault(case, counts), tuple(remarks))


def _label_fault(case: Case, counts: dict[int, int]) -> Fault | None:
    shown = case.labels.shown if case.labels else case.name
    if not counts:
        return Fault(case.name, Reason.EMPTY, f"{shown} holds background alone; draw the labels, or remove the case.")
    unnamed = sorted(set(counts) - set(case.label_names)) if case.label_names else []
    if unnamed:
        sentence = (
            f"{shown} holds label {unnamed[0]}, which its data set does not name; is it of another set or version?"
        )
        return Fault(case.name, Reason.WRONG_LABELS, sentence)
    return None


def _grey_values(source: Source) -> tuple[bool, int]:
    """Whether a volume holds one value alone, and how many of its values are not finite."""
    volume = source.read()
    low, high, not_finite = np.inf, -np.inf, volume.not_finite
    for slab in slabs(volume.voxels):
        if slab.dtype.kind == "f":
            finite = np.isfinite(slab)
            not_finite += int(finite.size - np.count_nonzero(finite))
            slab = slab[finite]
        if slab.size:
            low, high = min(low, float(slab.min())), max(high, float(slab.max()))
    return not low < high, not_finite


def count_labels(labels: NDArray[np.unsignedinteger]) -> dict[int, int]:
    """Voxels by label, background left out. labels: (k, j, i), uint8 or uint16."""
    counts: Counter[int] = Counter()
    for slab in slabs(labels):
        for value, number in enumerate(np.bincount(slab.ravel())):
            if value and number:
                counts[value] += int(number)
    return dict(sorted(counts.items()))


def _with(found: CaseCheck, fault: Fault) -> CaseCheck:
    return CaseCheck(found.case, found.shape, found.spacing, found.labels, fault, found.remarks)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def _mm(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{s:.3g}" for s in spacing)

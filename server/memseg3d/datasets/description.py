"""The one description of a case and of a data set, whatever layout they are kept in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from memseg3d.datasets.sources.base import Source


class Split(StrEnum):
    """What a case is for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    UNKNOWN = ""


@dataclass(frozen=True)
class Case:
    """One examination with its truth. Nothing is decoded before a source is read; descriptions travel to processes.

    name: unique in its data set. images: the channels of one grid, at least one. labels: integers on that grid, 0 being
    background; None where there is no truth. channels: what each image is ("CT", "t1ce"). modality: CT, MR, PET, US,
    microscopy, or empty where it is not known. slice_axis: axis of (k, j, i) along which the scanner's slices lie.
    patient: cases of one patient never fall into different splits. extras: further volumes on the grid by name, such as
    Mem3D's "scribbles".
    """

    name: str
    images: tuple[Source, ...]
    labels: Source | None
    modality: str = ""
    channels: tuple[str, ...] = ()
    split: Split = Split.UNKNOWN
    patient: str = ""
    slice_axis: int = 0
    label_names: Mapping[int, str] = field(default_factory=dict)
    extras: Mapping[str, Source] = field(default_factory=dict)

    @property
    def image(self) -> Source:
        """The first channel."""
        return self.images[0]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(k, j, i) mm, read from the first image's header alone. Raises `UnreadableFile`."""
        return self.image.header().geometry.spacing_kji

    @property
    def patient_or_name(self) -> str:
        """The patient where one is known, else the case's own name."""
        return self.patient or self.name


class Reason(StrEnum):
    """Why a pair of image and labels is broken."""

    UNREADABLE = "unreadable file"
    OTHER_GRID = "labels on another grid"
    MIXED_SPACINGS = "mixed spacings"
    EMPTY = "empty case"
    LABEL_MISSING = "a label missing"
    IMAGE_MISSING = "an image missing"
    WRONG_LABELS = "labels that are none"


@dataclass(frozen=True)
class Fault:
    """One broken case. sentence: names the file and says what to do."""

    case: str
    reason: Reason
    sentence: str


@dataclass(frozen=True)
class DataSet:
    """What lies under `root`, read as `layout`. why: by what the layout was told.

    faults: pairs that are known to be broken from the listing alone; they stand in no case. notes: sentences for the
    user, such as what the layout does not keep.
    """

    layout: str
    root: Path
    why: str
    cases: tuple[Case, ...]
    faults: tuple[Fault, ...] = ()
    label_names: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of_split(self, split: Split | str) -> tuple[Case, ...]:
        """The cases for one purpose."""
        return tuple(case for case in self.cases if case.split == Split(split))

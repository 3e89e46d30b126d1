"""What a running round tells its listener, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Phase = Literal["queued", "prompted", "propagating", "closed", "cancelled", "failed"]


@dataclass(frozen=True)
class Progress:
    """How far the round is: `done` of `total` steps; `total` may shrink when an object ends early.

    note: what it waits for, in words, where it does.
    """

    phase: Phase
    done: int
    total: int
    note: str = ""


@dataclass(frozen=True, eq=False)
class SliceDone:
    """A finished slice; it replaces the object's whole mask there.

    mask: (rows, columns) bool of the slice at `index` across `axis`. quality: predicted IoU in [0, 1].
    prompted: the slice carries prompts of this object.
    """

    object: int
    axis: int
    index: int
    mask: np.ndarray
    quality: float
    prompted: bool


@dataclass(frozen=True)
class ObjectSummary:
    """voxels: size of the object's labelmap; checksum: as in the wire protocol."""

    voxels: int
    checksum: str


@dataclass(frozen=True)
class Suggestion:
    """The slice where most pixels are expected to be wrong. quality: predicted, of its mask."""

    axis: int
    index: int
    quality: float


@dataclass(frozen=True)
class WeakPrompt:
    """Prompts that were too weak for their slice. kind: click, clicks, stroke or box; words: what to do, a sentence."""

    axis: int
    index: int
    kind: str
    words: str


@dataclass(frozen=True)
class ConsensusCost:
    """What the two other axes took. slices: decoded or tracked there; seconds: of these steps and the vote."""

    slices: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class RoundDone:
    """The last event of a round. seconds: wall time since `Session.begin`. consensus: None where there was none.

    weak: by object, where its prompts were too weak.
    """

    round_id: str
    status: Literal["closed", "cancelled"]
    objects: dict[int, ObjectSummary]
    suggested: dict[int, Suggestion]
    seconds: float
    consensus: ConsensusCost | None = None
    weak: Mapping[int, WeakPrompt] = field(default_factory=dict)


Event = Progress | SliceDone | RoundDone

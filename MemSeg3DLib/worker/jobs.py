"""What the main thread asks of the worker's thread, and what comes back: plain data through two queues."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.base.packing import Extent, volume_id, wire_voxels
from MemSeg3DLib.segments.voxel_limits import VoxelLimits


@dataclass(frozen=True, eq=False)
class VolumeSnapshot:
    """A copy of a volume's voxels (k, j, i) that may be read off the main thread. spacing: (k, j, i) in mm."""

    voxels: np.ndarray
    spacing: tuple[float, float, float]

    @cached_property
    def on_wire(self) -> np.ndarray:
        """The voxels as they travel. Computed once, on the worker's thread."""
        return wire_voxels(self.voxels)

    @cached_property
    def id(self) -> str:
        """Content id. Computed once, on the worker's thread."""
        return volume_id(self.on_wire, self.spacing)

    @property
    def id_if_known(self) -> str | None:
        """The content id, once it was computed."""
        known: str | None = self.__dict__.get("id")
        return known


@dataclass(frozen=True)
class PastRound:
    """A round that the worker's session should hold already. volume: content id; limits: as they travelled.

    full: objects that were computed anew from all their prompts. afresh: objects that a session with other options had
    computed before: what this round found took the place of all that was found there.
    """

    id: str
    session: str
    volume: str
    options: dict[str, Any]
    prompts: list[dict[str, Any]]
    removed: list[str]
    limits: dict[str, dict[str, Any]] = field(default_factory=dict, kw_only=True)
    full: list[int] = field(default_factory=list, kw_only=True)
    afresh: list[int] = field(default_factory=list, kw_only=True)


@dataclass(eq=False)
class RoundJob:
    """One round to run. past: every applied round, oldest first; those of the same volume and options are its base.

    session: the worker's session, once it is known. computing: session and round that the worker computes for this job,
    which may be an earlier round that it had lost. removed: ids that are none of the session's are dropped from it;
    full: objects that are none of the session's. carried: earlier prompts that a session with other options holds,
    afresh: the objects that it holds; they are new to this session. Only the worker's thread writes these six, and
    puts voxel_limits among the limits.
    """

    id: str
    volume: VolumeSnapshot
    options: dict[str, Any]
    prompts: list[dict[str, Any]]
    removed: list[str]
    past: list[PastRound]
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    full: list[int] = field(default_factory=list)
    voxel_limits: dict[str, VoxelLimits] = field(default_factory=dict)
    carried: list[dict[str, Any]] = field(default_factory=list)
    afresh: list[int] = field(default_factory=list)
    session: str | None = None
    computing: tuple[str, str] | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class AlignJob:
    """Bring a session to these rounds, after an undo or a redo. cancelled: a later job does it, and more."""

    session: str
    past: list[PastRound]
    cancelled: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Uploading:
    """Bytes of voxels sent so far."""

    run: str
    sent: int
    total: int


@dataclass(frozen=True)
class Queue:
    """Rounds of others on the same worker. ahead: whose step comes first; rounds: all that are computed, this one too.

    seconds: about how long until the first mask, or (once propagating) the end; None where the worker cannot tell.
    """

    ahead: int
    rounds: int
    seconds: float | None


@dataclass(frozen=True)
class Progress:
    """How far the worker is. phase: connecting, queued, prompted, propagating."""

    run: str
    phase: str
    done: int
    total: int
    queue: Queue | None = None


@dataclass(frozen=True)
class Waiting:
    """The worker refused for now and is asked again after so many seconds. reason: its own sentence."""

    run: str
    seconds: float
    reason: str


@dataclass(frozen=True)
class Told:
    """A sentence of the worker's that the user must see, such as what a damaged disk has lost."""

    run: str
    words: str


@dataclass(frozen=True, eq=False)
class SliceArrived:
    """The whole mask of one object on one slice, boolean (k, j, i) in `extent`; both None where it is empty now."""

    run: str
    label: int
    axis: int
    index: int
    extent: Extent | None
    mask: np.ndarray | None
    quality: float | None
    prompted: bool


@dataclass(frozen=True)
class SliceVoid:
    """A slice that arrived is none of this round's: it was computed anew, and that slice stays as it was before."""

    run: str
    label: int
    axis: int
    index: int


@dataclass(frozen=True)
class RoundClosed:
    """The worker closed the round. suggested: per label {"axis", "index", "quality"}.

    afresh: labels whose earlier slices, of a session with other options, count no more. consensus: what the vote of
    three axes cost, {"slices", "seconds"}; empty without one. weak: per label {"axis", "index", "prompt"} of prompts
    that were too weak for their slice.
    """

    run: str
    session: str
    volume: str
    suggested: dict[int, dict[str, Any]]
    seconds: float
    afresh: tuple[int, ...] = ()
    consensus: dict[str, Any] = field(default_factory=dict)
    weak: dict[int, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundCancelled:
    """The worker no longer computes the round."""

    run: str


@dataclass(frozen=True)
class RoundFailed:
    """The round cannot be finished."""

    run: str
    error: WorkerError


Event = Uploading | Progress | Waiting | Told | SliceArrived | SliceVoid | RoundClosed | RoundCancelled | RoundFailed

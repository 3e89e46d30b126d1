"""The words of a run: what is asked for, how far it is, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.prompts.prompts import Prompt
from MemSeg3DLib.prompts.slice_limits import Locked, SliceLimits
from MemSeg3DLib.segments.changes import SegmentChange
from MemSeg3DLib.segments.write_settings import WriteSettings


class RunState(Enum):
    """What the controller is doing."""

    IDLE = "idle"
    PREPARING = "preparing"
    """The volume is hashed, the worker is reached."""
    UPLOADING = "uploading"
    PROMPTED = "prompted"
    """The prompted slices are being decoded."""
    PROPAGATING = "propagating"


@dataclass(frozen=True, eq=False)
class RoundRequest:
    """One round: prompts for segments of a segmentation on a source volume, or earlier ones to remove, or both.

    editor_node: the vtkMRMLSegmentEditorNode whose masking and overwriting bound the run; or `settings` directly;
    without both, nothing of other segments is touched. options: session options of the wire protocol. removed: ids of
    earlier prompts that no longer count. save_state: called once before the first voxel changes, such as the editor's
    SaveStateForUndo. limits: by segment id, beyond which this round changes nothing. locked: slices never written.
    full: ids of segments that are computed anew from all their prompts. between: ids of segments that are filled
    between the outermost slices that show them, and not beyond.
    """

    volume_node: Any
    segmentation_node: Any
    prompts: Sequence[Prompt]
    editor_node: Any = None
    settings: WriteSettings | None = None
    options: dict[str, Any] = field(default_factory=dict)
    removed: Sequence[str] = ()
    save_state: Callable[[], None] | None = None
    limits: Mapping[str, SliceLimits] = field(default_factory=dict)
    locked: Locked = field(default_factory=dict)
    full: Sequence[str] = ()
    between: Sequence[str] = ()


@dataclass(frozen=True)
class RunProgress:
    """How far the present run is. done, total: slices, or bytes while uploading; total 0 where it is not known yet.

    words: what it waits for, where that is worth a sentence.
    """

    run: str
    state: RunState
    done: int
    total: int
    words: str = ""


@dataclass(frozen=True)
class SliceWritten:
    """A slice has reached the scene, or was left alone because the user edited it (`changed` False then, too)."""

    run: str
    segment_id: str
    axis: int
    index: int
    quality: float | None
    prompted: bool
    changed: bool
    pixels: int | None = None
    """Of the worker's mask; None where nobody counted them."""


@dataclass(frozen=True)
class Suggestion:
    """Where to look next: the slice where most pixels are expected to be wrong."""

    axis: int
    index: int
    quality: float | None


@dataclass(frozen=True)
class RoundResult:
    """A round that has closed. quality: by segment id, predicted quality by (axis, index) of this round's slices.

    warnings: sentences about what of it the segmentation could not take. hints: sentences about prompts that were too
    weak for their slice.
    """

    run: str
    changes: list[SegmentChange]
    quality: dict[str, dict[tuple[int, int], float]]
    suggested: dict[str, Suggestion]
    seconds: float
    warnings: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunStopped:
    """A run that was cancelled; reason: a sentence where nobody asked for it."""

    run: str
    reason: str | None = None


@dataclass(frozen=True)
class RunFailure:
    """A run that failed; the segments are as before it. run: empty for a step of the user's own, which holds."""

    run: str
    error: MemSeg3DError

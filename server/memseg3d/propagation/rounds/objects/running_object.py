"""What a running round asks of each of its objects: steps to take, and the slices that they have staged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from memseg3d.propagation.masks.soft_slices import SoftSlice
from memseg3d.propagation.memory.conditioning import Memories
from memseg3d.propagation.memory.stored_slices import StoredSlice
from memseg3d.propagation.prompts.events import SliceDone, WeakPrompt
from memseg3d.propagation.rounds.walks.fronts import FrontBatch
from memseg3d.propagation.sight.view import View


class RunningObject(Protocol):
    """One object in a running round (`ObjectRun`, `ConsensusRun`, `ObjectReplay`)."""

    number: int
    masks: dict[int, np.ndarray]
    qualities: dict[int, float | None]
    soft: dict[int, SoftSlice | None]
    batch: FrontBatch | None

    @property
    def view(self) -> View:
        """How its slices are seen."""
        ...

    @property
    def steps_left(self) -> int:
        """How many steps are left at most."""
        ...

    @property
    def weak(self) -> WeakPrompt | None:
        """Where its prompts were too weak; None where they were enough, or are not decoded yet."""
        ...

    def decode_prompted(self) -> Iterator[list[SliceDone]]:
        """Decode prompted slices, one a step."""
        ...

    def propagate(self) -> Iterator[list[SliceDone]]:
        """Track slices, one a step."""
        ...

    def stored(self) -> dict[int, StoredSlice | None]:
        """What the round changes of the stored conditioning slices; None where a slice is none any more."""
        ...

    def memories(self) -> Memories:
        """What the next round can make use of; it goes without as well."""
        ...

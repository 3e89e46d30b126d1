"""What a training run is asked to do; the command line, the card and the state all speak of these names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from memseg3d.training.clips.clips import ClipSettings
from memseg3d.training.clips.stream import StreamSettings

Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True)
class TrainSettings:
    """A training run. Steps are optimiser steps; the same settings give the same run on one machine.

    Of a run by several processes `batch` and `accumulate` are each process's own.
    """

    steps: int = 6000
    single_steps: int = 1200
    """Steps of stage one (single slices)."""
    teacher_steps: int = 1500
    """Steps after stage one within which memories of the truth give way to the network's own."""
    decay_steps: int = 1500
    """Last steps, over which the learning rate falls to nothing; constant before."""
    batch: int = 6
    accumulate: int = 1
    """Batches whose gradients make one step."""
    single_batch: int = 16
    """Slices of a batch where single slices are trained."""
    learning_rate: float = 8e-4
    warmup: int = 200
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    average_decay: float = 0.998
    precision: Precision = "bf16"
    seed: int = 1
    threads: int = 2
    workers: int = 1
    """Processes that make volumes."""
    cache_volumes: int = 0
    """Volumes whose clips are kept on disk and shown again, changed; 0: every volume is new."""
    states: bool = False
    """Also learn from states of sessions in the run's folder (`memseg3d train states`): not exact when resumed."""
    light_state: bool = False
    """Keep the state without the optimiser's moments and in half precision: a quarter of the size, not exact."""
    tensorboard: bool = True
    save_minutes: float = 4.0
    validate_every: int = 500
    clips: ClipSettings = field(default_factory=ClipSettings)

    @property
    def stream(self) -> StreamSettings:
        """What the order of the clips depends on."""
        return StreamSettings(self.seed, self.batch, self.clips.clips_per_volume, self.workers)

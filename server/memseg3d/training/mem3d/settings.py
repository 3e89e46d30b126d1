"""What a training run of Mem3D's networks depends on; defaults are those of the release's option file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from memseg3d.network.mem3d import MemoryShape, Sight
from memseg3d.network.mem3d.shapes import Kind

Mode = Literal["recurrent", "mask", "threshold"]
"""What is remembered of a slice: its prediction; the truth; the prediction where its IoU is high, else the truth."""
Loss = Literal["both", "ce", "iou"]
Precision = Literal["fp32", "bf16"]
Norms = Literal["auto", "frozen", "batch"]
"""auto: frozen as in the release where weights were taken over, else by batches: fresh norms know no statistics."""


@dataclass(frozen=True)
class MemorySettings:
    """The memory network's stages. Names as in the option file of the release."""

    input_size: int = 512
    sampled_frames: int = 3
    max_skip: int = 3
    largest_skip: int = 5
    epochs_per_increment: int = 20
    samples_per_video: int = 3
    epochs: int = 400
    train_batch: int = 2
    learning_rate: float = 1e-5
    gamma: float = 0.1
    momentum: tuple[float, float] = (0.8, 0.9)
    solver: Literal["adam", "sgd"] = "adam"
    weight_decay: float = 5e-4
    iter_size: int = 1
    milestone: tuple[int, ...] = ()
    loss: Loss = "both"
    mode: Mode = "recurrent"
    iou_threshold: float = 0.65
    norms: Norms = "auto"
    label: int = 1
    seed: int = 1
    crop: bool = False
    precision: Precision = "fp32"
    average_decay: float = 0.0
    """Of a moving average of the weights, which then is what is written; 0: the weights themselves, as published."""

    def __post_init__(self) -> None:
        if self.sampled_frames < 2:
            raise ValueError("A clip needs 2 slices at least: one to remember, one to segment.")
        if min(self.epochs, self.train_batch, self.samples_per_video, self.iter_size, self.max_skip) < 1:
            raise ValueError("Epochs, batch, samples a video, iterations and skip are 1 at least.")

    @property
    def sight(self) -> Sight:
        """What the network is shown."""
        return Sight(self.input_size, self.crop)

    def skip_of(self, epoch: int) -> int:
        """The largest distance of two slices of a clip."""
        return min(self.max_skip + epoch // self.epochs_per_increment, max(self.largest_skip, self.max_skip))

    def rate_of(self, epoch: int) -> float:
        """The learning rate, times `gamma` from each milestone on."""
        return self.learning_rate * float(self.gamma ** sum(epoch >= each for each in self.milestone))


@dataclass(frozen=True)
class InteractionSettings:
    """One interaction network. batch: the release's is not known but for the hybrid network's five."""

    kind: Kind = "dextr"
    input_size: int = 512
    epochs: int = 200
    batch: int = 5
    learning_rate: float = 1e-8
    heads: float = 10.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    norms: Norms = "batch"
    label: int = 1
    seed: int = 1
    crop: bool = False
    precision: Precision = "fp32"
    average_decay: float = 0.0
    """Of a moving average of the weights, which then is what is written; 0: the weights themselves, as published."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1:
            raise ValueError("Epochs and batch are 1 at least.")

    @property
    def sight(self) -> Sight:
        """What the network is shown."""
        return Sight(self.input_size, self.crop)


@dataclass(frozen=True)
class Widths:
    """Sizes of what is built anew."""

    memory: MemoryShape = field(default_factory=MemoryShape)
    interaction_base: int = 64
    interaction_blocks: tuple[int, int, int, int] = (3, 4, 23, 3)

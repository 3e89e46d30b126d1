"""What a training run of an expert is asked to do; defaults are those of DualClickMed's release where it tells them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["global", "local"]
Schedule = Literal["milestones", "cosine"]


@dataclass(frozen=True)
class ExpertSettings:
    """steps: of the optimiser. learning_rate: of the image encoder, and of all of a local expert; other_rate: of a
    global one's prompt encoder and mask decoder. milestones: shares of the run from which the rate is `gamma` times as
    high. rounds: clicks after the first answer. candidates: clicks that are tried at once; the first one goes on.
    average: decay of the averaged weights. side: of a local expert's patch. per_volume: samples of a synthetic volume.
    mended: without the release's mistakes.
    """

    kind: Kind = "global"
    steps: int = 10_000
    batch: int = 4
    accumulate: int = 8
    learning_rate: float = 8e-4
    other_rate: float = 8e-5
    weight_decay: float = 1e-4
    warm_up: int = 50
    schedule: Schedule = "milestones"
    milestones: tuple[float, ...] = (98 / 144, 132 / 144)
    gamma: float = 0.1
    rounds: int = 5
    candidates: int = 6
    average: float = 0.999
    side: int = 128
    per_volume: int = 24
    augment: bool = True
    mended: bool = True
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.accumulate, self.rounds, self.candidates, self.per_volume) < 1:
            raise ValueError("Steps, batch, batches of a step, clicks, candidates and samples a volume are 1 at least.")
        if not 0 <= self.average < 1:
            raise ValueError("The decay of averaged weights lies from 0 to below 1.")

    def factor(self, step: int) -> float:
        """What the learning rates are multiplied by at a step."""
        warm = min(1.0, (step + 1) / max(1, self.warm_up))
        done = step / max(1, self.steps)
        if self.schedule == "cosine":
            return warm * 0.5 * (1 + math.cos(math.pi * done))
        return warm * float(self.gamma ** sum(done >= each for each in self.milestones))

"""Trains the decoder for boxes that leave room, of an embedded network whose other weights stay as they are.

One decoder cannot learn both: what it learns about room it loses on tight boxes. This one sees first boxes alone, most
of them loose, through features that are not learnt, so a step takes an eighth of one of a whole run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from memseg3d.datasets.training_data import training_cases
from memseg3d.network.nano import NanoNetwork, from_state
from memseg3d.network.nano.config import BOX_WEIGHTS
from memseg3d.network.nano.network import ROOMY
from memseg3d.training.clips.clips import Clip, ClipSettings, TrainingClips
from memseg3d.training.clips.stream import ClipStream, Position, StreamSettings
from memseg3d.training.clips.takes import Takes
from memseg3d.training.nano.rollout import ClipRun
from memseg3d.training.nano.weights import save_weights, weights_of_file
from memseg3d.training.running.logs import RunLog, Told
from memseg3d.training.running.states import Average, save_state, taken_up

CLIPS = ClipSettings(length=2, slices=3, clips_per_volume=10, shapes=0.3, pictures=0.4, roomy=True)
VOLUMES, LOG_EVERY = 100_000_000, 50
NO_RULE = (*(0.0,) * (BOX_WEIGHTS - 1), -30.0)
"""Takes no box for loose, until a rule is fitted (`Testing/benchmarks/fit_boxes.py`)."""


@dataclass(frozen=True)
class RoomySettings:
    """Of a run; the same settings give the same run on one machine."""

    steps: int = 2600
    decay_steps: int = 900
    """Last steps, over which the learning rate falls to nothing."""
    batch: int = 16
    learning_rate: float = 5e-4
    warmup: int = 100
    average_decay: float = 0.998
    seed: int = 1
    workers: int = 0
    save_minutes: float = 3.0


class RoomyTrainer:
    """Trains into `folder`, and resumes there; call `run()`. Raises ValueError where `weights` are none of a run, and
    CannotTrain where the folder's state is of another run.
    """

    def __init__(self, folder: Path, weights: Path, settings: RoomySettings, data: Path | None = None) -> None:
        """weights: those that the decoder is for. data: as `Trainer` has it."""
        self.folder, self.settings = folder, settings
        folder.mkdir(parents=True, exist_ok=True)
        self._tensors, self._facts, self._config = weights_of_file(weights)
        torch.manual_seed(settings.seed)
        kept = {name: each for name, each in self._tensors.items() if not name.startswith(ROOMY)}
        self.network: NanoNetwork = from_state(replace(self._config, boxes=None).to_json(), kept)
        self.network.requires_grad_(False)
        self.decoder = self.network.decoder
        begun = {name.removeprefix(ROOMY): each for name, each in self._tensors.items() if name.startswith(ROOMY)}
        if begun:
            self.decoder.load_state_dict({name: each.float() for name, each in begun.items()})
        self.decoder.requires_grad_(True)
        self._optimiser = torch.optim.AdamW(
            self.decoder.parameters(), settings.learning_rate, weight_decay=0.01, betas=(0.9, 0.98)
        )
        self.average = Average(self.decoder, settings.average_decay)
        self.step, self._position = 0, Position(0, 0)
        if (folder / "state.pt").is_file():
            taken_up(folder / "state.pt", "a decoder for boxes", self._differing, self._take)
        cut = replace(CLIPS, image_size=self._config.image_size)
        clips = TrainingClips(settings.seed, VOLUMES, cut, training_cases(data) if data else [])
        stream = StreamSettings(settings.seed, settings.batch, CLIPS.clips_per_volume, settings.workers)
        self._stream = ClipStream(clips, stream, self._position)

    @property
    def file(self) -> Path:
        """What the run writes: all weights, with this decoder, and no rule yet that says when it is meant."""
        return self.folder / f"{self._config.name}.safetensors"

    def run(self, say: Callable[[str], None] = lambda _: None) -> None:
        """Train to `settings.steps`, saving as it goes. say: told how far it is, in a sentence."""
        log, batches, told = RunLog(self.folder, True, False), iter(self._stream), Told()
        losses: list[float] = []
        dice: list[float] = []
        saved = time.monotonic()
        while self.step < self.settings.steps:
            self._learn(batches, losses, dice)
            at_end = self.step == self.settings.steps
            if told.is_due(at_end):
                say(f"Step {self.step} of {self.settings.steps}, loss {np.mean(losses[-LOG_EVERY:]):.4f}.")
            if self.step % LOG_EVERY == 0 or at_end:
                log.write({"step": self.step, "loss": float(np.mean(losses)), "dice": float(np.mean(dice))})
                losses.clear()
                dice.clear()
            if at_end or time.monotonic() - saved > 60 * self.settings.save_minutes:
                self._save()
                saved = time.monotonic()
        log.close()

    def _learn(self, batches: Iterator[list[Clip]], losses: list[float], dice: list[float]) -> None:
        takes = Takes.of(next(batches), torch.device("cpu"))
        chance = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.step)
        outcome = ClipRun(self.network, takes, chance).first_prompts()
        loss = outcome.mean_loss()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.decoder.parameters(), 1.0)
        s = self.settings
        falling = min(1.0, (s.steps - self.step) / max(1, s.decay_steps))
        for group in self._optimiser.param_groups:
            group["lr"] = s.learning_rate * min(1.0, (self.step + 1) / s.warmup) * falling
        self._optimiser.step()
        self.step += 1
        self.average.update(self.decoder, self.step)
        losses.append(float(loss.detach()))
        dice += outcome.dice["prompted"]

    def _save(self) -> None:
        state = {
            "decoder": self.decoder.state_dict(),
            "average": self.average.weights,
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "position": list(self._stream.position),
            "settings": self._told,
        }
        save_state(self.folder / "state.pt", state)
        tensors = {name: each for name, each in self._tensors.items() if not name.startswith(ROOMY)}
        tensors |= {ROOMY + name: each for name, each in self.average.weights.items()}
        facts = self._facts | {"roomy": {"steps": self.step, "settings": asdict(self.settings)}}
        save_weights(self.file, replace(self._config, boxes=NO_RULE), tensors, facts)

    @property
    def _told(self) -> dict[str, Any]:
        return {name: getattr(self.settings, name) for name in ("batch", "seed")}

    def _differing(self, settings: dict[str, Any]) -> list[str]:
        return [name for name, value in self._told.items() if settings.get(name) != value]

    def _take(self, state: dict[str, Any]) -> None:
        self.decoder.load_state_dict(state["decoder"])
        self.average.take(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self._position = state["step"], Position(*state["position"])

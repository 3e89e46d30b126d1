"""A run of an expert from where its folder left it to the end: state, log, averaged weights, and the model served."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from memseg3d.experts.sight import METADATA
from memseg3d.training.experts.samples import Sample
from memseg3d.training.experts.settings import ExpertSettings
from memseg3d.training.experts.stages import Stage
from memseg3d.training.experts.targets import Targets
from memseg3d.training.running.logs import RunLog, Told, first_alone
from memseg3d.training.running.parallel import Processes
from memseg3d.training.running.preflight import CannotTrain, on_disk, require_room
from memseg3d.training.running.provenance import made_by, write_card
from memseg3d.training.running.settings import differing, words_of
from memseg3d.training.running.states import Average, save_state, taken_up

STATE = "state.pt"
JUDGED = 8
"""Held-out targets that a look at them takes."""
MOST_TRIES = 100
"""So many targets in a row may leave nothing to learn from."""


class ExpertRun:
    """Trains `stage` on `targets`. A state in `folder` is gone on from, to the step.

    Samples, clicks and their order follow from seed and step alone. Raises CannotTrain where the state is of another
    run, the loss is no number any more, or the disk is full.
    """

    def __init__(
        self,
        folder: Path,
        stage: Stage,
        targets: Targets,
        settings: ExpertSettings,
        device: torch.device,
        held_out: Targets | None = None,
        say: Callable[[str], None] = lambda _: None,
        tensorboard: bool = True,
    ) -> None:
        self.folder, self.stage, self.settings = folder, stage, settings
        self.processes = Processes(device)
        stage.module.to(self.processes.device).train()
        self._targets, self._held_out, self._tensorboard = targets, held_out, tensorboard
        self._say = first_alone(say)
        size = sum(value.numel() * value.element_size() for value in stage.module.state_dict().values())
        require_room(folder, 6 * size)
        self._optimiser = torch.optim.AdamW(stage.groups(), weight_decay=settings.weight_decay)
        self._rates = [float(group["lr"]) for group in self._optimiser.param_groups]
        self._average = Average(stage.module, settings.average)
        self.step = 0
        self.seconds = 0.0
        if (folder / STATE).is_file():
            self._resume()

    @property
    def model(self) -> Path:
        """The file that the worker serves."""
        return self.folder / f"{self.settings.kind}-expert.safetensors"

    def run(
        self,
        facts: dict[str, Any],
        save_minutes: float = 10.0,
        judge_every: int = 500,
        stop_after: int | None = None,
    ) -> Path:
        """Train to the last step, or for `stop_after` steps of this call; returns the model. facts: for its card."""
        first = self.processes.is_first
        log = RunLog(self.folder, writes=first, curves=self._tensorboard)
        taken, saved, told_last = 0, time.monotonic(), Told()
        try:
            while self.step < self.settings.steps and taken != stop_after:
                began = time.perf_counter()
                line = self._one_step()
                self.seconds += time.perf_counter() - began
                taken += 1
                is_last = self.step == self.settings.steps or taken == stop_after
                words = f"Step {self.step} of {self.settings.steps}: loss {line['loss']:.4f}"
                looks = first and self._held_out is not None and (self.step % judge_every == 0 or is_last)
                if looks and self._held_out is not None:
                    line["held_out"] = self._judged(self._held_out)
                    shown = ", ".join(f"{name} {value:.3f}" for name, value in line["held_out"].items())
                    words += f", held out {shown}"
                if told_last.is_due(looks or is_last):
                    left = self.seconds / self.step * (self.settings.steps - self.step) / 60
                    self._say(f"{words}; {left:.0f} min left.")
                log.write(line)
                if is_last or self.processes.decided(time.monotonic() - saved > 60 * save_minutes):
                    self._save(facts)
                    saved = time.monotonic()
        finally:
            log.close()
        if first and not self.model.is_file():
            self._save(facts)
        return self.model

    def _one_step(self) -> dict[str, Any]:
        settings, stage = self.settings, self.stage
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * settings.factor(self.step)
        self._optimiser.zero_grad(set_to_none=True)
        losses, dices = [], []
        for micro in range(settings.accumulate):
            place = (self.step * settings.accumulate + micro) * self.processes.world + self.processes.rank
            samples = self._samples(self._targets, place * settings.batch, settings.batch, settings.augment)
            for loss in stage.losses(samples, np.random.default_rng([settings.seed, 61, place])):
                (loss if stage.steps_each else loss / settings.accumulate).backward()
                losses.append(float(loss.detach()))
                if stage.steps_each:
                    self._update()
            dices.append(stage.dices)
        if not stage.steps_each:
            self._update()
        self.step += 1
        self._average.update(stage.module, self.step)
        mean = float(np.mean(losses)) if stage.steps_each else float(np.sum(losses)) / settings.accumulate
        if not math.isfinite(mean):
            raise CannotTrain(
                f"The loss is {mean} at step {self.step}: lower the learning rate and begin from the last state in "
                f"{self.folder}."
            )
        told = {f"dice_{turn}": float(value) for turn, value in enumerate(np.mean(dices, axis=0))}
        return {"step": self.step, "loss": mean, **told}

    def _update(self) -> None:
        self.processes.average_gradients(self.stage.module.parameters())
        torch.nn.utils.clip_grad_norm_(self.stage.module.parameters(), 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    def _samples(self, targets: Targets, first: int, count: int, augment: bool) -> list[Sample]:
        found: list[Sample] = []
        for index in range(first, first + count):
            rng = np.random.default_rng([self.settings.seed, 67, index])
            # a target that a cut leaves nothing of gives way to another one, always the same
            tried = (self.stage.sample(targets.target(index + n * 7919), rng, augment) for n in range(MOST_TRIES))
            sample = next((each for each in tried if each is not None), None)
            if sample is None:
                raise CannotTrain(
                    f"{MOST_TRIES} targets in a row leave nothing to learn from: their masks are too thin for the "
                    "network's grid. Look at them by `memseg3d data check`."
                )
            found.append(sample)
        return found

    @torch.no_grad()
    def _judged(self, held_out: Targets) -> dict[str, float]:
        """Mean Dice of the averaged weights on held-out targets, by round."""
        module = self.stage.module
        own = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        module.load_state_dict(self._average.weights)
        module.eval()
        dices = []
        try:
            for index in range(JUDGED):
                samples = self._samples(held_out, index, 1, augment=False)
                for _ in self.stage.losses(samples, np.random.default_rng([71, index])):
                    pass
                dices.append(self.stage.dices)
        finally:
            module.load_state_dict(own)
            module.train()
        return {f"dice_{turn}": float(value) for turn, value in enumerate(np.mean(dices, axis=0))}

    def _resume(self) -> None:
        def take(kept: dict[str, Any]) -> None:
            self.stage.module.load_state_dict(kept["module"])
            self._optimiser.load_state_dict(kept["optimiser"])
            self._average.take(kept["average"])
            self.step, self.seconds = int(kept["step"]), float(kept["seconds"])

        taken_up(self.folder / STATE, "this expert", lambda kept: differing(self.settings, kept, "steps"), take)

    def _save(self, facts: dict[str, Any]) -> None:
        if not self.processes.is_first:
            return
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "settings": words_of(self.settings, "steps"),
            "module": self.stage.module.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "average": self._average.weights,
        }
        with on_disk(self.folder / STATE):
            save_state(self.folder / STATE, state)
        with on_disk(self.model):
            self._write_model(facts)

    def _write_model(self, facts: dict[str, Any]) -> None:
        """Averaged weights in half precision, and their card; each whole or not at all."""
        weights = {
            name: value.half().contiguous().cpu() if value.is_floating_point() else value.cpu()
            for name, value in self._average.weights.items()
        }
        made = {name: value for name, value in made_by().items() if name != "sources_sha256"}
        training = {
            **facts,
            "steps": self.step,
            "seconds": round(self.seconds, 1),
            "settings": {**words_of(self.settings, "steps"), "steps": self.settings.steps},
            "made_by": made,
        }
        words = {METADATA: self.stage.sight.to_json(), "memseg3d.training": json.dumps(training, sort_keys=True)}
        partial = self.model.with_suffix(".partial")
        save_file(weights, partial, metadata=words)
        os.replace(partial, self.model)
        method = "SAM-Med3D" if self.settings.kind == "global" else "VISTA3D"
        parameters = sum(value.numel() for value in weights.values())
        write_card(self.model, method=method, parameters=parameters, training=training)


def at_least(settings: ExpertSettings, epochs: int, count: int, world: int) -> ExpertSettings:
    """The settings with so many epochs of `count` targets as steps."""
    return replace(settings, steps=max(1, epochs * count // (settings.batch * settings.accumulate * world)))

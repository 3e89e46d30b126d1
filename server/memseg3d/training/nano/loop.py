"""The training loop of the embedded network: single slices first, then clips with memory and corrections."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from memseg3d.datasets.training_data import manifest_sha256, training_cases
from memseg3d.network.nano import NanoConfig, NanoNetwork, with_more_maps
from memseg3d.network.nano.network import FIRST_LAYER
from memseg3d.training.clips.cache import CachedClips
from memseg3d.training.clips.clips import Clip, TrainingClips
from memseg3d.training.clips.session_states import clips_of_states
from memseg3d.training.clips.stream import ClipStream, Position, starting_positions
from memseg3d.training.clips.takes import Takes
from memseg3d.training.nano.rollout import ClipRun, Outcome
from memseg3d.training.nano.settings import TrainSettings
from memseg3d.training.nano.weights import save_weights, state_of_weights
from memseg3d.training.running.logs import RunLog, Told
from memseg3d.training.running.parallel import Processes
from memseg3d.training.running.preflight import on_disk
from memseg3d.training.running.provenance import made_by
from memseg3d.training.running.states import Average, halved, load_state, save_state, widened
from memseg3d.training.synthetic.hold_out import SEED as HOLD_OUT_SEED

__all__ = ["HOLD_OUT_SEED", "TrainSettings", "Trainer"]

Kind = Literal["single", "clip", "correction", "session"]
VOLUMES = 100_000_000
HOLD_OUT_VOLUMES = 10
"""Synthetic volumes that validation looks at."""
LEAST_TEACHER = 0.03
"""Share of memories of the truth to the end: much of it, and nothing learns to come back from its own drift."""
LOG_EVERY, LOOK_AT_CLOCK_EVERY = 50, 5
STEPS: tuple[Kind, ...] = ("single", "clip", "correction", "single")
"""What the steps after stage one do in turn. Single slices stay in: memory must not be learnt at their expense."""
STEPS_WITH_STATES: tuple[Kind, ...] = ("single", "session", "clip", "session", "correction", "single")
STATES = "states"
"""Folder of a run in which states of sessions lie."""


class Trainer:
    """Trains a `NanoNetwork` into `folder`; call `run()`. Resumes from `folder`/state.pt where there is one.

    Else it begins where the run that wrote `weights` had come to (ValueError where these do not fit), or from nothing.
    Under torchrun every process makes one of these; the first writes.
    """

    def __init__(
        self,
        folder: Path,
        config: NanoConfig,
        settings: TrainSettings,
        device: str = "cpu",
        weights: Path | None = None,
        data: Path | None = None,
    ) -> None:
        """data: folder of real cases that may be learnt from (`memseg3d.datasets.training_data`); None: generators make
        every volume.
        """
        self.folder, self.settings = folder, settings
        self.cases = training_cases(data) if data is not None else []
        self._data_sha256 = manifest_sha256(data) if data is not None else None
        folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(settings.threads)
        self.processes = Processes(torch.device(device))
        self.device = self.processes.device
        torch.manual_seed(settings.seed)
        self.network = NanoNetwork(config).to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.98)
        )
        self.average = Average(self.network, settings.average_decay)
        self.step, self.seconds, self.warm_from = 0, 0.0, 0
        self.history: list[dict[str, Any]] = []
        saved: list[Position] = []
        same = True
        state: dict[str, Any] = {}
        if (folder / "state.pt").is_file():
            state = load_state(folder / "state.pt")
        elif weights is not None:
            state = state_of_weights(weights, config)
        if state:
            self._resume(state)
            # States of older versions tell only how many volumes they had taken.
            saved = [Position(*each) for each in state.get("positions", [(state.get("volumes", 0), 0)])]
            same = state.get("group") == settings.stream.group
        self.positions = starting_positions(saved, settings.stream, self.processes.world, same)
        self._begin_chapter()

    def _resume(self, state: dict[str, Any]) -> None:
        config = self.network.config
        self.network.load_state_dict(widened(with_more_maps(state["network"], config)))
        average = widened(with_more_maps(state["average"], config))
        self.average.weights = {name: tensor.to(self.device) for name, tensor in average.items()}
        self.step, self.seconds = state["step"], state["seconds"]
        self.history = state.get("history", [])
        grown = state["network"][FIRST_LAYER].shape != self.network.state_dict()[FIRST_LAYER].shape
        if "optimiser" in state and not grown:
            self.optimiser.load_state_dict(state["optimiser"])
            self.warm_from = state.get("warm_from", 0)
        else:
            # A light state has no moments, those of a smaller network do not fit: the rate rises again meanwhile.
            self.warm_from = self.step

    def _begin_chapter(self) -> None:
        """Note from which step on which settings and code are in use, where they differ from those before."""
        words = {
            "settings": asdict(self.settings),
            "made_by": made_by(),
            "device": self.device.type,
            "processes": self.processes.world,
            "cases": len(self.cases),
            "data_manifest_sha256": self._data_sha256,
        }
        if not self.history or {k: v for k, v in self.history[-1].items() if k != "from_step"} != words:
            self.history.append({"from_step": self.step, **words})

    @property
    def volumes(self) -> int:
        """Synthetic volumes that the run has gone through, about."""
        return max(position.volume for position in self.positions)

    def _save(self, stream: ClipStream) -> None:
        self.positions = [Position(*each) for each in self.processes.gathered(tuple(stream.position))]
        if not self.processes.is_first:
            return
        state = {
            "network": self.network.state_dict(),
            "average": self.average.weights,
            "step": self.step,
            "positions": [list(position) for position in self.positions],
            "group": self.settings.stream.group,
            "volumes": self.volumes,
            "seconds": self.seconds,
            "warm_from": self.warm_from,
            "history": self.history,
        }
        if self.settings.light_state:
            state |= {"network": halved(state["network"]), "average": halved(state["average"])}
        else:
            state["optimiser"] = self.optimiser.state_dict()
        with on_disk(self.folder / "state.pt"):
            save_state(self.folder / "state.pt", state)
        facts = {
            "steps": self.step,
            "hours": round(self.seconds / 3600, 3),
            "volumes": self.volumes,
            "settings": asdict(self.settings),
            "history": self.history,
        }
        weights = self.folder / f"{self.network.config.name}.safetensors"
        with on_disk(weights):
            save_weights(weights, self.network.config, self.average.weights, facts)

    def _rate(self) -> float:
        s = self.settings
        falling = min(1.0, max(0.0, (s.steps - self.step) / max(1, s.decay_steps)))
        return s.learning_rate * min(1.0, (self.step - self.warm_from + 1) / s.warmup) * falling

    def _stream(self) -> ClipStream:
        s = self.settings
        clips = TrainingClips(s.seed, VOLUMES, s.clips, self.cases)
        data: Dataset[list[Clip]] = clips
        if s.cache_volumes:
            data = CachedClips(clips, self.folder / "clips", s.cache_volumes)
        return ClipStream(data, s.stream, self.positions[self.processes.rank], self.processes.world)

    def _generator(self, part: int) -> torch.Generator:
        """Chance for one part of one step, the same whenever that step is taken."""
        words = [self.settings.seed, self.step, self.processes.rank, part]
        seed = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))
        return torch.Generator(self.device).manual_seed(seed)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Tensors are made where the network is, in the precision of the settings."""
        bf16 = self.settings.precision == "bf16"
        with torch.device(self.device), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            yield

    @property
    def _kind(self) -> Kind:
        """What this step does."""
        if self.step < self.settings.single_steps:
            return "single"
        steps = STEPS_WITH_STATES if self.settings.states else STEPS
        return steps[self.step % len(steps)]

    def _taken(self, batches: Iterator[list[Clip]]) -> list[Clip]:
        """The clips of a step: a step on single slices takes as many batches as make it up, one on sessions none."""
        if self._kind == "session":
            rng = np.random.default_rng([self.settings.seed, 31, self.step, self.processes.rank])
            found = clips_of_states(rng, self.folder / STATES, self.settings.batch, self.settings.clips)
            if found:
                return found
        clips = next(batches)
        if self._kind == "single":
            while len(clips) < self.settings.single_batch:
                clips = clips + next(batches)
            clips = clips[: self.settings.single_batch]
        return clips

    def _outcome(self, clips: list[Clip], generator: torch.Generator) -> Outcome:
        taught = 0.5 * (1 - max(0, self.step - self.settings.single_steps) / self.settings.teacher_steps)
        takes = Takes.of(clips, self.device)
        with self._computing():
            run = ClipRun(self.network, takes, generator, max(0.0, taught) + LEAST_TEACHER)
            if self._kind == "session":
                # Until there are states to learn from, such a step corrects spoiled masks.
                return run.session() if takes.before.shape[1] else run.correction()
            return {"single": run.single, "clip": run.clip, "correction": run.correction}[self._kind]()

    def _learn(self, batches: Iterator[list[Clip]], dice: dict[str, list[float]]) -> tuple[float, float]:
        """One step of the optimiser. Returns its mean loss, and the seconds that it waited for clips."""
        s = self.settings
        total, waited = 0.0, 0.0
        self.optimiser.zero_grad(set_to_none=True)
        for part in range(s.accumulate):
            started = time.monotonic()
            clips = self._taken(batches)
            waited += time.monotonic() - started
            outcome = self._outcome(clips, self._generator(part))
            loss = outcome.mean_loss() / s.accumulate
            loss.backward()
            total += float(loss.detach())
            for kind, values in outcome.dice.items():
                dice[kind] += values
        self.processes.average_gradients(self.network.parameters())
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), s.clip_norm)
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        if torch.isfinite(norm):
            self.optimiser.step()
        self.step += 1
        self.average.update(self.network, self.step)
        return total, waited

    def run(self, say: Callable[[str], None] = lambda _: None) -> None:
        """Train to `settings.steps`, saving as it goes. say: told how far it is, in a sentence."""
        s, begun_at, told_last = self.settings, self.step, Told()
        log = RunLog(self.folder, self.processes.is_first, s.tensorboard)
        stream = self._stream()
        batches = iter(stream)
        started = saved = time.monotonic()
        dice: dict[str, list[float]] = defaultdict(list)
        losses: list[float] = []
        waited = since = 0.0
        while self.step < s.steps:
            loss, idle = self._learn(batches, dice)
            losses.append(loss)
            now = time.monotonic()
            self.seconds, since, waited = self.seconds + now - started, since + now - started, waited + idle
            started = now
            at_end = self.step == s.steps
            if self.processes.is_first and told_last.is_due(at_end):
                say(f"Step {self.step} of {s.steps}, loss {loss:.4f}, {self.seconds / 3600:.2f} h.")
            # The first step of a run too: one that is stopped early has told something.
            if self.step % LOG_EVERY == 0 or self.step == begun_at + 1 or at_end:
                line = {"hours": self.seconds / 3600, "rate": self._rate(), "loss": float(np.mean(losses))}
                line |= {"seconds a step": since / len(losses), "share waited for clips": waited / max(since, 1e-9)}
                line |= {kind: float(np.mean(values)) for kind, values in sorted(dice.items()) if values}
                log.write({"step": self.step, **line})
                dice.clear()
                losses.clear()
                waited = since = 0.0
            if self.step % s.validate_every == 0:
                log.write({"step": self.step, "validation": self.validate()})
                started = time.monotonic()
            if self.step % LOOK_AT_CLOCK_EVERY == 0 and self.processes.decided(now - saved > 60 * s.save_minutes):
                self._save(stream)
                saved = now
        self._save(stream)
        log.write({"step": self.step, "validation": self.validate(), "finished": True})
        log.close()
        self.processes.leave()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Dice of the averaged weights on clips of the fixed hold-out, by kind of decode; by the first process only."""
        if not self.processes.is_first:
            return {}
        network = NanoNetwork(self.network.config).to(self.device).eval()
        network.load_state_dict(self.average.weights)
        generator = torch.Generator(self.device).manual_seed(HOLD_OUT_SEED)
        data = TrainingClips(HOLD_OUT_SEED, HOLD_OUT_VOLUMES, self.settings.clips)
        dice: dict[str, list[float]] = defaultdict(list)
        for index in range(HOLD_OUT_VOLUMES):
            clips = data[index]
            if not clips:
                continue
            takes = Takes.of(clips, self.device)
            with self._computing():
                outcome = ClipRun(network, takes, generator).clip()
            for kind, values in outcome.dice.items():
                dice[kind] += values
        return {kind: round(float(np.mean(values)), 4) for kind, values in sorted(dice.items())}

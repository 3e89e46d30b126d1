"""The training loop of the embedded network: single slices first, then clips with memory and corrections."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from memseg3d.network.nano import NanoConfig, NanoNetwork
from memseg3d.training.checkpoints import Average, load_state, save_state, save_weights
from memseg3d.training.clips import Clip, ClipSettings, SyntheticClips
from memseg3d.training.rollout import ClipRun, Outcome

HOLD_OUT_SEED = 987_654_321
"""Seed of the fixed synthetic hold-out; training seeds must differ."""


@dataclass(frozen=True)
class TrainSettings:
    """A training run. Steps are optimiser steps; the same settings give the same run on one machine."""

    steps: int = 6000
    single_steps: int = 1200
    """Steps of stage one (single slices)."""
    decay_steps: int = 1500
    """Last steps, over which the learning rate falls to nothing; constant before."""
    batch: int = 6
    single_batch: int = 16
    learning_rate: float = 8e-4
    warmup: int = 200
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    average_decay: float = 0.998
    seed: int = 1
    threads: int = 2
    workers: int = 1
    save_minutes: float = 4.0
    validate_every: int = 500
    clips: ClipSettings = field(default_factory=ClipSettings)


def _collate(items: list[list[Clip]]) -> list[Clip]:
    return [clip for item in items for clip in item]


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)


def _stack(clips: list[Clip], device: torch.device) -> tuple[Tensor, Tensor]:
    images = torch.stack([clip.images for clip in clips]).to(device).float()
    truth = torch.stack([clip.masks for clip in clips]).to(device)[:, :, None].float()
    return images, truth


class Trainer:
    """Trains a `NanoNetwork` into `folder`; call `run()`. Resumes from `folder`/state.pt where there is one."""

    def __init__(self, folder: Path, config: NanoConfig, settings: TrainSettings, device: str = "cpu") -> None:
        self.folder, self.settings, self.device = folder, settings, torch.device(device)
        folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        self.network = NanoNetwork(config).to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.98)
        )
        self.average = Average(self.network, settings.average_decay)
        self.step, self.volumes, self.seconds = 0, 0, 0.0
        if (folder / "state.pt").is_file():
            self._resume(load_state(folder / "state.pt"))

    def _resume(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.weights = state["average"]
        self.step, self.volumes, self.seconds = state["step"], state["volumes"], state["seconds"]

    def _save(self) -> None:
        save_state(
            self.folder / "state.pt",
            {
                "network": self.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "average": self.average.weights,
                "step": self.step,
                "volumes": self.volumes,
                "seconds": self.seconds,
            },
        )
        settings = asdict(self.settings)
        facts = {
            "steps": self.step,
            "hours": round(self.seconds / 3600, 3),
            "volumes": self.volumes,
            "settings": settings,
        }
        save_weights(
            self.folder / f"{self.network.config.name}.safetensors", self.network.config, self.average.weights, facts
        )

    def _rate(self) -> float:
        s = self.settings
        falling = min(1.0, max(0.0, (s.steps - self.step) / max(1, s.decay_steps)))
        return s.learning_rate * min(1.0, (self.step + 1) / s.warmup) * falling

    def _batches(self) -> Generator[list[Clip], None, None]:
        """Shuffled batches of clips; a batch mixes volumes through a small pool."""
        s = self.settings
        data = SyntheticClips(s.seed, 100_000_000, s.clips)
        loader = DataLoader(
            data,
            batch_size=1,
            sampler=range(self.volumes, len(data)),
            num_workers=s.workers,
            collate_fn=_collate,
            worker_init_fn=_start_worker,
            multiprocessing_context="spawn" if s.workers else None,
            prefetch_factor=8 if s.workers else None,
        )
        rng = np.random.default_rng([s.seed, self.volumes])
        pool: list[Clip] = []
        for clips in loader:
            self.volumes += 1
            pool += clips
            while len(pool) >= 12 * s.batch:
                chosen = set(rng.choice(len(pool), s.batch, replace=False).tolist())
                yield [pool[i] for i in sorted(chosen)]
                pool = [clip for i, clip in enumerate(pool) if i not in chosen]

    def _outcome(self, clips: list[Clip], generator: torch.Generator) -> Outcome:
        s = self.settings
        images, truth = _stack(clips, self.device)
        # Stage two keeps single slices in: memory must not be learnt at the prompted slice's expense.
        single = self.step < s.single_steps or self.step % 4 == 0
        if single:
            images, truth = images.flatten(0, 1)[:, None], truth.flatten(0, 1)[:, None]
            shown = truth.flatten(1).sum(1) >= 30
            keep = torch.nonzero(shown)[:, 0]
            keep = keep[torch.randperm(len(keep), generator=generator)[: s.single_batch]]
            images, truth = images[keep], truth[keep]
        teacher = 0.5 * max(0.0, 1 - (self.step - s.single_steps) / 1500) + 0.1
        with torch.autocast(self.device.type, torch.bfloat16):
            run = ClipRun(self.network, images, truth, generator, teacher)
            if single:
                return run.single()
            return run.correction() if self.step % 4 == 2 else run.clip()

    def run(self) -> None:
        """Train to `settings.steps`, saving as it goes."""
        s = self.settings
        log = (self.folder / "log.jsonl").open("a", encoding="utf-8")
        started = saved = time.monotonic()
        dice: dict[str, list[float]] = defaultdict(list)
        losses: list[float] = []
        batches = self._batches()
        for clips in batches:
            if self.step >= s.steps:
                break
            generator = torch.Generator().manual_seed(s.seed * 1_000_003 + self.step)
            for group in self.optimiser.param_groups:
                group["lr"] = self._rate()
            outcome = self._outcome(clips, generator)
            loss = outcome.mean_loss()
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), s.clip_norm)
            if torch.isfinite(norm):
                self.optimiser.step()
            self.step += 1
            self.average.update(self.network, self.step)
            losses.append(float(loss.detach()))
            for kind, values in outcome.dice.items():
                dice[kind] += values
            now = time.monotonic()
            self.seconds += now - started
            started = now
            if self.step % 50 == 0:
                line = {"step": self.step, "hours": self.seconds / 3600, "rate": self._rate(), "loss": np.mean(losses)}
                line |= {kind: float(np.mean(values)) for kind, values in sorted(dice.items()) if values}
                self._write(log, line)
                dice.clear()
                losses.clear()
            if self.step % s.validate_every == 0:
                self._write(log, {"step": self.step, "validation": self.validate()})
                started = time.monotonic()
            if now - saved > 60 * s.save_minutes:
                self._save()
                saved = now
        batches.close()
        self._save()
        self._write(log, {"step": self.step, "validation": self.validate(), "finished": True})
        log.close()

    @staticmethod
    def _write(log: Any, line: dict[str, Any]) -> None:
        log.write(json.dumps(line) + "\n")
        log.flush()

    @torch.no_grad()
    def validate(self, volumes: int = 10) -> dict[str, float]:
        """Dice of the averaged weights on the fixed synthetic hold-out, by kind of decode."""
        network = NanoNetwork(self.network.config).to(self.device).eval()
        network.load_state_dict(self.average.weights)
        generator = torch.Generator().manual_seed(HOLD_OUT_SEED)
        data = SyntheticClips(HOLD_OUT_SEED, volumes, self.settings.clips)
        dice: dict[str, list[float]] = defaultdict(list)
        for index in range(volumes):
            clips = data[index]
            if not clips:
                continue
            images, truth = _stack(clips, self.device)
            with torch.autocast(self.device.type, torch.bfloat16):
                outcome = ClipRun(network, images, truth, generator).clip()
            for kind, values in outcome.dice.items():
                dice[kind] += values
        return {kind: round(float(np.mean(values)), 4) for kind, values in sorted(dice.items())}

"""The run of SAM 2 or MemRefine on a set of cases: checked first, logged, saved whole, resumed to the step."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from memseg3d.datasets.voxel_cache import VoxelCache
from memseg3d.network.memrefine.files import save_network, with_epoch
from memseg3d.network.sam2 import Sam2Network
from memseg3d.training.cases.clips import CaseClips, Clip
from memseg3d.training.cases.sets import TrainingSet
from memseg3d.training.running.checkpointing import checkpoint_parts
from memseg3d.training.running.logs import RunLog, Told
from memseg3d.training.running.parallel import Processes
from memseg3d.training.running.preflight import CannotTrain, on_disk, require_room, try_step
from memseg3d.training.running.provenance import made_by
from memseg3d.training.running.states import Average, load_state, save_state
from memseg3d.training.sam2.recipes import recipe_of
from memseg3d.training.sam2.settings import Sam2Settings
from memseg3d.training.sam2.validation import validate

STATE, LATEST, BEST = "state.pt", "latest.safetensors", "best.safetensors"
LOG_EVERY = 10
STATES_AT_ONCE = 3
"""A state, the one that replaces it, and weights."""
HINT = (
    "give fewer slices (--video-length), fewer objects (--most-objects), a smaller --image-size, --checkpointing, or "
    "--precision bf16."
)


class Sam2Trainer:
    """Trains `network` into `folder`; call `run()`. Resumes from `folder`/state.pt where there is one.

    Under torchrun every process makes one of these; each sees its share of the clips, and the first writes.
    Raises CannotTrain where the folder holds another run, or one step does not fit.
    """

    def __init__(
        self,
        folder: Path,
        network: Sam2Network,
        data: TrainingSet,
        settings: Sam2Settings,
        device: str = "cpu",
        cache: Path | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """cache: folder of decoded volumes; by default in `folder`."""
        self.folder, self.settings, self.data, self._say = folder, settings, data, say
        folder.mkdir(parents=True, exist_ok=True)
        self.processes = Processes(torch.device(device))
        self.device = self.processes.device
        self.network = network.to(self.device).train()
        self.recipe = recipe_of(self.network, settings, self.device)
        if settings.checkpointing:
            checkpoint_parts([*self.network.memory_attention.layers, self.network.memory_encoder])
            checkpoint_parts(self.network.image_encoder.trunk.blocks)
        self.clips = CaseClips(VoxelCache(cache or folder / "cache"), network.info.image_size)
        self.average = Average(self.network, settings.average_decay) if settings.average_decay else None
        self.steps = settings.epochs * self.steps_of_epoch
        self.step, self.seconds, self.best = 0, 0.0, -1.0
        self.history: list[dict[str, Any]] = []
        self._resume()
        self._check()

    @property
    def steps_of_epoch(self) -> int:
        """Clips of one process in one epoch: one of every case, the last ones shared out anew."""
        return -(-len(self.data.train) // self.processes.world)

    @property
    def epoch(self) -> int:
        """Epochs begun before the next step, from 0."""
        return self.step // self.steps_of_epoch

    def run(self, until: int | None = None) -> None:
        """Train up to step `until`, or to the end. Raises CannotTrain where the disk is full; the last state stands."""
        log = RunLog(self.folder, self.processes.is_first, self.settings.tensorboard)
        last = self.steps if until is None else min(until, self.steps)
        saved = began = time.monotonic()
        begun_at, told_last = self.step, Told()
        try:
            while self.step < last:
                started = time.monotonic()
                told = self._learn()
                self.seconds += time.monotonic() - started
                at_end = self.step == last
                left = (time.monotonic() - began) / (self.step - begun_at) * (self.steps - self.step)
                # The first step of a run too: one that is stopped early has told something.
                marked = self.step == begun_at + 1 or at_end or self.step % self.steps_of_epoch == 0
                if marked or self.step % LOG_EVERY == 0:
                    log.write({"step": self.step, "epoch": self.epoch, "hours_left": round(left / 3600, 3), **told})
                if self.processes.is_first and told_last.is_due(at_end):
                    self._say(f"Step {self.step} of {self.steps}, loss {told.get('loss', 0):.4f}, {_span(left)} left.")
                self._validate(log)
                due = time.monotonic() - saved > 60 * self.settings.save_minutes
                if self.processes.decided(due) or at_end:
                    self.save()
                    saved = time.monotonic()
        finally:
            log.close()

    def save(self) -> None:
        """Write the state and the latest weights, each whole or not at all."""
        if not self.processes.is_first:
            return
        state = {
            "method": self.settings.method,
            "settings": asdict(self.settings),
            "network": self.network.state_dict(),
            "average": self.average.weights if self.average else {},
            "optimisers": [optimiser.state_dict() for optimiser in self.recipe.optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "cases": [case.name for case in self.data.train],
            "history": self.history,
        }
        with on_disk(self.folder / STATE):
            save_state(self.folder / STATE, state)
        self._write(LATEST)

    def weights(self) -> dict[str, torch.Tensor]:
        """The averaged weights where an average is kept, else the network's."""
        return self.average.weights if self.average else dict(self.network.state_dict())

    def facts(self) -> dict[str, Any]:
        """How the weights were made, for their file and card."""
        return {
            "method": self.settings.method,
            "steps": self.step,
            "epochs": round(self.step / self.steps_of_epoch, 2),
            "hours": round(self.seconds / 3600, 4),
            "settings": asdict(self.settings),
            "cases": len(self.data.train),
            "validation_cases": len(self.data.validation),
            "layout": self.data.data.layout,
            "best_dice": self.best if self.best >= 0 else None,
            "history": self.history,
        }

    def _learn(self) -> dict[str, float]:
        with_epoch(self.network, self.epoch)
        generator = self._generator(self.step)
        clip = self._clip(self.step, generator)
        progress = self.step / max(1, self.steps)
        told = self.recipe.step(clip, generator, progress, self.epoch, self.processes.average_gradients)
        self.step += 1
        if self.average is not None:
            self.average.update(self.network, self.step)
        return told

    def _generator(self, step: int) -> torch.Generator:
        """Every step has a seed of its own, so that a resumed run draws what an unbroken one would."""
        return torch.Generator().manual_seed((self.settings.seed * 1_000_003 + step) * 4096 + self.processes.rank)

    def _clip(self, step: int, generator: torch.Generator) -> Clip:
        epoch, place = divmod(step, self.steps_of_epoch)
        order = torch.randperm(
            len(self.data.train), generator=torch.Generator().manual_seed(self.settings.seed * 7919 + epoch)
        ).tolist()
        case = self.data.train[order[(place * self.processes.world + self.processes.rank) % len(order)]]
        return self.clips.draw(case, self.settings.video_length, generator)

    def _validate(self, log: RunLog) -> None:
        """After every `val_freq` epochs and at the end; the best weights are kept."""
        ended, rest = divmod(self.step, self.steps_of_epoch)
        due = rest == 0 and (ended % self.settings.val_freq == 0 or self.step == self.steps)
        if not due or not self.data.validation or not self.processes.is_first:
            return
        own = {name: tensor.clone() for name, tensor in self.network.state_dict().items()} if self.average else {}
        if self.average:
            self.network.load_state_dict(self.average.weights)
        found = validate(self.network, self.data.validation, self.clips, self.settings, self.device)
        if own:
            self.network.load_state_dict(own)
        log.write({"step": self.step, "epoch": ended, "validation": found})
        if found.get("dice", -1.0) > self.best:
            self.best = found["dice"]
            self._write(BEST)

    def _write(self, name: str) -> None:
        path = self.folder / name
        with on_disk(path):
            save_network(path, self.network, self.weights(), self.facts())

    def _resume(self) -> None:
        path = self.folder / STATE
        words = {"settings": asdict(self.settings), "made_by": made_by(), "processes": self.processes.world}
        if path.is_file():
            try:
                state = load_state(path)
            except Exception as error:  # whatever torch's reader meets in a file that is cut off or another's
                raise CannotTrain(f"{path} is no state of a run, or is cut off: move it away to begin anew.") from error
            if state.get("method") != self.settings.method:
                raise CannotTrain(
                    f"{path} is of another method ({state.get('method', 'the embedded network')}), not "
                    f"{self.settings.method}: name another folder."
                )
            if state["cases"] != [case.name for case in self.data.train]:
                raise CannotTrain(f"{path} was trained on other cases than {self.data.data.root}: name another folder.")
            try:
                self.network.load_state_dict(state["network"])
                for optimiser, kept in zip(self.recipe.optimisers, state["optimisers"], strict=True):
                    optimiser.load_state_dict(kept)
            except (RuntimeError, ValueError) as error:
                raise CannotTrain(f"{path} holds a network of other sizes or modules: name another folder.") from error
            if self.average is not None and state["average"]:
                self.average.take(state["average"])
            self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]
            self.history = state["history"]
        if not self.history or {k: v for k, v in self.history[-1].items() if k != "from_step"} != words:
            self.history.append({"from_step": self.step, **words})

    def _check(self) -> None:
        """Look at the disk and try one step, before hours are spent."""
        learning = sum(p.numel() for p in self.network.parameters() if p.requires_grad)
        size = sum(t.nbytes for t in self.network.state_dict().values())
        require_room(self.folder, STATES_AT_ONCE * (2 * size + 8 * learning))
        if self.step >= self.steps:
            return
        generator = self._generator(-1)
        longest = max(self.data.train, key=self._extent)
        clip = self.clips.draw(longest, self.settings.video_length, generator)
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        try_step(lambda: self.recipe.trial(clip, generator), HINT)
        for name, buffer in self.network.named_buffers():
            buffer.copy_(buffers[name])
        if not all(torch.isfinite(p).all() for p in self.network.parameters()):
            raise CannotTrain("The weights to begin from hold values that are no numbers: take another checkpoint.")

    def _extent(self, case: Any) -> int:
        low, high = self.clips.labelled_range(case)
        return high - low


def write_published(trainer: Sam2Trainer, folder: Path) -> None:
    """best_model.pth and latest_epoch.pth under the names and keys of MemRefine's release."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, Any]] = {"latest_epoch.pth": {"model": trainer.weights()}}
    log = trainer.folder / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    judged = [line for line in lines if line.get("validation")]
    if judged and (trainer.folder / BEST).is_file():
        from memseg3d.network.checkpoint_files import read_checkpoint

        best = max(judged, key=lambda line: line["validation"]["dice"])
        tensors = read_checkpoint(trainer.folder / BEST).tensors
        told = {key: float(best["validation"][key]) for key in ("dice", "iou")}
        files["best_model.pth"] = {"model": tensors, "epoch": best["epoch"], **told}
    for name, content in files.items():
        partial = folder / f"{name}.partial"
        with on_disk(folder / name):
            torch.save(content, partial)
            os.replace(partial, folder / name)


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"

"""The stages of Mem3D's training: what is learnt, from which batch, by which optimiser."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from memseg3d.network.mem3d.interaction import InteractionNetwork
from memseg3d.network.mem3d.memory_network import MemoryNetwork
from memseg3d.network.mem3d.resnet import freeze_norms
from memseg3d.training.mem3d.clips import CaseClips, SyntheticClips
from memseg3d.training.mem3d.losses import interaction_loss, mask_loss, quality_loss, soft_iou
from memseg3d.training.mem3d.objects import Objects, Shown
from memseg3d.training.mem3d.samples import sample
from memseg3d.training.mem3d.settings import InteractionSettings, MemorySettings
from memseg3d.training.running.parallel import Processes

Slice = tuple[Tensor, Tensor, Tensor | None]
"""Image, mask and drawn strokes, (1, S, S) each; None where nothing was drawn."""


class Stage(Protocol):
    """One thing that is learnt, epoch by epoch."""

    name: str
    optimiser: torch.optim.Optimizer
    processes: Processes

    @property
    def module(self) -> nn.Module:
        """What is learnt."""
        ...

    @property
    def settings(self) -> MemorySettings | InteractionSettings:
        """What the run depends on."""
        ...

    @property
    def steps(self) -> int:
        """Optimiser steps of an epoch, which all processes take together."""
        ...

    def step(self, epoch: int, number: int) -> dict[str, float]:
        """Take one step; returns what it came to, `loss` among it."""
        ...

    def validate(self) -> dict[str, float]:
        """The same on cases that are not learnt from; empty without any."""
        ...


class MemoryStage:
    """The memory network; with a quality head that is learnt along with it."""

    def __init__(
        self,
        name: str,
        module: MemoryNetwork,
        clips: CaseClips | SyntheticClips,
        held_out: CaseClips | None,
        settings: MemorySettings,
        frozen: bool,
        processes: Processes,
    ) -> None:
        """frozen: norms keep the statistics that they came with."""
        self.name, self.module, self.settings = name, module.to(processes.device), settings
        self.processes, self._device = processes, processes.device
        self._clips, self._held_out, self._frozen = clips, held_out, frozen
        parameters = list(module.parameters())
        if settings.solver == "adam":
            self.optimiser: torch.optim.Optimizer = torch.optim.Adam(
                parameters, settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay
            )
        else:
            self.optimiser = torch.optim.SGD(
                parameters, settings.learning_rate, settings.momentum[1], weight_decay=settings.weight_decay
            )

    @property
    def steps(self) -> int:
        """Optimiser steps of an epoch."""
        return -(-self._clips.batches // (self.settings.iter_size * self.processes.world))

    def step(self, epoch: int, number: int) -> dict[str, float]:
        """`iter_size` batches make a step."""
        self.module.train()
        if self._frozen:
            freeze_norms(self.module)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate_of(epoch)
        self.optimiser.zero_grad(set_to_none=True)
        told: dict[str, float] = {}
        size, processes = self.settings.iter_size, self.processes
        for part in range(size):
            place = (number * processes.world + processes.rank) * size + part
            images, masks = self._clips.batch(epoch, place, self.settings.skip_of(epoch))
            with _computing(self.settings, self._device):
                losses = self._losses(images.to(self._device), masks.to(self._device))
            (losses["loss"] / size).backward()
            told = {name: told.get(name, 0.0) + float(each.detach()) / size for name, each in losses.items()}
        processes.average_gradients(self.module.parameters())
        self.optimiser.step()
        return told

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Means over an epoch of the held-out cases' clips, at a skip of 2 as the release has it."""
        if self._held_out is None:
            return {}
        self.module.eval()
        found = [
            self._losses(*(each.to(self._device) for each in self._held_out.batch(0, number, 2)))
            for number in range(self._held_out.batches)
        ]
        return {name: float(np.mean([float(each[name]) for each in found])) for name in found[0]}

    def _losses(self, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """The first slice is remembered with its truth, the others are found in turn. (B, T, 1, S, S) each."""
        network, settings = self.module, self.settings
        assert isinstance(network, MemoryNetwork)
        known = [network.memorise(images[:, 0], masks[:, 0])]
        losses, ious, judged = [], [], []
        for at in range(1, images.shape[1]):
            seen = network.see(images[:, at])
            keys, values = zip(*known, strict=True)
            logits, found = network.segment(seen, keys, values)
            logits = logits.float()
            losses.append(mask_loss(logits, masks[:, at], settings.loss))
            reached = soft_iou(logits.detach().sigmoid(), masks[:, at])
            ious.append(reached.mean())
            quality = network.judged(seen, found, logits)
            if quality is not None:
                judged.append(quality_loss(quality.float().sigmoid(), reached))
            if at + 1 < images.shape[1]:
                known.append(network.memorise(images[:, at], self._remembered(logits, masks[:, at], reached)))
        loss = torch.stack(losses).mean()
        told = {"mask": loss, "iou": torch.stack(ious).mean()}
        if judged:
            told["quality"] = torch.stack(judged).mean()
            loss = loss + told["quality"]
        return {"loss": loss, **told}

    def _remembered(self, logits: Tensor, truth: Tensor, reached: Tensor) -> Tensor:
        if self.settings.mode == "mask":
            return truth
        if self.settings.mode == "recurrent":
            return logits.sigmoid()
        good = (reached > self.settings.iou_threshold)[:, :, None, None]
        return torch.where(good, logits.sigmoid(), truth)


class CaseSlices:
    """Every slice that shows the object, of cases of a set."""

    def __init__(self, objects: Objects, cases: list[Shown], batch: int, seed: int | None) -> None:
        """seed: of the order, which is another in every epoch; None: as they lie."""
        self._objects, self._batch, self._seed = objects, batch, seed
        self._places = [(shown, index) for shown in cases for index in shown.slices]

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return -(-len(self._places) // self._batch)

    def batch(self, epoch: int, number: int) -> list[Slice]:
        """A batch; the last one begins anew where it is short."""
        order = np.arange(len(self._places))
        if self._seed is not None:
            np.random.default_rng([self._seed, epoch]).shuffle(order)
        found: list[Slice] = []
        for at in range(number * self._batch, (number + 1) * self._batch):
            case, index = self._places[int(order[at % len(order)])]
            found.append((*self._objects.slice(case, index), self._objects.scribble(case, index)))
        return found


class SyntheticSlices:
    """Prompted slices of generated volumes."""

    def __init__(self, clips: SyntheticClips) -> None:
        self._clips = clips

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return self._clips.batches

    def batch(self, epoch: int, number: int) -> list[Slice]:
        """A batch, without scribbles."""
        return [(image, mask, None) for image, mask in self._clips.prompted(epoch, number)]


class InteractionStage:
    """One interaction network on single slices."""

    def __init__(
        self,
        module: InteractionNetwork,
        slices: CaseSlices | SyntheticSlices,
        held_out: CaseSlices | None,
        settings: InteractionSettings,
        frozen: bool,
        processes: Processes,
    ) -> None:
        self.name = f"interaction-{settings.kind}"
        self.module, self.settings = module.to(processes.device), settings
        self.processes, self._device = processes, processes.device
        self._slices, self._held_out, self._frozen = slices, held_out, frozen
        backbone = list(module.backbone.parameters())
        own = {id(each) for each in backbone}
        heads = [each for each in module.parameters() if id(each) not in own]
        rate = settings.learning_rate
        self.optimiser: torch.optim.Optimizer = torch.optim.SGD(
            [{"params": backbone, "lr": rate}, {"params": heads, "lr": settings.heads * rate}],
            lr=rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )

    @property
    def steps(self) -> int:
        """Every slice that shows the object once an epoch."""
        return -(-self._slices.batches // self.processes.world)

    def step(self, epoch: int, number: int) -> dict[str, float]:
        """One batch."""
        self.module.train()
        if self._frozen:
            freeze_norms(self.module)
        self.optimiser.zero_grad(set_to_none=True)
        place = number * self.processes.world + self.processes.rank
        rng = np.random.default_rng([self.settings.seed, epoch, place])
        with _computing(self.settings, self._device):
            told = self._losses(self._slices.batch(epoch, place), rng)
        told["loss"].backward()
        self.processes.average_gradients(self.module.parameters())
        self.optimiser.step()
        return {name: float(each.detach()) for name, each in told.items()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Means over batches of the held-out slices, the same every time."""
        if self._held_out is None:
            return {}
        self.module.eval()
        batches = range(self._held_out.batches)
        found = [self._losses(self._held_out.batch(0, n), np.random.default_rng([0, n])) for n in batches]
        return {name: float(np.mean([float(each[name]) for each in found])) for name in found[0]}

    def _losses(self, slices: list[Slice], rng: np.random.Generator) -> dict[str, Tensor]:
        kind, size = self.settings.kind, self.settings.input_size
        samples = [sample(rng, kind, image, mask, drawn, size) for image, mask, drawn in slices]
        truth = torch.stack([each for _, each in samples]).to(self._device)
        outputs = [each.float() for each in self.module(torch.stack([shown for shown, _ in samples]).to(self._device))]
        iou = soft_iou(outputs[-1].detach().sigmoid(), truth).mean()
        return {"loss": interaction_loss(outputs, truth), "iou": iou}


def _computing(settings: MemorySettings | InteractionSettings, device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16")


def optimiser_state(stage: Stage) -> dict[str, Any]:
    """Of the stage's optimiser, in plain values and tensors."""
    return dict(stage.optimiser.state_dict())

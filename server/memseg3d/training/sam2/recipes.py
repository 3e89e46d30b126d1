"""How a step teaches: MemRefine's two groups with their published schedules, and plain fine-tuning of all of SAM 2."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from memseg3d.network.sam2 import Sam2Network
from memseg3d.training.cases.clips import Clip
from memseg3d.training.sam2.losses import mask_loss, score_loss
from memseg3d.training.sam2.rollout import Answers, ClipRollout, chosen_logits, objects_of
from memseg3d.training.sam2.settings import Sam2Settings

Averaged = Callable[[Iterable[nn.Parameter]], None]
"""Makes gradients those of all processes."""

MEMORY_PARTS = ("obj_ptr_proj", "memory_encoder", "memory_attention", "mask_downsample")
DECODER_RATE = 1e-4
MEMORY_RATES = ((0, 1e-8), (70, 1e-5), (85, 2e-5))
"""From which epoch on the memory's parts learn how fast, in MemRefine's release."""
FREE_PARTS = ("sam_mask_decoder", "cpgf_pre", "cpgf_post", "lgff", "lgff_gate")


class Recipe(Protocol):
    """optimisers: their state is kept with the run's."""

    optimisers: list[torch.optim.Optimizer]

    def step(
        self, clip: Clip, generator: torch.Generator, progress: float, epoch: int, average: Averaged
    ) -> dict[str, float]:
        """Learn from one clip; progress: share of the run that is done. Returns what to log."""
        ...

    def trial(self, clip: Clip, generator: torch.Generator) -> None:
        """Compute all that a step computes, and change nothing."""
        ...


def memory_rate(epoch: int) -> float:
    """Learning rate of the memory's parts in MemRefine's release."""
    return next(rate for first, rate in reversed(MEMORY_RATES) if epoch >= first)


class _Clips:
    """What both recipes do with a clip."""

    def __init__(self, network: Sam2Network, settings: Sam2Settings, device: torch.device) -> None:
        self.network, self.settings, self.device = network, settings, device
        self.learns_encoder = False
        self.optimisers: list[torch.optim.Optimizer] = []

    def _answers(self, clip: Clip, generator: torch.Generator, prompted: list[int]) -> tuple[Answers, Tensor] | None:
        objects = objects_of(clip, prompted)
        most = self.settings.most_objects
        if most and len(objects) > most:
            places = torch.randperm(len(objects), generator=generator)[:most].tolist()
            objects = sorted(objects[place] for place in places)
        if not objects:
            return None
        rollout = ClipRollout(self.network, clip, objects, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            answers = rollout.run(prompted, self.settings.prompt, generator, self.learns_encoder)
        return answers, rollout.truth[:, :, None]

    def trial(self, clip: Clip, generator: torch.Generator) -> None:
        """Forwards and back; nothing steps."""
        self._backward(clip, generator)
        self._zero()

    def _backward(self, clip: Clip, generator: torch.Generator) -> dict[str, float]:
        """The recipe's losses of a clip, gone back."""
        raise NotImplementedError

    def _zero(self) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)


class MemRefineRecipe(_Clips):
    """Decoder and MemRefine's modules learn from prompted and other slices, the memory's parts from the others alone.

    Image and prompt encoder stay. With `prompt_freq` 1 there are no other slices, and memory does not learn.
    """

    def __init__(self, network: Sam2Network, settings: Sam2Settings, device: torch.device) -> None:
        super().__init__(network, settings, device)
        network.requires_grad_(False)
        self._decoder = _parameters(network, FREE_PARTS)
        self._decoder += [each for name, each in network.named_parameters() if name == "lgff_start"]
        self._memory = _parameters(network, MEMORY_PARTS) if settings.prompt_freq > 1 else []
        for each in (*self._decoder, *self._memory):
            each.requires_grad_(True)
        self.optimisers = [torch.optim.Adam(self._decoder, lr=DECODER_RATE)]
        if self._memory:
            self.optimisers.append(torch.optim.Adam(self._memory, lr=memory_rate(0)))

    def step(
        self, clip: Clip, generator: torch.Generator, progress: float, epoch: int, average: Averaged
    ) -> dict[str, float]:
        """Both losses go back; then the memory's parts step, then the decoder."""
        self._zero()
        told = self._backward(clip, generator)
        average(each for each in (*self._decoder, *self._memory))
        for optimiser in self.optimisers[1:]:
            for group in optimiser.param_groups:
                group["lr"] = memory_rate(epoch)
            optimiser.step()
        self.optimisers[0].step()
        return told

    def _backward(self, clip: Clip, generator: torch.Generator) -> dict[str, float]:
        prompted = list(range(0, clip.images.shape[0], self.settings.prompt_freq))
        found = self._answers(clip, generator, prompted)
        if found is None:
            return {}
        answers, truth = found
        on_prompts = [mask_loss(chosen_logits(d), truth[t, rows]) for t, (d, rows) in answers.prompted.items()]
        others = [mask_loss(chosen_logits(d), truth[t]) for t, d in answers.tracked.items()]
        told: dict[str, float] = {}
        total: Tensor | None = None
        for name, losses in (("prompt_loss", on_prompts), ("other_loss", others)):
            if losses:
                mean = torch.stack(losses).mean()
                told[name] = float(mean.detach())
                total = mean if total is None else total + mean
        if total is not None and total.requires_grad:
            total.backward()
        return {**told, "loss": sum(told.values()), "objects": float(truth.shape[1])}


class FinetuneRecipe(_Clips):
    """All of SAM 2 learns from a clip prompted on its middle or first slice, as MedSAM2 was made (arXiv 2504.03600).

    AdamW, the image encoder slower than the rest, a linear warm-up and fall; masks, presence and predicted IoU.
    """

    WARMUP = 0.05

    def __init__(self, network: Sam2Network, settings: Sam2Settings, device: torch.device) -> None:
        super().__init__(network, settings, device)
        network.requires_grad_(True)
        encoder = list(network.image_encoder.parameters())
        if settings.freeze_encoder:
            network.image_encoder.requires_grad_(False)
        self.learns_encoder = not settings.freeze_encoder
        known = {id(each) for each in encoder}
        rest = [each for each in network.parameters() if id(each) not in known]
        groups = [{"params": rest, "lr": settings.learning_rate, "rate": settings.learning_rate}]
        if self.learns_encoder:
            groups.append({"params": encoder, "lr": settings.encoder_rate, "rate": settings.encoder_rate})
        self._learning = [each for group in groups for each in group["params"]]  # type: ignore[attr-defined]
        self.optimisers = [torch.optim.AdamW(groups, weight_decay=0.01)]

    def step(
        self, clip: Clip, generator: torch.Generator, progress: float, epoch: int, average: Averaged
    ) -> dict[str, float]:
        """One loss, one step, gradients clipped."""
        self._zero()
        told = self._backward(clip, generator)
        average(self._learning)
        nn.utils.clip_grad_norm_(self._learning, self.settings.clip_norm)
        scale = min(1.0, progress / self.WARMUP + 1e-3) * (1.0 - 0.95 * progress)
        for group in self.optimisers[0].param_groups:
            group["lr"] = group["rate"] * scale
        self.optimisers[0].step()
        return told

    def _backward(self, clip: Clip, generator: torch.Generator) -> dict[str, float]:
        middle = clip.images.shape[0] // 2 if bool(torch.rand((), generator=generator) < 0.5) else 0
        found = self._answers(clip, generator, [middle])
        if found is None:
            return {}
        answers, truth = found
        pairs = [(d, truth[t, rows]) for t, (d, rows) in answers.prompted.items()]
        pairs += [(d, truth[t]) for t, d in answers.tracked.items()]
        masks = torch.stack([mask_loss(chosen_logits(d), wanted) for d, wanted in pairs]).mean()
        scores = torch.stack([score_loss(d, wanted) for d, wanted in pairs]).mean()
        total = 20 * masks + scores
        total.backward()
        return {"loss": float(total.detach()), "mask_loss": float(masks.detach()), "objects": float(truth.shape[1])}


def recipe_of(network: Sam2Network, settings: Sam2Settings, device: torch.device) -> Recipe:
    """The recipe that the settings name."""
    made: dict[str, Any] = {"memrefine": MemRefineRecipe, "finetune": FinetuneRecipe}
    recipe: Recipe = made[settings.method](network, settings, device)
    return recipe


def _parameters(network: nn.Module, parts: tuple[str, ...]) -> list[nn.Parameter]:
    return [each for name in parts if hasattr(network, name) for each in getattr(network, name).parameters()]

"""One step's work of each expert: answers to rounds of simulated clicks, and the losses that they are judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from memseg3d.experts.local_expert import shown_maps
from memseg3d.experts.sam_med3d.network import SamMed3D
from memseg3d.experts.seam import Click
from memseg3d.experts.sight import Sight3
from memseg3d.experts.vista3d.network import Vista3D
from memseg3d.training.experts.clicks import Place, deepest_click, drawn_clicks
from memseg3d.training.experts.samples import Sample, global_sample, local_sample, spoiled
from memseg3d.training.experts.settings import ExpertSettings
from memseg3d.training.experts.targets import Target


class Stage(Protocol):
    """steps_each: the optimiser takes a step at every loss, not once for all. dices: of the last batch, by round."""

    sight: Sight3
    steps_each: bool
    dices: list[float]

    @property
    def module(self) -> nn.Module:
        """What learns."""
        ...

    def groups(self) -> list[dict[str, object]]:
        """Parameters with their learning rates."""
        ...

    def sample(self, target: Target, rng: np.random.Generator, augment: bool) -> Sample | None:
        """What of a target is shown; None where nothing of it is left."""
        ...

    def losses(self, samples: Sequence[Sample], rng: np.random.Generator) -> Iterator[Tensor]:
        """Losses to go back from, each before the next is asked for."""
        ...


class GlobalStage:
    """A middle click and no mask first, then rounds of clicks on what is wrong, each with the last answer as mask.

    Released: several candidates are answered and judged at once, which counts a click as often, and the first goes on.
    Mended: the first candidate is the challenge's click, and all clicks of a round count as one.
    """

    steps_each = False

    def __init__(self, module: SamMed3D, settings: ExpertSettings) -> None:
        self.module, self.settings = module, settings
        self.sight = Sight3()
        self.dices: list[float] = []

    def groups(self) -> list[dict[str, object]]:
        """Image encoder and the rest."""
        encoder, settings = self.module.image_encoder, self.settings
        rest = [*self.module.prompt_encoder.parameters(), *self.module.mask_decoder.parameters()]
        return [
            {"params": list(encoder.parameters()), "lr": settings.learning_rate},
            {"params": rest, "lr": settings.other_rate},
        ]

    def sample(self, target: Target, rng: np.random.Generator, augment: bool) -> Sample | None:
        """A cube scaled to the box."""
        return global_sample(target, self.module.shape.side, rng, augment, self.settings.mended)

    def losses(self, samples: Sequence[Sample], rng: np.random.Generator) -> Iterator[Tensor]:
        """One loss of all rounds."""
        settings, shape = self.settings, self.module.shape
        device = self.module.mask_decoder.mask_tokens.weight.device
        truth = torch.stack([sample.truth for sample in samples]).to(device)
        embedding = self.module.image_encoder(torch.stack([sample.image for sample in samples]).to(device))
        count = len(samples)
        middle = shape.side / 2 - 1
        points = torch.full((count, 1, 3), middle, device=device)
        labels = torch.ones((count, 1), dtype=torch.long, device=device)
        mask = torch.zeros(count, 1, shape.low, shape.low, shape.low, device=device)
        low, logits = self._answers(embedding, points, labels, mask)
        total = dice_ce(logits, truth)
        self.dices = [dice_of(logits, truth)]
        tried = settings.candidates
        for _ in range(settings.rounds):
            wrong = (logits.detach() > 0) != truth
            places = [self._places(wrong[each, 0], tried, rng) for each in range(count)]
            added = torch.tensor(places, dtype=torch.float32, device=device)
            signs = torch.stack([truth[each, 0][tuple(np.transpose(places[each]))] for each in range(count)]).long()
            mask = (low.detach() > 0).float()
            # every candidate beside the clicks that stand
            points_all = torch.cat([_again(points, tried), added.reshape(-1, 1, 3)], 1)
            labels_all = torch.cat([_again(labels, tried), signs.reshape(-1, 1)], 1)
            low_all, logits_all = self._answers(_again(embedding, tried), points_all, labels_all, _again(mask, tried))
            loss = dice_ce(logits_all, _again(truth, tried))
            total = total + (loss if settings.mended else tried * loss)
            first = torch.arange(count, device=device) * tried
            low, logits, points, labels = low_all[first], logits_all[first], points_all[first], labels_all[first]
            self.dices.append(dice_of(logits, truth))
        yield total / (settings.rounds + 1)

    def _answers(self, embedding: Tensor, points: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        low = self.module.decode(embedding, points, labels, mask)[0][:, :1]
        side = self.module.shape.side
        return low, functional.interpolate(low, size=(side, side, side), mode="trilinear", align_corners=False)

    def _places(self, wrong: Tensor, count: int, rng: np.random.Generator) -> list[Place]:
        drawn = drawn_clicks(wrong, count, rng)
        deepest = deepest_click(wrong.cpu().numpy()) if self.settings.mended else None
        return drawn if deepest is None else [deepest, *drawn[1:]]


class LocalStage:
    """Clicks on a patch. Released: a step of the optimiser after each, all on the error of an empty prediction, so that
    the same click comes again and again. Mended: each is on the last answer's error, which the network is shown.
    """

    def __init__(self, module: Vista3D, settings: ExpertSettings) -> None:
        self.module, self.settings = module, settings
        self.sight = Sight3(side=settings.side)
        self.steps_each = not settings.mended
        self.dices: list[float] = []

    def groups(self) -> list[dict[str, object]]:
        """All alike."""
        return [{"params": list(self.module.parameters()), "lr": self.settings.learning_rate}]

    def sample(self, target: Target, rng: np.random.Generator, augment: bool) -> Sample | None:
        """A patch of the volume's own grid."""
        return local_sample(target, self.settings.side, rng, augment)

    def losses(self, samples: Sequence[Sample], rng: np.random.Generator) -> Iterator[Tensor]:
        """One loss a click."""
        device = self.module.point_head.mask_tokens.weight.device
        truths = [sample.truth[0].numpy() for sample in samples]
        truth = torch.stack([sample.truth for sample in samples]).to(device)
        found = [np.zeros_like(each) for each in truths]
        if self.settings.mended:
            found = [
                spoiled(each, rng) if rng.random() < 0.5 else none for each, none in zip(truths, found, strict=True)
            ]
        clicks: list[list[Click]] = [[] for _ in samples]
        self.dices = []
        for _ in range(self.settings.rounds):
            for own, right, now in zip(clicks, truths, found, strict=True):
                place = deepest_click(right != now) or deepest_click(right)
                assert place is not None, "a sample shows some of its target"
                own.append(Click((float(place[0]), float(place[1]), float(place[2])), bool(right[place])))
            logits = self._answers(samples, found, clicks, device)
            loss = dice_ce(logits, truth)
            self.dices.append(dice_of(logits, truth))
            if self.settings.mended:
                found = [each[0] > 0 for each in logits.detach().cpu().numpy()]
                loss = loss / self.settings.rounds
            yield loss

    def _answers(
        self,
        samples: Sequence[Sample],
        found: Sequence[np.ndarray],
        clicks: Sequence[Sequence[Click]],
        device: torch.device,
    ) -> Tensor:
        images = [sample.image for sample in samples]
        if self.module.shape.channels > 1:
            told = zip(samples, found, clicks, strict=True)
            images = [torch.from_numpy(shown_maps(each.image[0].numpy(), mask, list(own))) for each, mask, own in told]
        points = torch.tensor([[click.position for click in own] for own in clicks], device=device)
        labels = torch.tensor([[int(click.positive) for click in own] for own in clicks], device=device)
        found_logits: Tensor = self.module(torch.stack(images).to(device), points, labels)
        return found_logits


def dice_ce(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross entropy and 1 - Dice with squares below, each the mean over (B, 1, d, h, w)."""
    wanted = truth.to(logits.dtype)
    found = logits.sigmoid()
    axes = (1, 2, 3, 4)
    dice = (2 * (found * wanted).sum(axes) + 1e-5) / ((found**2).sum(axes) + wanted.sum(axes) + 1e-5)
    return functional.binary_cross_entropy_with_logits(logits, wanted) + (1 - dice).mean()


def dice_of(logits: Tensor, truth: Tensor) -> float:
    """Mean Dice of the masks."""
    found, axes = logits.detach() > 0, (1, 2, 3, 4)
    both = (found & truth).sum(axes)
    return float((2 * both / (found.sum(axes) + truth.sum(axes)).clamp(min=1)).mean())


def _again(values: Tensor, count: int) -> Tensor:
    """Each item of a batch so many times, one after the other."""
    return values.repeat_interleave(count, dim=0)

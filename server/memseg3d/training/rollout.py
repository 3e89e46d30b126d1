"""One training step's work: a clip is segmented as a user would have it done, first pass, correction, second pass.

Slice 0 carries the prompt; the others are tracked with memories of the network's own masks; then one slice is corrected
with a click on its error and the rest is tracked again from there, the first pass as prior. Every decode is supervised.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor

from memseg3d.network.nano import NanoNetwork
from memseg3d.network.seam import Decoded, Features, Memory, MemoryRead, Prompts
from memseg3d.training.losses import LossWeights, click_loss, hard_dice, slice_loss
from memseg3d.training.prompting import corrective_click, first_prompts, joined
from memseg3d.training.spoiling import spoiled

TRUTH_LOGIT = 8.0
CLICKS = (0.45, 0.35, 0.2)
"""Shares of the corrections that take one, two and three clicks."""
WITH_PRIOR = 0.4
"""Share of the second passes that see the first pass: sessions decode without it, so most are trained without it."""
LAST_SLICE = 0.15
"""Share of the corrections that go to the last slice, where the object has most often ended."""


@dataclass
class Outcome:
    """Sum of losses over decodes, and Dice by kind of decode (`prompted`, `tracked 1`, `corrected`, ...)."""

    loss: Tensor
    decodes: int = 0
    dice: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def mean_loss(self) -> Tensor:
        """Mean loss of a decode."""
        return self.loss / max(self.decodes, 1)


class ClipRun:
    """Segments one batch of clips. images: (B, L, 2, S, S); truth: (B, L, 1, S, S) float in {0, 1}."""

    def __init__(
        self,
        network: NanoNetwork,
        images: Tensor,
        truth: Tensor,
        generator: torch.Generator,
        teacher: float = 0.0,
        weights: LossWeights | None = None,
    ) -> None:
        self.network, self.images, self.truth, self.generator, self.teacher = network, images, truth, generator, teacher
        self.weights = weights or LossWeights()
        self.batch, self.length = images.shape[:2]
        encoded = network.encode(images.flatten(0, 1))
        levels = [level.unflatten(0, (self.batch, self.length)) for level in encoded.levels]
        self.features = [Features(tuple(level[:, t] for level in levels)) for t in range(self.length)]
        self.outcome = Outcome(torch.zeros((), device=images.device))

    def single(self) -> Outcome:
        """Every slice of the batch on its own: prompt, then corrective clicks."""
        prompts = first_prompts(self.truth[:, 0], self.generator)
        decoded = self._decode(0, prompts, {}, set(), "prompted")
        with_prior = self._draws_prior()
        for _ in range(self._clicks()):
            seen = decoded.logits.detach()
            points, labels = corrective_click(seen, self.truth[:, 0], self.generator)
            prompts = joined(prompts, points, labels)
            decoded = self._decode(0, prompts, {}, set(), "corrected", prior=seen if with_prior else None)
            self.outcome.loss = self.outcome.loss + click_loss(decoded, self.truth[:, 0], points[:, 0])
        return self.outcome

    def clip(self) -> Outcome:
        """First pass from slice 0, a correction on a random slice, second pass from there to both sides."""
        prompts = first_prompts(self.truth[:, 0], self.generator)
        memories: dict[int, Memory] = {}
        logits: list[Tensor] = []
        for t in range(self.length):
            kind = "prompted" if t == 0 else f"tracked {t}"
            decoded = self._decode(t, prompts if t == 0 else None, memories, {0}, kind)
            memories[t] = self._remember(t, decoded, prompted=t == 0)
            logits.append(decoded.logits.detach())
        self._correct(prompts, memories[0], logits)
        return self.outcome

    def correction(self) -> Outcome:
        """Slice 0 alone, then a correction of a spoiled truth and tracking from there: cheaper than a whole clip."""
        prompts = first_prompts(self.truth[:, 0], self.generator)
        decoded = self._decode(0, prompts, {}, {0}, "prompted")
        truth = [(self.truth[:, t] * 2 - 1) * TRUTH_LOGIT / 2 for t in range(1, self.length)]
        self._correct(prompts, self._remember(0, decoded, prompted=True), [decoded.logits.detach(), *truth])
        return self.outcome

    def _correct(self, prompts: Prompts, first: Memory, logits: list[Tensor]) -> None:
        """Correct a random slice of the first pass, spoiled, and track again from there with it as prior."""
        logits = spoiled(logits, self.truth, self.images, self.generator)
        at = int(torch.randint(0, self.length, (), generator=self.generator))
        if torch.rand((), generator=self.generator) < LAST_SLICE:
            at = self.length - 1
        memories = {0: first}
        if at > 1:
            # As in a later round: of the tracked slices only the neighbour is remembered, as the last round left it.
            score = torch.full((self.batch, 1), TRUTH_LOGIT)
            memories[at - 1] = self.network.remember(self.features[at - 1], logits[at - 1], score, None, False)
        given, prior = prompts if at == 0 else Prompts(), logits[at]
        with_prior = self._draws_prior()
        for _ in range(self._clicks()):
            points, labels = corrective_click(prior, self.truth[:, at], self.generator)
            given = joined(given, points, labels)
            decoded = self._decode(at, given, memories, {0}, "corrected", prior=prior if with_prior else None)
            self.outcome.loss = self.outcome.loss + click_loss(decoded, self.truth[:, at], points[:, 0])
            prior = decoded.logits.detach()
        conditioning = {0, at}
        memories = {0: first, at: self._remember(at, decoded, prompted=True)}
        for t in range(at + 1, self.length):
            seen = logits[t] if with_prior else None
            again = self._decode(t, None, memories, conditioning, "tracked again", prior=seen)
            memories[t] = self._remember(t, again)
        for t in range(at - 1, 0, -1):
            seen = logits[t] if with_prior else None
            again = self._decode(t, None, memories, conditioning, "tracked again", prior=seen, step=-1)
            memories[t] = self._remember(t, again)

    def _draws_prior(self) -> bool:
        return bool(torch.rand((), generator=self.generator) < WITH_PRIOR)

    def _clicks(self) -> int:
        return 1 + int(torch.multinomial(torch.tensor(CLICKS), 1, generator=self.generator))

    def _reads(self, t: int, memories: dict[int, Memory], conditioning: set[int], step: int) -> list[MemoryRead]:
        """What the embedded network reads: conditioning slices, and the slices behind by their distance."""
        reads = [MemoryRead(memories[c], 0) for c in sorted(conditioning) if c in memories and c != t]
        for distance in range(1, self.network.config.memory_slots):
            behind = memories.get(t - step * distance)
            if behind is not None:
                reads.append(MemoryRead(behind, distance))
        return reads

    def _decode(
        self,
        t: int,
        prompts: Prompts | None,
        memories: dict[int, Memory],
        conditioning: set[int],
        kind: str,
        prior: Tensor | None = None,
        step: int = 1,
    ) -> Decoded:
        reads = self._reads(t, memories, conditioning, step)
        conditioned = self.network.attend(self.features[t], reads, self.length)
        decoded = self.network.decode(conditioned, prompts, prior)
        truth = self.truth[:, t]
        self.outcome.loss = self.outcome.loss + slice_loss(decoded, truth, self.weights).mean()
        self.outcome.decodes += 1
        shown = truth.flatten(1).any(1)
        self.outcome.dice[kind] += hard_dice(decoded.logits.detach(), truth)[shown].tolist()
        return decoded

    def _remember(self, t: int, decoded: Decoded, prompted: bool = False) -> Memory:
        """Memory of the network's own mask; of the truth for a share `teacher` of the samples."""
        own = decoded.logits.detach()
        given = (self.truth[:, t] * 2 - 1) * TRUTH_LOGIT
        share = self.teacher if not prompted else max(self.teacher, 0.15)
        taught = torch.rand(self.batch, generator=self.generator) < share
        logits = torch.where(taught[:, None, None, None], given, own)
        return self.network.remember(self.features[t], logits, decoded.object_score.detach(), None, prompted)

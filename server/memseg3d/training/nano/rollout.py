"""One training step's work: a clip is segmented as a user would have it done, first pass, correction, second pass.

The prompted slice is decoded in the region of its prompts; the others are tracked in a region of their own, with
memories of the network's own masks; then one slice is corrected with clicks on its errors and the rest is tracked again
from there. Every decode that a user would see is supervised.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.network.nano import NanoNetwork
from memseg3d.network.seam import Conditioned, Decoded, Features, Memory, MemoryRead, Prompts
from memseg3d.training.clips.corrections import corrective_clicks, joined
from memseg3d.training.clips.session_states import AT
from memseg3d.training.clips.takes import Takes
from memseg3d.training.clips.users import KINDS
from memseg3d.training.nano.losses import LossWeights, click_loss, hard_dice, harm_loss, slice_loss
from memseg3d.training.nano.spoiling import CERTAIN, as_kept, spoiled

TRUTH_LOGIT = 8.0
CLICKS = (0.4, 0.24, 0.13, 0.09, 0.05, 0.04, 0.03, 0.02)
"""Shares of the corrections that take one, two, ... eight clicks."""
LEARNT_CLICKS = 2
"""The last clicks of a correction are learnt from; those before are only made."""
WITH_PRIOR = 0.8
"""Share of the samples whose corrections see the mask that they correct."""
TRACKED_WITH_PRIOR = 0.25
"""Share of the second passes that see the first: sessions track without it."""
LAST_SLICE = 0.15
"""Share of the corrections that go to the last slice, where the object has most often ended."""
FIRST_SLICE = 0.2
"""Share of the corrections that go to the prompted slice, whose prompts then count as well."""
NEAR = 3
"""Slices from a corrected one that a correction has to reach."""


@dataclass
class Outcome:
    """Sum of losses over decodes, and Dice by kind of decode (`prompted box`, `tracked 1`, `corrected`, ...)."""

    loss: Tensor
    decodes: int = 0
    dice: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def mean_loss(self) -> Tensor:
        """Mean loss of a decode."""
        return self.loss / max(self.decodes, 1)


class ClipRun:
    """Segments one batch of clips."""

    def __init__(
        self,
        network: NanoNetwork,
        takes: Takes,
        generator: torch.Generator,
        teacher: float = 0.0,
        weights: LossWeights | None = None,
    ) -> None:
        """teacher: share of the memories that are of the truth."""
        self.network, self.takes, self.generator, self.teacher = network, takes, generator, teacher
        self.weights = weights or LossWeights()
        self.batch, self.length = takes.images.shape[:2]
        self.first = network.encode(takes.first_images)
        self.features: list[Features] = []
        self.nearest = 0
        """First slice that others may lie beside."""
        self.outcome = Outcome(torch.zeros((), device=takes.images.device))

    def first_prompts(self) -> Outcome:
        """The prompted slice by its first prompts alone."""
        self._first()
        return self.outcome

    def single(self) -> Outcome:
        """The prompted slice on its own: its prompts, then corrective clicks."""
        decoded = self._first()
        self._corrected_first(decoded)
        return self.outcome

    def clip(self) -> Outcome:
        """First pass from slice 0, a correction on a random slice, second pass from there to both sides."""
        self._encode()
        decoded = self._first()
        memories = {0: self._remember_first(decoded)}
        logits = [self._moved(decoded.logits.detach())]
        for t in range(1, self.length):
            tracked = self._decode(t, None, memories, {0}, f"tracked {t}")
            memories[t] = self._remember(t, tracked)
            logits.append(tracked.logits.detach())
        self._correct(decoded, memories[0], logits)
        return self.outcome

    def correction(self) -> Outcome:
        """Slice 0 alone, then a correction of a spoiled truth and tracking from there: cheaper than a whole clip."""
        self._encode()
        decoded = self._first()
        truth = [(self.takes.truth[:, t] * 2 - 1) * TRUTH_LOGIT / 2 for t in range(1, self.length)]
        self._correct(decoded, self._remember_first(decoded), [self._moved(decoded.logits.detach()), *truth])
        return self.outcome

    def session(self) -> Outcome:
        """A correction of what a session has left, about slice `AT`; slice 0 lies apart (`session_states`)."""
        self._encode()
        self.nearest = 1
        left = [as_kept((each * 2 - 1) * CERTAIN, self.takes.pixel) for each in self.takes.before.unbind(1)]
        self._correct_tracked(AT, self._kept(0, left[0], prompted=True), left)
        return self.outcome

    def _encode(self) -> None:
        encoded = self.network.encode(self.takes.images.flatten(0, 1))
        levels = [level.unflatten(0, (self.batch, self.length)) for level in encoded.levels]
        self.features = [Features(tuple(level[:, t] for level in levels)) for t in range(self.length)]

    def _first(self) -> Decoded:
        """The first prompts, a lasso with its inside as the first guess."""
        takes = self.takes
        drawn = takes.outline.flatten(1).any(1)
        guess = (takes.outline * 2 - 1) * CERTAIN
        decoded = self.network.decode_some(self._alone(), takes.prompts, guess, drawn)
        self._judge(decoded, takes.first_truth, "prompted", 1.0)
        values = hard_dice(decoded.logits.detach(), takes.first_truth).tolist()
        for kind, value in zip(takes.kind.tolist(), values, strict=True):
            self.outcome.dice[f"prompted by {list(KINDS)[kind]}"].append(value)
        return decoded

    def _corrected_first(self, decoded: Decoded) -> Decoded:
        """Clicks on the prompted slice, beside its own prompts."""
        return self._clicked(self._alone(), self.takes.prompts, decoded.logits.detach(), self.takes.first_truth)

    def _alone(self) -> Conditioned:
        return self.network.attend(self.first, [], self.length)

    def _clicked(self, conditioned: Conditioned, prompts: Prompts, seen: Tensor, truth: Tensor) -> Decoded:
        """Corrective clicks, one after the other, on a slice whose mask stands at `seen` (B, 1, S, S) logits."""
        shown = torch.rand(self.batch, generator=self.generator) < WITH_PRIOR
        count = 1 + int(torch.multinomial(torch.tensor(CLICKS), 1, generator=self.generator))
        before = seen
        clicks: list[Tensor] = []
        for number in range(count):
            points, labels = corrective_clicks(before > 0, truth > 0, self.generator)
            prompts = joined(prompts, points, labels)
            clicks.append(points)
            learns = number >= count - LEARNT_CLICKS
            with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
                decoded = self.network.decode_some(conditioned, prompts, before, shown)
            if learns:
                self._judge(decoded, truth, "corrected", 1.0)
                harm = harm_loss(decoded, truth, before, torch.cat(clicks, 1), shown)
                obeyed = click_loss(decoded, truth, points[:, 0])
                self.outcome.loss = self.outcome.loss + self.weights.click * obeyed + self.weights.harm * harm
                gained = hard_dice(decoded.logits.detach(), truth) - hard_dice(before, truth)
                for sign, name in ((1, "gain of a positive click"), (0, "gain of a negative click")):
                    self.outcome.dice[name] += gained[labels[:, 0] == sign].tolist()
            before = decoded.logits.detach()
        return decoded

    def _correct(self, first: Decoded, memory: Memory, logits: Sequence[Tensor]) -> None:
        """Correct a slice of the first pass, spoiled, and track again from there."""
        at = self._corrected_slice()
        left = [as_kept(each, self.takes.pixel) for each in self._spoiled(logits)]
        if at == 0:
            again = self._corrected_first(first)
            self._track_again(0, {0: self._remember_first(again)}, left)
        else:
            self._correct_tracked(at, memory, left)

    def _correct_tracked(self, at: int, memory: Memory, left: Sequence[Tensor]) -> None:
        """Correct slice `at`, whose mask stands at `left[at]`, and track again from there; `memory`: of slice 0."""
        memories = {0: memory}
        if at - 1 > 0:
            # As in a later round: of the tracked slices only the neighbour is remembered, as it was left.
            memories[at - 1] = self._kept(at - 1, left[at - 1], prompted=False)
        conditioned = self._attended(at, memories, {0}, 1)
        again = self._clicked(conditioned, Prompts(), left[at], self.takes.truth[:, at])
        self._track_again(at, {0: memory, at: self._remember(at, again, prompted=True)}, left)

    def _track_again(self, at: int, memories: dict[int, Memory], left: Sequence[Tensor]) -> None:
        """Track to both sides of a corrected slice; `memories` of it and of the prompted one."""
        conditioning = set(memories)
        seen: Sequence[Tensor | None] = left if self._draws(TRACKED_WITH_PRIOR) else [None] * self.length
        for step, places in ((1, range(at + 1, self.length)), (-1, range(at - 1, 0, -1))):
            for t in places:
                weight = self.weights.neighbours if abs(t - at) <= NEAR else 1.0
                tracked = self._decode(t, None, memories, conditioning, "tracked again", seen[t], step, weight)
                memories[t] = self._remember(t, tracked)

    def _kept(self, t: int, logits: Tensor, prompted: bool) -> Memory:
        """Memory of a slice as a round has left it."""
        score = torch.full((self.batch, 1), TRUTH_LOGIT)
        return self.network.remember(self.features[t], logits, score, None, prompted)

    def _spoiled(self, logits: Sequence[Tensor]) -> list[Tensor]:
        return spoiled(logits, self.takes.truth, self.takes.images, self.generator)

    def _corrected_slice(self) -> int:
        if self._draws(FIRST_SLICE):
            return 0
        if self._draws(LAST_SLICE):
            return self.length - 1
        return int(torch.randint(1, self.length, (), generator=self.generator))

    def _draws(self, share: float) -> bool:
        return bool(torch.rand((), generator=self.generator) < share)

    def _attended(self, t: int, memories: dict[int, Memory], conditioning: set[int], step: int) -> Conditioned:
        """Slice t with what the embedded network reads: conditioning slices, and the slices behind by distance."""
        reads = [MemoryRead(memories[c], 0) for c in sorted(conditioning) if c in memories and c != t]
        for distance in range(1, self.network.config.memory_slots):
            behind = memories.get(t - step * distance)
            if behind is not None and t - step * distance >= self.nearest:
                reads.append(MemoryRead(behind, distance))
        return self.network.attend(self.features[t], reads, self.length)

    def _decode(
        self,
        t: int,
        prompts: Prompts | None,
        memories: dict[int, Memory],
        conditioning: set[int],
        kind: str,
        prior: Tensor | None = None,
        step: int = 1,
        weight: float = 1.0,
    ) -> Decoded:
        conditioned = self._attended(t, memories, conditioning, step)
        decoded = self.network.decode(conditioned, prompts, prior)
        self._judge(decoded, self.takes.truth[:, t], kind, weight)
        return decoded

    def _judge(self, decoded: Decoded, truth: Tensor, kind: str, weight: float) -> None:
        self.outcome.loss = self.outcome.loss + weight * slice_loss(decoded, truth, self.weights).mean()
        self.outcome.decodes += 1
        shown = truth.flatten(1).any(1)
        self.outcome.dice[kind] += hard_dice(decoded.logits.detach(), truth)[shown].tolist()

    def _moved(self, logits: Tensor) -> Tensor:
        """Logits (B, 1, S, S) of the prompts' region seen through the tracking region, -`CERTAIN` beyond it."""
        size = logits.shape[-1]
        line = torch.arange(size, dtype=torch.float32)
        scale, x, y = self.takes.frame.unbind(1)
        places = [scale[:, None] * line + start[:, None] for start in (x, y)]
        unit = [(2 * place + 1) / size - 1 for place in places]
        grid = torch.stack([unit[0][:, None, :].expand(-1, size, -1), unit[1][:, :, None].expand(-1, -1, size)], dim=-1)
        kept = logits.float().clamp(-CERTAIN, CERTAIN) + CERTAIN
        return F.grid_sample(kept, grid, mode="bilinear", padding_mode="zeros", align_corners=False) - CERTAIN

    def _remember_first(self, decoded: Decoded) -> Memory:
        """Memory of the prompted slice in the tracking region."""
        own = self._moved(decoded.logits.detach())
        return self._memory(0, own, decoded, max(self.teacher, 0.15), prompted=True)

    def _remember(self, t: int, decoded: Decoded, prompted: bool = False) -> Memory:
        """Memory of the network's own mask."""
        share = self.teacher if not prompted else max(self.teacher, 0.15)
        return self._memory(t, decoded.logits.detach(), decoded, share, prompted)

    def _memory(self, t: int, own: Tensor, decoded: Decoded, share: float, prompted: bool) -> Memory:
        """Memory of a mask, of the truth for a `share` of the samples."""
        given = (self.takes.truth[:, t] * 2 - 1) * TRUTH_LOGIT
        taught = torch.rand(self.batch, generator=self.generator) < share
        logits = torch.where(taught[:, None, None, None], given, own)
        return self.network.remember(self.features[t], logits, decoded.object_score.detach(), None, prompted)

"""One object by Mem3D's protocol: the prompted slice, one pass over the others, and rounds about advised slices.

The pass takes the slices in turn from both sides of the prompted one (ref, ref-1, ref+1, ref-2, ...); each reads the
slice that was taken before it and every fifth one. Scores are the caller's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from memseg3d.evaluation.mem3d.protocol import MASK, Mem3dProtocol
from memseg3d.evaluation.rounds import iou
from memseg3d.network.mem3d import Mem3dNetwork
from memseg3d.network.mem3d.encodings import PUBLISHED_SIZE
from memseg3d.network.mem3d.guides import guide_of
from memseg3d.network.mem3d.prompted import CERTAIN, run
from memseg3d.network.seam import Features, Memory, MemoryRead

SURE, SURE_PIXELS = 0.95, 100
"""The release judges slices with more than so many pixels of 512 x 512 above this probability."""
SHAKEN = 2
"""The prompted slice lies so many from the middle at most."""


@dataclass
class State:
    """What stands of one object. logits: (k, S, S), -10 where nothing was found. qualities: by slice."""

    logits: Tensor
    qualities: dict[int, float] = field(default_factory=dict)
    annotated: list[int] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Played:
    """A round's end. masks: (k, rows, columns) bool; slices: computed in it; prompted: the slice of the prompt.

    qualities: predicted, of the slices that nobody has prompted.
    """

    masks: NDArray[np.bool_]
    qualities: dict[int, float]
    prompted: int
    slices: int
    seconds: float


def in_turn(reference: int, first: int, last: int) -> list[int]:
    """Slices first..last without the reference: ref-1, ref+1, ref-2, ...; where one side ends, the other goes on."""
    order = []
    for distance in range(1, last - first + 1):
        order += [at for at in (reference - distance, reference + distance) if first <= at <= last]
    return order


class Player:
    """Plays one object of one case. images: (k, 1, S, S) in [0, 1]; truth: (k, rows, columns) bool, not empty."""

    def __init__(
        self, network: Mem3dNetwork, images: Tensor, truth: NDArray[np.bool_], protocol: Mem3dProtocol, seed: int
    ) -> None:
        self._network, self._truth, self._protocol = network, truth, protocol
        self._device = next(network.parameters()).device
        self._images = images
        self._rng = np.random.default_rng(seed)
        shown = np.flatnonzero(truth.any((1, 2)))
        self._object = [int(at) for at in shown]
        self._first, self._last = self._object[0], self._object[-1]
        if protocol.extent == "whole":
            self._first, self._last = 0, len(truth) - 1
        size = images.shape[-1]
        self._state = State(torch.full((len(truth), size, size), -CERTAIN))
        self._fewest = (size / PUBLISHED_SIZE) ** 2

    @torch.no_grad()
    def begin(self) -> Played:
        """Prompt the slice in the middle of the object's slices, and follow the object from there; or prompt all."""
        started = time.perf_counter()
        if self._protocol.prompted == "every":
            for at in self._object:
                self._state.logits[at] = self._prompted(at)[0, 0]
                self._state.qualities[at] = 1.0
            self._state.annotated = list(self._object)
            return self._ended(self._object[len(self._object) // 2], len(self._object), started)
        middle = self._object[len(self._object) // 2]
        if self._protocol.shaken:
            middle += int(self._rng.integers(-SHAKEN, SHAKEN + 1))
        reference = min(self._object, key=lambda at: abs(at - middle))
        order = in_turn(reference, self._first, self._last)
        return self._ended(reference, 1 + self._pass(reference, order, everywhere=True), started)

    @torch.no_grad()
    def correct(self) -> Played | None:
        """Prompt the advised slice and follow from there, as far as the cap and annotated slices let it; None: none."""
        advised = self._advised()
        if advised is None:
            return None
        started = time.perf_counter()
        below = [at for at in self._state.annotated if at < advised]
        above = [at for at in self._state.annotated if at > advised]
        first = max(below) + 1 if below else self._first
        last = min(above) - 1 if above else self._last
        order = in_turn(advised, first, last)
        if self._protocol.cap:
            order = order[: self._protocol.cap - 1]
        return self._ended(advised, 1 + self._pass(advised, order, everywhere=False), started)

    def _pass(self, reference: int, order: Sequence[int], everywhere: bool) -> int:
        """The prompted slice, then the others in order. everywhere: also where nothing had been found before."""
        features = self._features(reference)
        logits = self._prompted(reference).to(self._device)
        state = self._state
        state.logits[reference] = logits[0, 0].cpu()
        state.qualities[reference] = 1.0
        state.annotated = sorted({*state.annotated, reference})
        score = torch.ones(1, 1, device=self._device)
        known = [self._network.remember(features, logits, score, None, True)]
        before: Memory | None = None
        for place, at in enumerate(order, 1):
            features = self._features(at)
            reads = [MemoryRead(memory, 0) for memory in known]
            reads += [MemoryRead(before, 1)] if before is not None else []
            decoded = self._network.decode(self._network.attend(features, reads, len(self._truth)), None)
            memory = self._network.remember(features, decoded.logits, decoded.object_score, None, False)
            if everywhere or bool((state.logits[at] > 0).any()):
                state.logits[at] = decoded.logits[0, 0].cpu()
                state.qualities[at] = self._judged(decoded.logits, float(decoded.quality[0, 0]))
            if place % self._protocol.every == 0:
                known, before = [*known, memory], None
            else:
                before = memory
        return len(order)

    def _judged(self, logits: Tensor, quality: float) -> float:
        if self._protocol.small == "fine":
            sure = int((logits.sigmoid() > SURE).sum())
            return quality if sure > SURE_PIXELS * self._fewest else 1.0
        return quality

    def _prompted(self, index: int) -> Tensor:
        """Logits (1, 1, S, S): every large part of the truth is prompted by itself, and the answers are joined."""
        size = self._images.shape[-1]
        plane = torch.from_numpy(self._truth[index].astype(np.float32))[None, None]
        mask = F.interpolate(plane, size=(size, size), mode="nearest-exact")[0, 0] > 0.5
        if self._protocol.interaction == MASK:
            return ((mask.float() * 2 - 1) * CERTAIN)[None, None]
        network = self._network.networks[self._protocol.interaction]
        answers = [torch.full((1, size, size), -CERTAIN)]
        for part in self._parts(mask):
            guide = guide_of(network.shape.kind, part.to(self._device))
            if guide is not None:
                answers.append(run(network, self._images[index].to(self._device), guide, size).cpu())
        return torch.stack(answers).amax(0)[None]

    def _parts(self, mask: Tensor) -> list[Tensor]:
        labels, count = ndimage.label(mask.numpy(), structure=np.ones((3, 3)))
        parts = [torch.from_numpy(labels == number + 1) for number in range(count)]
        large = [part for part in parts if int(part.sum()) > SURE_PIXELS * self._fewest]
        return large or parts[:1]

    def _advised(self) -> int | None:
        """The slice that is prompted next; None where there is none to choose."""
        state, advice = self._state, self._protocol.advice
        open_slices = [at for at in state.qualities if at not in state.annotated]
        if not open_slices:
            return None
        if advice == "quality":
            return min(open_slices, key=lambda at: (state.qualities[at], at))
        fewest = SURE_PIXELS * self._truth[0].size / PUBLISHED_SIZE**2
        shown = [at for at in open_slices if np.count_nonzero(self._truth[at]) >= fewest]
        if not shown:
            return None
        if advice == "random":
            return int(self._rng.choice(shown))
        masks = self._masks()
        return min(shown, key=lambda at: (iou(masks[at], self._truth[at]), at))

    def _features(self, index: int) -> Features:
        return self._network.encode(self._images[index : index + 1].to(self._device))

    def _masks(self) -> NDArray[np.bool_]:
        """On the pixels of the truth."""
        rows, columns = self._truth.shape[1:]
        whole = np.zeros(self._truth.shape, bool)
        for at in self._state.qualities:
            plane = self._state.logits[at][None, None]
            shown = F.interpolate(plane, size=(rows, columns), mode="bilinear", align_corners=False)
            whole[at] = (shown[0, 0] > 0).numpy()
        return whole

    def probabilities(self) -> NDArray[np.float32]:
        """(k, rows, columns) in [0, 1], as `eval.py` reads them."""
        rows, columns = self._truth.shape[1:]
        soft = F.interpolate(self._state.logits[:, None].sigmoid(), size=(rows, columns), mode="bilinear")
        return soft[:, 0].numpy().astype(np.float32)

    def _ended(self, prompted: int, slices: int, started: float) -> Played:
        seconds = time.perf_counter() - started
        state = self._state
        judged = {at: quality for at, quality in state.qualities.items() if at not in state.annotated}
        return Played(self._masks(), judged, prompted, slices, seconds)

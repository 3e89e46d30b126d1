"""One clip through SAM 2 as Medical-SAM2 shows it: prompted slices first, the others from their memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from memseg3d.network.sam2 import Sam2Network
from memseg3d.network.seam import BOX_END, BOX_START, NEGATIVE, POSITIVE, Conditioned, Decoded, Features, Prompts
from memseg3d.propagation.memory.bank.entries import BACKWARD, FORWARD, MemoryBank, MemoryEntry, Visit
from memseg3d.propagation.memory.policies import default_policy
from memseg3d.training.cases.clips import Clip
from memseg3d.training.sam2.settings import PromptKind


@dataclass
class Answers:
    """prompted, tracked: by slice, the decoded rows and the indices of the objects that they are of.

    logits: (O, 1, h, w) of every slice, all objects, those taken over included.
    """

    prompted: dict[int, tuple[Decoded, Tensor]] = field(default_factory=dict)
    tracked: dict[int, Decoded] = field(default_factory=dict)
    logits: dict[int, Tensor] = field(default_factory=dict)


def objects_of(clip: Clip, prompted: list[int]) -> list[int]:
    """Places of the objects that show on a prompted slice; the others cannot be asked for."""
    return [o for o in range(clip.masks.shape[1]) if bool(clip.masks[prompted, o].any())]


def draw_prompts(masks: Tensor, kind: PromptKind, generator: torch.Generator) -> Prompts:
    """A prompt for each of the masks (O, S, S), none of them empty: its box, or a click at a random pixel of it.

    mixed: one of both for all, and a box with two clicks as likely.
    """
    way = int(torch.randint(0, 3, (), generator=generator)) if kind == "mixed" else {"bbox": 0, "click": 1}[kind]
    boxes, clicks = [], []
    for mask in masks.cpu():
        rows, columns = mask.nonzero(as_tuple=True)
        box = [[columns.min(), rows.min()], [columns.max(), rows.max()]]
        boxes.append(torch.tensor([[int(x), int(y)] for x, y in box], dtype=torch.float32))
        clicks.append(_click(mask, generator))
    corners = torch.tensor([[BOX_START, BOX_END]] * len(boxes))
    points = torch.stack(clicks)[:, None]
    if way == 1:
        return Prompts(points, torch.full((len(clicks), 1), POSITIVE))
    if way == 0:
        return Prompts(torch.stack(boxes), corners)
    outside = torch.stack([_click(~mask, generator) for mask in masks.cpu()])[:, None]
    labels = torch.tensor([[BOX_START, BOX_END, POSITIVE, NEGATIVE]] * len(boxes))
    return Prompts(torch.cat([torch.stack(boxes), points, outside], 1), labels)


def _click(mask: Tensor, generator: torch.Generator) -> Tensor:
    pixels = mask.nonzero()
    if not len(pixels):
        return torch.zeros(2)
    row, column = pixels[int(torch.randint(0, len(pixels), (), generator=generator))]
    return torch.tensor([float(column), float(row)])


class ClipRollout:
    """Segments a clip; every object is a row of the batch."""

    def __init__(self, network: Sam2Network, clip: Clip, objects: list[int], device: torch.device) -> None:
        self.network, self.device = network, device
        self.length, self.count = clip.images.shape[0], len(objects)
        self.truth = clip.masks[:, objects].to(device)
        self.images = clip.images.to(device)
        self.bank = MemoryBank()
        self.policy = default_policy(network.info)
        self.answers = Answers()
        self._features: list[Features] = []

    def run(self, prompted: list[int], kind: PromptKind, generator: torch.Generator, learns_encoder: bool) -> Answers:
        """Prompted slices without memory, then the slices after the first prompted one, then those before it.

        An object that a prompted slice lacks is declared absent there by an empty mask.
        """
        with torch.set_grad_enabled(learns_encoder and torch.is_grad_enabled()):
            self._features = [self.network.encode(self.images[t : t + 1]) for t in range(self.length)]
        for t in prompted:
            self._prompt(t, kind, generator)
        for t in range(prompted[0] + 1, self.length):
            self._track(t, FORWARD)
        for t in range(prompted[0] - 1, -1, -1):
            self._track(t, BACKWARD)
        return self.answers

    def _prompt(self, t: int, kind: PromptKind, generator: torch.Generator) -> None:
        features = self._features[t]
        conditioned = self.network.attend(features, [], self.length)
        shown = self.truth[t].flatten(1).any(1)
        there, absent = shown.nonzero()[:, 0], (~shown).nonzero()[:, 0]
        parts: list[tuple[Tensor, Decoded]] = []
        if len(there):
            drawn = draw_prompts(self.truth[t, there], kind, generator)
            assert drawn.points is not None
            assert drawn.labels is not None
            prompts = Prompts(drawn.points.to(self.device), drawn.labels.to(self.device))
            decoded = self.network.decode(conditioned, prompts)
            self.answers.prompted[t] = (decoded, there)
            parts.append((there, decoded))
        if len(absent):
            mask = torch.zeros(len(absent), 1, *self.truth.shape[-2:], device=self.device)
            parts.append((absent, self.network.decode(_rows(conditioned, len(absent)), Prompts(mask=mask))))
        order = torch.cat([rows for rows, _ in parts]).argsort()
        entries = [_entry(t, decoded, conditioning=True) for _, decoded in parts]
        self._keep(_joined(entries, order), features)

    def _track(self, t: int, direction: int) -> None:
        if t in self.bank.conditioning:
            return
        features = self._features[t]
        reads = self.policy.select(self.bank, Visit(t, direction, features))
        decoded = self.network.decode(self.network.attend(features, reads, self.length), None)
        self.answers.tracked[t] = decoded
        self._keep(_entry(t, decoded, conditioning=False), features)

    def _keep(self, entry: MemoryEntry, features: Features) -> None:
        self.answers.logits[entry.index] = entry.logits
        memory = self.network.remember(features, entry.logits, entry.object_score, entry.pointer, entry.conditioning)
        self.bank.put(replace(entry, memory=memory))


def chosen_logits(decoded: Decoded) -> Tensor:
    """(B, 1, h, w) of the candidate that the network takes."""
    batch = torch.arange(decoded.logits.shape[0], device=decoded.logits.device)
    return decoded.logits[batch, decoded.chosen][:, None]


def _rows(conditioned: Conditioned, count: int) -> Conditioned:
    levels = tuple(level.expand(count, -1, -1, -1) for level in conditioned.features.levels)
    raw = conditioned.tensors["raw"].expand(count, -1, -1, -1)
    return Conditioned(Features(levels), {**conditioned.tensors, "raw": raw}, conditioned.is_initial)


def _entry(t: int, decoded: Decoded, conditioning: bool) -> MemoryEntry:
    batch = torch.arange(decoded.logits.shape[0], device=decoded.logits.device)
    pointer = None if decoded.pointers is None else decoded.pointers[batch, decoded.chosen]
    quality = decoded.quality[batch, decoded.chosen]
    return MemoryEntry(t, conditioning, chosen_logits(decoded), quality, decoded.object_score, pointer)


def _joined(entries: list[MemoryEntry], order: Tensor) -> MemoryEntry:
    """Rows of several entries of one slice in the order of the objects."""
    pointers = [entry.pointer for entry in entries if entry.pointer is not None]
    return replace(
        entries[0],
        logits=torch.cat([entry.logits for entry in entries])[order],
        quality=torch.cat([entry.quality for entry in entries])[order],
        object_score=torch.cat([entry.object_score for entry in entries])[order],
        pointer=torch.cat(pointers)[order] if pointers else None,
    )

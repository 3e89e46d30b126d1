"""SAM 2 for accelerators, behind the seam: rows of their own memories, fixed shapes, every call a recorded graph."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..graphs import Record, Recorded, TensorFunction, cuda_graph
from ..seam import Conditioned, Decoded, Features, Memory, MemoryRead, NetworkInfo, Prompts
from .fixed_bank import FixedBank
from .network import Sam2Network


class RecordedSam2(nn.Module):
    """What a `Sam2Network` computes, within rounding. First masks (prompts) and training go to the network as it is.

    compiled: every function goes through torch.compile first; the first call of a shape then takes a minute.
    """

    def __init__(self, network: Sam2Network, record: Record = cuda_graph, compiled: bool = False) -> None:
        super().__init__()
        self.network = network
        # Recordings are of one side, which an accelerator does not fill.
        network.info = replace(network.info, smaller_sides=())
        self.bank = FixedBank(network)

        def recorded(name: str, function: TensorFunction) -> Recorded:
            return Recorded(name, torch.compile(function, dynamic=False) if compiled else function, record)

        self._encode = recorded("SAM 2's image encoder", self._encoded)
        self._read = recorded("SAM 2's memory attention", lambda *bank: (self.bank.read(*bank),))
        self._read_full = recorded("SAM 2's memory attention", lambda *bank: (self.bank.read_full(*bank),))
        self._decode = recorded("SAM 2's mask decoder", self._decoded)
        self._remember = {
            prompted: recorded("SAM 2's memory encoder", functools.partial(self._remembered, prompted))
            for prompted in (True, False)
        }

    @property
    def info(self) -> NetworkInfo:
        """That of the network."""
        return self.network.info

    @info.setter
    def info(self, info: NetworkInfo) -> None:
        self.network.info = info

    @property
    def recordings(self) -> int:
        """How many shapes are recorded."""
        return sum(map(len, self._all))

    @property
    def falls_back(self) -> bool:
        """Whether a recording has failed, so that its function is called as it is."""
        return any(each.fails for each in self._all)

    @property
    def _all(self) -> list[Recorded]:
        return [self._encode, self._read, self._read_full, self._decode, *self._remember.values()]

    def encode(self, images: Tensor) -> Features:
        """As `Sam2Network.encode`."""
        if images.ndim != 4 or images.shape[2:] != (self.info.image_size,) * 2:
            return self.network.encode(images)
        return Features(self._encode(images))

    def attend(self, features: Features, reads: Sequence[MemoryRead], slice_count: int) -> Conditioned:
        """As `Sam2Network.attend`."""
        if not reads or any(_rows(read.memory) != 1 for read in reads) or features.levels[-1].shape[0] != 1:
            return self.network.attend(features, reads, slice_count)
        return self.attend_rows(features, [reads], [slice_count])

    def attend_rows(
        self, features: Features, reads: Sequence[Sequence[MemoryRead]], slice_counts: Sequence[int]
    ) -> Conditioned:
        """Row b of `features` reads `reads[b]` (`network.joint.ReadsRows`)."""
        bank = self.bank.fill(reads, slice_counts)
        raw = features.levels[-1]
        read = self._read_full if bank.is_full else self._read
        (found,) = read(raw, bank.spatial, bank.pointers, bank.places)
        return Conditioned(Features((*features.levels[:-1], found)), {"raw": raw})

    def decode(self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None = None) -> Decoded:
        """As `Sam2Network.decode`; slices without prompts by the recorded graph."""
        if prompts is not None or prior is not None:
            return self.network.decode(conditioned, prompts, prior)
        logits, quality, object_score, chosen, pointers = self._decode(*conditioned.features.levels)
        return Decoded(logits, quality, object_score, chosen, pointers)

    def remember(
        self, features: Features, logits: Tensor, object_score: Tensor, pointer: Tensor | None, prompted: bool
    ) -> Memory:
        """As `Sam2Network.remember`."""
        raw = features.levels[-1].expand(logits.shape[0], -1, -1, -1)
        (spatial,) = self._remember[prompted](raw, logits.float(), object_score)
        return Memory({"spatial": spatial}, pointer)

    def _encoded(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.network.encode(images).levels

    def _decoded(self, *levels: Tensor) -> tuple[Tensor, ...]:
        found = self.network.decode(Conditioned(Features(levels)), None)
        assert found.pointers is not None
        return found.logits, found.quality, found.object_score, found.chosen, found.pointers

    def _remembered(self, prompted: bool, raw: Tensor, logits: Tensor, object_score: Tensor) -> tuple[Tensor, ...]:
        return (self.network.remember(Features((raw,)), logits, object_score, None, prompted).tensors["spatial"],)


def _rows(memory: Memory) -> int:
    return int(memory.tensors["spatial"].shape[0])

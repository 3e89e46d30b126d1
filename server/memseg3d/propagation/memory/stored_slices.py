"""What memory holds of a prompted slice, written down with the round that decoded it: later rounds, whether the worker
has been restarted or a round undone meanwhile, start from the same memory.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memseg3d.propagation.memory.bank.entries import MemoryEntry
from memseg3d.propagation.sight.regions import Extent, Region
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.view import View

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, eq=False)
class PackedTensor:
    """A tensor of numbers, bit by bit: zlib of its bytes, sorted by their significance, as these compress better."""

    dtype: str
    shape: tuple[int, ...]
    bits: bytes

    @classmethod
    def of(cls, tensor: Tensor) -> PackedTensor:
        """tensor: floating point, on any device."""
        host = tensor.detach().cpu().contiguous()
        raw = host.view(torch.uint8).numpy().reshape(-1, host.element_size())
        name = next(name for name, dtype in _DTYPES.items() if dtype == host.dtype)
        return cls(name, tuple(host.shape), zlib.compress(np.ascontiguousarray(raw.T).tobytes(), level=1))

    def tensor(self, device: torch.device) -> Tensor:
        """The tensor that was packed."""
        dtype = _DTYPES[self.dtype]
        raw = np.frombuffer(zlib.decompress(self.bits), np.uint8).reshape(dtype.itemsize, -1)
        return torch.from_numpy(raw.T.copy().reshape(-1)).view(dtype).reshape(self.shape).to(device)

    def to_json(self) -> dict[str, Any]:
        """JSON object that `from_json` reads."""
        bits = base64.b64encode(self.bits).decode("ascii")
        return {"dtype": self.dtype, "shape": list(self.shape), "bits": bits}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PackedTensor:
        """Raises KeyError, TypeError or ValueError where the JSON is no tensor."""
        shape = tuple(int(size) for size in data["shape"])
        bits = base64.b64decode(data["bits"], validate=True)
        expected = _DTYPES[data["dtype"]].itemsize * math.prod(shape)
        stream = zlib.decompressobj()
        try:
            # One byte more than expected is enough to refuse a stream that would fill the memory.
            length = len(stream.decompress(bits, expected + 1))
        except zlib.error as error:
            raise ValueError(f"The numbers of a kept slice are no zlib stream: {error}.") from error
        if length != expected or not stream.eof:
            raise ValueError(f"The numbers of a kept slice do not fill their shape {shape}.")
        return cls(str(data["dtype"]), shape, bits)


@dataclass(frozen=True, eq=False)
class StoredSlice:
    """A conditioning slice as its decoding left it.

    logits: (1, 1, h, w) over `region`. quality: (1,). object_score: (1, 1). pointer: (1, D), or None where the network
    has none.
    """

    region: Region
    logits: PackedTensor
    quality: PackedTensor
    object_score: PackedTensor
    pointer: PackedTensor | None

    @classmethod
    def of(cls, entry: MemoryEntry) -> StoredSlice:
        """entry: of one object (batch 1), seen through a `Region`."""
        assert isinstance(entry.region, Region)
        pointer = None if entry.pointer is None else PackedTensor.of(entry.pointer)
        logits, quality, score = (PackedTensor.of(each) for each in (entry.logits, entry.quality, entry.object_score))
        return cls(entry.region, logits, quality, score, pointer)

    @torch.no_grad()
    def remembered(self, index: int, view: View) -> MemoryEntry:
        """The entry of slice `index`; its memory is encoded anew from the slice's features."""
        device = view.store.device
        logits, quality, score = (each.tensor(device) for each in (self.logits, self.quality, self.object_score))
        pointer = None if self.pointer is None else self.pointer.tensor(device)
        region, info = self.region, view.store.network.info
        if region.size not in (info.image_size, *info.smaller_sides):
            # Where it was stored the network took other sides than it does here, as on another device.
            region = replace(region, size=info.image_size)
            known = SliceLogits(self.region, logits[0, 0].float().cpu().numpy(), float(quality[0]), bool(score > 0))
            moved = known.seen_through(region, info.logit_size, view.slice_shape)
            logits = torch.from_numpy(moved)[None, None].to(device)
        memory = view.store.network.remember(view.features(index, region), logits, score, pointer, True)
        return MemoryEntry(index, True, logits, quality, score, pointer, memory, region)

    def to_json(self) -> dict[str, Any]:
        """JSON object that `from_json` reads."""
        extent = self.region.extent
        return {
            "region": [extent.top, extent.left, extent.bottom, extent.right, self.region.size],
            "logits": self.logits.to_json(),
            "quality": self.quality.to_json(),
            "object_score": self.object_score.to_json(),
            "pointer": None if self.pointer is None else self.pointer.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StoredSlice:
        """Raises KeyError, TypeError or ValueError where the JSON is no stored slice."""
        *edges, size = data["region"]
        top, left, bottom, right = (float(edge) for edge in edges)
        logits, quality, score = (PackedTensor.from_json(data[name]) for name in ("logits", "quality", "object_score"))
        pointer = None if data["pointer"] is None else PackedTensor.from_json(data["pointer"])
        return cls(Region(Extent(top, left, bottom, right), int(size)), logits, quality, score, pointer)

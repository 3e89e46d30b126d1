"""What the predictor knows of one video: its frames, and each object's prompts, memory and way so far."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from memseg3d.network.seam import Features, Network
from memseg3d.propagation.memory.bank.entries import MemoryBank, MemoryEntry
from memseg3d.video.frames import Frames

KEPT_FEATURES = 1 << 30
"""Bytes of image features that are kept; the `sam2` package keeps one frame's, and encodes again for every pass."""


@dataclass
class VideoObject:
    """One object. points: (points (1, N, 2) in network pixels, labels (1, N)) by frame; masks: frames with a mask.

    waiting: results of prompted frames that are not memory yet, by whether they will be conditioning ones, and frame.
    walked: the direction in which propagation came by last, by frame.
    """

    bank: MemoryBank = field(default_factory=MemoryBank)
    points: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    masks: set[int] = field(default_factory=set)
    waiting: dict[bool, dict[int, MemoryEntry]] = field(default_factory=lambda: {True: {}, False: {}})
    walked: dict[int, int] = field(default_factory=dict)

    def shown(self, frame: int, conditioning: bool) -> MemoryEntry | None:
        """The newest result of a frame."""
        return self.waiting[conditioning].get(frame) or self.bank.get(frame)


class VideoState:
    """The inference state. Scripts may look up state["num_frames"], "video_height", "video_width" and "obj_ids"."""

    def __init__(self, network: Network, frames: Frames, device: torch.device) -> None:
        self.network, self.frames, self._device = network, frames, device
        self.objects: dict[int, VideoObject] = {}
        self._features: OrderedDict[int, Features] = OrderedDict()

    def __getitem__(self, name: str) -> Any:
        known = {
            "num_frames": len(self.frames),
            "video_height": self.frames.height,
            "video_width": self.frames.width,
            "obj_ids": list(self.objects),
        }
        return known[name]

    def object(self, obj_id: int) -> VideoObject:
        """The object of that number; a new one where there is none. Objects may come after tracking began."""
        return self.objects.setdefault(obj_id, VideoObject())

    def features(self, frame: int) -> Features:
        """Image features of a frame, computed once as long as there is room for them."""
        found = self._features.get(frame)
        if found is None:
            found = self.network.encode(self.frames.image(frame).to(self._device))
            self._features[frame] = found
            size = sum(level.nbytes for level in found.levels)
            while len(self._features) * size > KEPT_FEATURES and len(self._features) > 1:
                self._features.popitem(last=False)
        else:
            self._features.move_to_end(frame)
        return found

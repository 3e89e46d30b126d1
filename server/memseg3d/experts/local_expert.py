"""The local expert: VISTA3D's network on a patch around a click, at the volume's own resolution (DualClickMed)."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from memseg3d.experts.clicks import as_clicks, click_map
from memseg3d.experts.opinions import sureness
from memseg3d.experts.regions import Region3, widened_region
from memseg3d.experts.seam import Answer, Box, Click, ExpertInfo, Request, Sighting
from memseg3d.experts.sight import Sight3
from memseg3d.experts.vista3d.network import Vista3D

SIDE = 128
"""Voxels of a published patch along each side."""


class LocalExpert:
    """Sees a patch. A volume that is smaller is seen whole, padded to what the network can halve.

    Published weights see the image and clicks; wider ones (`MAPS`) the previous mask and maps of clicks as well. The
    features of the last patch are kept where they depend on the image alone.
    """

    def __init__(self, network: Vista3D, info: ExpertInfo, sight: Sight3 | None = None) -> None:
        """sight: by default the published one: patches of 128 voxels."""
        self.network = network
        self.info = info
        self.sight = sight or Sight3(side=SIDE)
        self._features: tuple[object, Tensor] | None = None

    def region(self, sighting: Sighting) -> Region3:
        """About the newest click, else about the middle of what is known; moved into the volume."""
        known = sighting.box or sighting.mask
        center = sighting.clicks[-1] if sighting.clicks or known is None else known.center
        start, size, grid = [], [], []
        multiple = self.network.shape.multiple
        for at, side, step in zip(center, sighting.shape, sighting.spacing, strict=True):
            # the step of a cell in voxels; norms need two cells at the coarsest level
            coarse = self.sight.mm / step if self.sight.mm else 1.0
            cells = max(2 * multiple, min(self.sight.side, multiple * math.ceil(side / coarse / multiple)))
            length = max(1, round(cells * coarse))
            grid.append(cells)
            size.append(length)
            start.append(min(max(0, round(at) - length // 2), side - length) if side > length else (side - length) // 2)
        return Region3((start[0], start[1], start[2]), (size[0], size[1], size[2]), (grid[0], grid[1], grid[2]))

    def wider(self, region: Region3, sighting: Sighting) -> Region3 | None:
        """Half as long again, until it holds the volume."""
        return widened_region(region, sighting.shape)

    def segment(self, request: Request) -> Generator[None, None, Answer]:
        """One forward pass; boxes are their middles where no click is given."""
        yield
        return self._segment(request)

    def close(self) -> None:
        """Let go of the features."""
        self._features = None

    @torch.inference_mode()
    def _segment(self, request: Request) -> Answer:
        like = self.network.point_head.mask_tokens.weight
        clicks = as_clicks(request.prompts)
        if not clicks:
            boxes = [prompt for prompt in request.prompts if isinstance(prompt, Box)]
            clicks = [_middle(box) for box in boxes[-1:]] or [Click(_half(request.region.grid))]
        points = torch.tensor([[click.position for click in clicks]], dtype=torch.float32, device=like.device)
        labels = torch.tensor([[int(click.positive) for click in clicks]], device=like.device)
        features = self._seen(request, clicks, like)
        logits = self.network.point_head(features, points.to(like.dtype), labels)[0, 0].float().cpu().numpy()
        return Answer(logits, sureness(logits))

    def _seen(self, request: Request, clicks: list[Click], like: Tensor) -> Tensor:
        if self.network.shape.channels == 1:
            key = (request.volume, request.region, request.window)
            if self._features is None or self._features[0] != key:
                image = torch.from_numpy(request.shown())[None, None].to(like)
                self._features = None
                self._features = key, self.network.image_encoder(image)
            return self._features[1]
        maps = torch.from_numpy(shown_maps(request.shown(), request.previous, clicks))[None].to(like)
        found: Tensor = self.network.image_encoder(maps)
        return found


def shown_maps(image: np.ndarray, previous: np.ndarray | None, clicks: list[Click]) -> np.ndarray:
    """float32 (4, d, h, w): image in [0, 1], previous mask, maps of positive and of negative clicks."""
    shape = (image.shape[0], image.shape[1], image.shape[2])
    mask = np.zeros(shape, np.float32) if previous is None else previous.astype(np.float32)
    signs = [click_map([click for click in clicks if click.positive == sign], shape) for sign in (True, False)]
    return np.stack([image.astype(np.float32), mask, *signs])


def _middle(box: Box) -> Click:
    k, j, i = ((low + high) / 2 for low, high in zip(box.lower, box.upper, strict=True))
    return Click((k, j, i))


def _half(grid: tuple[int, int, int]) -> tuple[float, float, float]:
    return (grid[0] - 1) / 2, (grid[1] - 1) / 2, (grid[2] - 1) / 2

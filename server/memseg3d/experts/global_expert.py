"""The global expert: SAM-Med3D's network on a region scaled to the object (DualClickMed), or of fixed spacing."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from memseg3d.experts.clicks import as_clicks
from memseg3d.experts.opinions import sureness
from memseg3d.experts.regions import Extent3, Region3, resized, widened_region
from memseg3d.experts.sam_med3d.network import SamMed3D
from memseg3d.experts.seam import Answer, Box, Click, Drawn, ExpertInfo, Request, Sighting
from memseg3d.experts.sight import Sight3

MARGIN = 1.8
"""A region is so many times as long as the object along each axis (DualClickMed)."""
FEWEST_VOXELS = 8
CLICK_MM = 96.0
"""Side of the region about a click where nothing tells how large the object is."""
_KEPT = 8
_SCALE, _PLACES = 0.25, 8
"""Of regions about a mask: the step of their sizes in doublings, and places of their middle along each side."""


class GlobalExpert:
    """Sees the whole object in one cube.

    Image embeddings of the last regions are kept: a click in a region seen before costs the mask decoder alone.
    """

    def __init__(self, network: SamMed3D, info: ExpertInfo, sight: Sight3 | None = None) -> None:
        """sight: by default that of the published networks: 1.5 mm and grey values as they are at 128 voxels a side;
        the object's size and grey values from 0 to 255 at others.
        """
        self.network = network
        self.info = info
        self.sight = sight or (Sight3(1.5, windowed=False) if network.shape.side == 128 else Sight3())
        self._embeddings: OrderedDict[object, Tensor] = OrderedDict()

    def region(self, sighting: Sighting) -> Region3:
        """About the box, else about what stands of the object, else about the newest click."""
        side = self.network.shape.side
        grid = (side, side, side)
        known = sighting.box or sighting.mask
        # a click may lie beyond what is known: it has to be seen
        for click in sighting.clicks if known is not None else ():
            known = Extent3(click, click).joined(known)
        center = known.center if known is not None else sighting.clicks[-1]
        if self.sight.mm:
            k, j, i = (side * self.sight.mm / step for step in sighting.spacing)
            center = center if known is None or _fits(known, (k, j, i)) or not sighting.clicks else sighting.clicks[-1]
            return Region3.about(center, (k, j, i), grid)
        if known is None:
            k, j, i = (min(CLICK_MM / step, size) for step, size in zip(sighting.spacing, sighting.shape, strict=True))
            return Region3.about(center, (k, j, i), grid)
        sizes = [max(float(FEWEST_VOXELS), MARGIN * each) for each in known.size]
        if sighting.box is None:
            # a mask changes with every click: on a lattice the region, and so its embedding, mostly stays
            sizes = [2 ** (math.ceil(math.log2(each) / _SCALE) * _SCALE) for each in sizes]
            center = _on_lattice(center, sizes)
        k, j, i = (round(each) for each in sizes)
        return Region3.about(center, (k, j, i), grid)

    def wider(self, region: Region3, sighting: Sighting) -> Region3 | None:
        """Half as long again, until it holds the volume."""
        return widened_region(region, sighting.shape)

    @torch.inference_mode()
    def _segment(self, request: Request) -> Answer:
        network, shape = self.network, self.network.shape
        parameter = network.mask_decoder.mask_tokens.weight
        clicks = clicks_of(request.prompts, shape.side)
        points = torch.tensor([[click.position for click in clicks]], dtype=torch.float32, device=parameter.device)
        labels = torch.tensor([[int(click.positive) for click in clicks]], device=parameter.device)
        mask = torch.zeros(1, 1, shape.low, shape.low, shape.low, dtype=parameter.dtype, device=parameter.device)
        if request.previous is not None:
            # every second voxel of a binary mask, as published
            step = shape.side // shape.low
            seen = request.previous[::step, ::step, ::step] > 0.5
            mask[0, 0] = torch.from_numpy(seen.astype(np.float32)).to(parameter)
        logits, quality = network.decode(self._embedding(request, parameter), points, labels, mask)
        low = logits[0, 0].float().cpu().numpy()
        told = float(quality[0, 0].float().clamp(0, 1)) if quality is not None else sureness(low)
        return Answer(resized(low, request.region.grid), told)

    def segment(self, request: Request) -> Generator[None, None, Answer]:
        """One forward pass. Boxes and strokes reach the network as clicks, all that it was trained with."""
        yield
        return self._segment(request)

    def close(self) -> None:
        """Nothing is held but memory."""

    def _embedding(self, request: Request, like: Tensor) -> Tensor:
        key = (request.volume, request.region, request.window)
        found = self._embeddings.pop(key, None)
        if found is None:
            shown = 255 * request.shown() if self.sight.windowed and request.window is not None else request.image
            image = torch.from_numpy(normalised(shown))[None, None].to(like)
            found = self.network.image_encoder(image)
        self._embeddings[key] = found
        while len(self._embeddings) > _KEPT:
            self._embeddings.popitem(last=False)
        return found


def normalised(image: np.ndarray) -> np.ndarray:
    """Zero mean and unit deviation over the voxels above 0 (all, where none is); float32."""
    inner = image[image > 0]
    if inner.size < 2:
        inner = image.ravel()
    deviation = float(inner.std())
    return np.asarray((image - float(inner.mean())) / (deviation or 1.0), dtype=np.float32)


def clicks_of(prompts: tuple[Drawn, ...], side: int) -> list[Click]:
    """Clicks in the order in which the network was trained: the middle of the box first, then positive, then negative.

    A box is its middle, a stroke a few voxels along it. The published middle is voxel side / 2 - 1.
    """
    ordered = as_clicks(prompts)
    middle = side / 2 - 1
    if any(isinstance(prompt, Box) for prompt in prompts) or not any(click.positive for click in ordered):
        ordered.insert(0, Click((middle, middle, middle)))
    return ordered


def _fits(extent: Extent3, size: tuple[float, float, float]) -> bool:
    return all(one <= two for one, two in zip(extent.size, size, strict=True))


def _on_lattice(center: tuple[float, float, float], sizes: list[float]) -> tuple[float, float, float]:
    steps = [max(1.0, size / _PLACES) for size in sizes]
    k, j, i = (round(at / step) * step for at, step in zip(center, steps, strict=True))
    return k, j, i

"""An expert that knows no learning, so that what sessions make of its answers can be told voxel by voxel."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from memseg3d.experts.regions import Extent3, Region3
from memseg3d.experts.seam import Answer, ExpertInfo, Request, Sighting


class ThresholdExpert:
    """Says that everything brighter than 50 in its region is the object; its region is 1.5 times what is known.

    side: of the region about a click, in voxels. steps: it may be left so often before it answers. logit: how sure it
    is. info: more of what is told of it, as names and values.
    """

    def __init__(self, side: int = 12, steps: int = 1, logit: float = 4.0, **info: Any) -> None:
        self.info = ExpertInfo("threshold-expert", frozenset({"points"}), "ab" * 32, **info)
        self.requests: list[Request] = []
        self.side, self.steps, self.logit = side, steps, logit

    def region(self, sighting: Sighting) -> Region3:
        known = sighting.box or sighting.mask
        if known is None or self.info.sees_patch:
            return self._about(sighting.clicks[-1], (float(self.side),) * 3)
        for click in sighting.clicks:
            known = known.joined(Extent3(click, click))
        k, j, i = (1.5 * each for each in known.size)
        return self._about(known.center, (k, j, i))

    def wider(self, region: Region3, sighting: Sighting) -> Region3 | None:
        middle = [start + (size - 1) / 2 for start, size in zip(region.start, region.size, strict=True)]
        k, j, i = (1.5 * size for size in region.size)
        return self._about((middle[0], middle[1], middle[2]), (k, j, i))

    def segment(self, request: Request) -> Generator[None, None, Answer]:
        self.requests.append(request)
        for _ in range(self.steps):
            yield
        return Answer(np.where(request.image > 50, self.logit, -self.logit).astype(np.float32), 0.75)

    def close(self) -> None:
        """Nothing is held."""

    def _about(self, center: tuple[float, float, float], size: tuple[float, float, float]) -> Region3:
        found = Region3.about(center, size, (1, 1, 1))
        return Region3(found.start, found.size, found.size)

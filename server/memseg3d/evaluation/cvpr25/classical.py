"""Methods without a network as players of the challenge: each class from its box and clicks."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memseg3d.evaluation.classical import ClassicalSegmenter, Method
from memseg3d.evaluation.cvpr25.cases import ChallengeCase, ClassBox, ClassClicks, read_case, save
from memseg3d.evaluation.robot import Box, Click
from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.propagation.volume.volume import Volume


class ClassicalPlayer:
    """name: of the method. Classes without a box stay empty; where classes overlap, the smaller one has the voxel."""

    def __init__(self, name: str, method: Method, shell: int) -> None:
        self.name = self.identity = name
        self._method, self._shell = method, shell

    def play(self, case: str, inputs: Path, outputs: Path) -> float:
        """See `Player`."""
        begun = time.perf_counter()
        asked = read_case(inputs / case)
        save(outputs / case, {"segs": self._answer(asked)})
        return time.perf_counter() - begun

    def _answer(self, case: ChallengeCase) -> NDArray[np.uint8]:
        found = np.zeros(case.imgs.shape, np.uint8)
        x, y, z = case.spacing
        try:
            volume = Volume(np.ascontiguousarray(case.imgs), (z, y, x))
        except PropagationError:
            return found
        clicks = case.clicks or tuple(ClassClicks() for _ in case.boxes or ())
        masks = {
            place: self._mask(volume, box, own)
            for place, (box, own) in enumerate(zip(case.boxes or (), clicks, strict=False), start=1)
        }
        for place in sorted(masks, key=lambda each: -int(masks[each].sum())):
            found[masks[place]] = place
        return found

    def _mask(self, volume: Volume, box: ClassBox, clicks: ClassClicks) -> NDArray[np.bool_]:
        middle = min(max(box.z_mid, 0), volume.shape[0] - 1)
        drawn = Box(0, (middle, box.z_mid_y_min, box.z_mid_x_min), (middle, box.z_mid_y_max, box.z_mid_x_max))
        segmenter = ClassicalSegmenter(volume, self._method, self._shell)
        asked = clicks.in_order()
        if asked:
            segmenter.remember(drawn, [Click(0, place, positive) for place, positive in asked[:-1]])
            last, positive = asked[-1]
            mask = segmenter.answer(Click(0, last, positive)).mask
        else:
            mask = segmenter.answer(drawn).mask
        # the slices of the object are told, as far as clicks do not say otherwise
        told = [box.z_min, box.z_max, *(place[0] for place, positive in asked if positive)]
        mask[: min(told)] = False
        mask[max(told) + 1 :] = False
        return np.asarray(mask, bool)

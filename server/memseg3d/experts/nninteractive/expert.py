"""nnInteractive behind the seam: the whole volume, voxel by voxel; its own session zooms and remembers prompts."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from memseg3d.experts.nninteractive.checkpoint import LICENCE, clean_copy, require_consent
from memseg3d.experts.nninteractive.process import Child, find_python
from memseg3d.experts.regions import Region3
from memseg3d.experts.seam import Answer, Box, Click, Drawn, ExpertInfo, Request, Sighting
from memseg3d.network.models import describe_model

SURE = 4.0
"""The package tells masks without probabilities: every voxel's logit is this, or its negative."""
UNKNOWN_QUALITY = 0.5


class NnInteractiveExpert:
    """Points, boxes, scribbles and lassos, each as it was drawn; the newest one predicts.

    Where the object is not what the session said last (undone, edited by hand, another object), it begins anew with
    the mask as initial segmentation and all prompts.
    """

    def __init__(self, folder: Path, device: str = "cpu", zooms: bool = True) -> None:
        """Raises UnknownCheckpoint: licence not accepted, no environment, a checkpoint that is none."""
        require_consent(folder)
        self._python = find_python()
        # what it holds is gone with this object, however it ends
        self._scratch = tempfile.TemporaryDirectory(prefix="memseg3d-nninteractive-", ignore_cleanup_errors=True)
        self._folder = Path(self._scratch.name) / "model"
        clean_copy(folder, self._folder)
        model = describe_model(folder)
        reads = frozenset({"points", "box", "strokes", "lassos"})
        self.info = ExpertInfo(model.name, reads, model.sha256, model.licence or LICENCE, answers_whole=True)
        self._device, self._zooms = device, zooms
        self._child: Child | None = None
        self._volume = ""
        self._given: list[object] = []
        self._mask: np.ndarray | None = None
        self._is_busy = False

    def region(self, sighting: Sighting) -> Region3:
        """The whole volume."""
        return Region3.whole(sighting.shape)

    def wider(self, region: Region3, sighting: Sighting) -> Region3 | None:
        """There is nothing wider."""
        return None

    def segment(self, request: Request) -> Generator[None, None, Answer]:
        """One prediction, for the newest prompt. Raises ChildFailed with the package's own words."""
        # runs take turns step by step, and the session holds one object at a time
        while self._is_busy:
            yield
        self._is_busy = True
        try:
            return (yield from self._answered(request))
        finally:
            self._is_busy = False

    def _answered(self, request: Request) -> Generator[None, None, Answer]:
        child = yield from self._with_image(request)
        keys = [_key(prompt) for prompt in request.prompts]
        known, self._given = self._given, []
        shape = request.image.shape
        mask = np.zeros(shape, bool) if request.previous is None else request.previous > 0.5
        goes_on = self._mask is not None and known == keys[: len(known)] and np.array_equal(mask, self._mask)
        if not goes_on:
            known = []
            # a mask to begin with lets go of all prompts by itself
            words, content = ({"do": "initial"}, np.packbits(mask).tobytes()) if mask.any() else ({"do": "reset"}, b"")
            yield from child.ask(words, content)
        new = request.prompts[len(known) :]
        for place, prompt in enumerate(new):
            words, content = _message(prompt, shape)
            answer = yield from child.ask(words | {"predicts": place == len(new) - 1}, content)
            if place == len(new) - 1:
                mask = np.unpackbits(np.frombuffer(answer, np.uint8), count=mask.size).reshape(shape).astype(bool)
        self._given, self._mask = list(keys), mask
        return Answer(np.where(mask, np.float32(SURE), np.float32(-SURE)), UNKNOWN_QUALITY)

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close()
            self._child = None
        self._volume = ""

    def _with_image(self, request: Request) -> Generator[None, None, Child]:
        if self._child is None or not self._child.is_alive:
            self._child, self._volume = Child(self._python), ""
            asked = {"folder": str(self._folder), "device": self._device, "zooms": self._zooms}
            yield from self._child.ask({"do": "open", "threads": torch.get_num_threads(), **asked})
        child = self._child
        if self._volume != request.volume:
            self._given, self._mask = [], None
            image = np.ascontiguousarray(request.image, dtype=np.float32)
            yield from child.ask({"do": "image", "shape": list(image.shape)}, image.tobytes())
            self._volume = request.volume
        return child


def _key(prompt: Drawn) -> object:
    if isinstance(prompt, Click | Box):
        return prompt
    return prompt.positive, prompt.is_lasso, np.packbits(prompt.cover).tobytes()


def _message(prompt: Drawn, shape: tuple[int, ...]) -> tuple[dict[str, Any], bytes]:
    if isinstance(prompt, Click):
        at = [min(max(round(each), 0), side - 1) for each, side in zip(prompt.position, shape, strict=True)]
        return {"do": "point", "at": at, "positive": prompt.positive}, b""
    if isinstance(prompt, Box):
        sides = [
            [max(0, round(low)), min(side, round(high) + 1)]
            for low, high, side in zip(prompt.lower, prompt.upper, shape, strict=True)
        ]
        if all(stop - start > 1 for start, stop in sides):
            # the package takes no boxes in space: the middle slice stands for one
            middle = (sides[0][0] + sides[0][1]) // 2
            sides[0] = [middle, middle + 1]
        return {"do": "box", "box": sides}, b""
    kind = "lasso" if prompt.is_lasso else "scribble"
    return {"do": kind, "positive": prompt.positive}, np.packbits(prompt.cover).tobytes()

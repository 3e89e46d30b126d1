"""Prompts become voxels beside the compute thread, within a budget a request; clicks never wait for large drawings."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from memseg3d.propagation.prompts.as_json import prompt_from_json
from memseg3d.propagation.prompts.covered_voxels import Shape3
from memseg3d.propagation.prompts.prompts import LassoPrompt, Prompt, ScribblePrompt, slices_of
from memseg3d.propagation.sight.slice_prompts import with_drawn_voxels
from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.service.errors import ServiceError
from memseg3d.service.settings import Limits

Result = TypeVar("Result")

_LIGHT_POINTS, _LIGHT_VOXELS = 2000, 1 << 22
"""A request with no more than these is ready in some hundredths of a second."""


class DrawingThreads:
    """Few threads for what takes long and one for the rest, so that a click never waits for somebody's drawings."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        heavy = max(1, min(2, (os.cpu_count() or 2) // 2))
        self._heavy = ThreadPoolExecutor(heavy, "memseg3d-drawings", initializer=_step_back)
        self._light = ThreadPoolExecutor(1, "memseg3d-clicks")

    def is_light(self, words: Sequence[Mapping[str, Any]], shape: Shape3) -> bool:
        """Whether a request's prompts are ready in no time. Raises ServiceError `too_large`."""
        points, voxels = budget(words, shape, self._limits)
        return points <= _LIGHT_POINTS and voxels <= _LIGHT_VOXELS

    async def prompts(self, words: Sequence[Mapping[str, Any]], shape: Shape3) -> list[Prompt]:
        """The prompts of a request on a volume of `shape`, with all that single drawings cost done.

        Raises ServiceError: too_large, bad_prompt.
        """
        threads = self._light if self.is_light(words, shape) else self._heavy
        return await asyncio.get_running_loop().run_in_executor(threads, prepared, words, shape)

    async def run(self, function: Callable[[], Result]) -> Result:
        """Run what may take long, such as bringing a session back, in its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._heavy, function)

    def close(self) -> None:
        """Begin nothing more."""
        for threads in (self._light, self._heavy):
            threads.shutdown(wait=False, cancel_futures=True)


def _step_back() -> None:
    """Let the compute thread have the processor first, where the system orders threads and not programs alone."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def budget(words: Sequence[Mapping[str, Any]], shape: Shape3, limits: Limits) -> tuple[int, int]:
    """How many points and voxels the drawings of a request have. Raises ServiceError `too_large`."""
    if len(words) > limits.prompts:
        raise ServiceError(
            "too_large", f"A round takes {limits.prompts} prompts; this one has {len(words)}: send several."
        )
    points = sum(len(each.get("points", ())) for each in words)
    if points > limits.points:
        raise ServiceError(
            "too_large", f"The strokes and lassos of a round have {limits.points} points at most: send several rounds."
        )
    voxels = sum(_voxels(each, shape) for each in words)
    if voxels > limits.drawn_voxels:
        raise ServiceError(
            "too_large",
            f"The drawings of this round lie on slices of {voxels} voxels, and one round takes {limits.drawn_voxels}: "
            "send several rounds.",
        )
    return points, voxels


def prepared(words: Sequence[Mapping[str, Any]], shape: Shape3) -> list[Prompt]:
    """The prompts, checked and drawn. Raises ServiceError `bad_prompt`."""
    try:
        prompts = [prompt_from_json(each, shape) for each in words]
    except PropagationError as error:
        raise ServiceError("bad_prompt", error.message) from error
    except MemoryError as error:
        raise ServiceError("too_large", "The memory does not suffice for these drawings: send fewer.") from error
    for prompt in prompts:
        _foresee(prompt, shape)
    return prompts


def _foresee(prompt: Prompt, shape: Shape3) -> None:
    """Let a drawing find now what its own slice will ask it for; it keeps that."""
    if isinstance(prompt, ScribblePrompt):
        prompt.cover.clicks(prompt.axis, prompt.cover.corner[prompt.axis])
    elif isinstance(prompt, LassoPrompt) and prompt.positive:
        plane = [size for axis, size in enumerate(shape) if axis != prompt.axis]
        with_drawn_voxels(np.zeros(plane, bool), [prompt], prompt.axis, slices_of(prompt, prompt.axis)[0])


def _voxels(words: Mapping[str, Any], shape: Shape3) -> int:
    if words["type"] == "voxels":
        return math.prod(max(0, high - low) for low, high in words["extent"])
    if words["type"] in ("scribble", "lasso", "mask"):
        return math.prod(size for axis, size in enumerate(shape) if axis != words["axis"])
    return 0

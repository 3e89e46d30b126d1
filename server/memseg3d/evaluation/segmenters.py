"""What the robot plays against: a session with a network, or another method that answers prompts with a mask."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from memseg3d.evaluation.robot import Box, Click
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.events import RoundDone, SliceDone
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.volume.volume import Volume

OBJECT = 1


@dataclass(frozen=True, eq=False)
class Answer:
    """A round's answer. mask: (k, j, i) boolean, the whole object. seconds: of the segmentation alone.

    first_mask: seconds until the first slice could be shown, None where that is the end. slices: computed in this
    round. qualities: predicted quality by slice, expected: wrong pixels that the tool expects on each slice without a
    prompt; empty where the method has no opinion of itself.
    """

    mask: NDArray[Any]
    seconds: float
    first_mask: float | None
    slices: int
    qualities: dict[int, float] = field(default_factory=dict)
    expected: dict[int, float] = field(default_factory=dict)


class Segmenter(Protocol):
    """One object in the making; every prompt adds to those before."""

    def answer(self, prompt: Box | Click) -> Answer:
        """Segment with this prompt and all earlier ones."""
        ...


class SessionSegmenter:
    """A network in a real session, as the worker runs it."""

    def __init__(self, volume: Volume, network: Network, options: Options, store: FeatureStore | None = None) -> None:
        """store: image features that others have computed of the same volume."""
        self.session = Session(volume, network, options, store)
        self._rounds = 0

    def answer(self, prompt: Box | Click) -> Answer:
        """Run one round of the session."""
        self._rounds += 1
        started = time.perf_counter()
        times: list[float] = []
        seconds = 0.0
        for event in self.session.begin(f"round {self._rounds}", [_prompt(prompt)]):
            if isinstance(event, SliceDone):
                times.append(time.perf_counter() - started)
            elif isinstance(event, RoundDone):
                seconds = time.perf_counter() - started
        _, qualities = self.session.qualities(OBJECT)
        first = times[0] if times else None
        expected = self.session.expected_errors(OBJECT)
        return Answer(self.session.labelmap(OBJECT), seconds, first, len(times), qualities, expected)


def _prompt(prompt: Box | Click) -> BoxPrompt | PointPrompt:
    if isinstance(prompt, Box):
        return BoxPrompt(OBJECT, prompt.axis, prompt.lower, prompt.upper)
    return PointPrompt(OBJECT, prompt.position, prompt.positive, prompt.axis)

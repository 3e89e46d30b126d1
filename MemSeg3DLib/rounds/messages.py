"""The words of the Workbench: what panels show of messages, prompts, rounds, and of what a crash has left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["info", "warning", "error"]
PromptState = Literal["pending", "queued", "sent"]


@dataclass(frozen=True)
class Message:
    """A sentence for the user."""

    level: Level
    text: str


@dataclass(frozen=True)
class PromptEntry:
    """A prompt as a list shows it. index: its slice across `axis`; the middle one where it spans several.

    state: pending (waits for Run), queued (in the present run), sent (a round holds it). node_id: its markups; empty
    for masks.
    """

    id: str
    segment_id: str
    kind: str
    positive: bool
    axis: int
    index: int
    state: PromptState
    node_id: str


@dataclass(frozen=True)
class RoundInfo:
    """A round as a list shows it. number: 1 is the first; time: local, to the second; segments: ids.

    seconds: what it took on the worker, 0 where nobody knows. voted: how many of them, and how many slices, the vote of
    three axes took; None without one. full: ids of segments that were computed anew.
    """

    id: str
    number: int
    time: str
    segments: tuple[str, ...]
    applied: bool
    seconds: float = 0.0
    voted: tuple[float, int] | None = None
    full: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recoverable:
    """Rounds that only a journal holds. name: of the journal; segmentation_id: of the node that they belong to,

    empty where there is none: they then come back as a new segmentation of the selected volume. end: how the journal
    ended, None after a crash.
    """

    name: str
    segmentation_id: str
    segments: int
    rounds: int
    time: str
    end: Literal["closed", "deleted"] | None = None

    def __str__(self) -> str:
        rounds = "1 round" if self.rounds == 1 else f"{self.rounds} rounds"
        segments = "1 segment" if self.segments == 1 else f"{self.segments} segments"
        return f"{rounds} on {segments}, the last one at {self.time}"

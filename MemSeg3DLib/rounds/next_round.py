"""What the next round of a segmentation asks for: new prompts, removed ones, edits by hand and approved slices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from MemSeg3DLib.base.packing import extent_shape, unpack_bits
from MemSeg3DLib.prompts.prompts import Box3DPrompt, BoxPrompt, ExtremePointsPrompt, LassoPrompt, MaskPrompt, Prompt
from MemSeg3DLib.rounds.hand_edits import APPROVED, EDITED, GIVEN, HandEdits
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.history.record import RoundRecord
from MemSeg3DLib.segments.slice_locks import SliceLocks
from MemSeg3DLib.worker.sessions import standing_prompts


@dataclass
class NextRound:
    """Prompts to send and ids, as they travelled, of those that no longer count.

    segments: whose slices may change. later: prompts for the round after this one, since a round propagates a segment
    along one axis.
    """

    prompts: list[Prompt] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    segments: list[str] = field(default_factory=list)
    later: list[Prompt] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.prompts or self.removed)


class StandingPrompts:
    """The prompts that stand by the applied rounds on the volume of the last one, and which drawn prompt each was.

    With other options the worker has another session; the prompts of the earlier one are taken along when they are
    needed, so they stand all the same.
    """

    def __init__(self, history: RoundHistory) -> None:
        applied = history.applied
        session = [one for one in applied if one.volume == applied[-1].volume]
        self.wire = standing_prompts(session)
        self.sent = drawn_ids(applied)
        """Ids of drawn prompts that rounds hold, also on other volumes."""
        self._drawn = drawn_ids(session)
        self._segments = {label: segment for segment, label in history.labels().items()}

    def drawn_of(self, wire_id: str) -> str | None:
        """The drawn prompt that a prompt on the wire came from; some become several there."""
        if wire_id in self._drawn:
            return wire_id
        return next((one for one in self._drawn if wire_id.startswith(one)), None)

    def segment_of(self, wire_id: str) -> str | None:
        """The segment that a prompt on the wire belongs to."""
        return self._segments.get(self.wire[wire_id]["object"])

    def masks(self, segment_id: str, *kinds: str) -> dict[str, dict[str, Any]]:
        """Mask prompts of a segment whose ids begin with one of `kinds`."""
        return {
            name: words
            for name, words in self.wire.items()
            if name.startswith(kinds) and self.segment_of(name) == segment_id
        }

    def axis_of(self, segment_id: str, default: int | None = None) -> int | None:
        """The axis that a segment is propagated along: of its newest outline, else `default`, else its first prompt's.

        None where it has no prompt yet.
        """
        own = [words for name, words in self.wire.items() if self.segment_of(name) == segment_id]
        drawn = [words for words in own if _outlines(words)]
        if drawn:
            return int(drawn[-1]["axis"])
        return int(own[0]["axis"]) if default is None and own else default


def is_outline(prompt: Prompt) -> bool:
    """True for what outlines the object on its slice, and so decides along which axis it is propagated."""
    if isinstance(prompt, MaskPrompt):
        return bool(prompt.mask.any())
    if isinstance(prompt, LassoPrompt):
        return prompt.positive
    return isinstance(prompt, BoxPrompt | Box3DPrompt | ExtremePointsPrompt)


def _outlines(words: Mapping[str, Any]) -> bool:
    """`is_outline` of a prompt as it travelled."""
    if words["type"] == "mask":
        (k0, k1), (j0, j1), (i0, i1) = words["extent"]
        return bool(unpack_bits(words["bits"], extent_shape(((k0, k1), (j0, j1), (i0, i1)))).any())
    if words["type"] == "lasso":
        return bool(words.get("positive", True))
    return words["type"] in ("box", "box3d", "extreme_points")


def drawn_ids(records: Iterable[RoundRecord]) -> set[str]:
    """Ids of the drawn prompts of rounds."""
    return {str(one["id"]) for record in records for one in record.drawn}


def compose_round(
    pending: Iterable[Prompt],
    in_scene: Collection[str],
    dropped: Collection[str],
    standing: StandingPrompts,
    edits: HandEdits,
    locks: SliceLocks,
    present: Collection[str],
    options: Mapping[str, Any],
    also: str | None = None,
) -> NextRound:
    """Put the next round together.

    pending: prompts that no round holds. in_scene: ids of every drawn prompt that is still there; a prompt of the
    session that is not among them is removed, as are the masks in `dropped`. present: ids of the segments that exist.
    also: a segment whose edits count although it has no new prompt.
    """
    asked = NextRound()
    outlined: dict[str, int] = {}
    for one in pending:
        if one.segment_id not in present:
            continue
        if is_outline(one) and outlined.setdefault(one.segment_id, one.axis) != one.axis:
            asked.later.append(one)
        else:
            asked.prompts.append(one)
    for wire_id in standing.wire:
        segment = standing.segment_of(wire_id)
        drawn = standing.drawn_of(wire_id)
        # A deleted segment keeps its prompts: the user's undo may bring it back.
        if segment in present and (wire_id in dropped or (drawn is not None and drawn not in in_scene)):
            asked.removed.append(wire_id)
    touched = dict.fromkeys(one.segment_id for one in asked.prompts)
    touched |= dict.fromkeys(segment for one in asked.removed if (segment := standing.segment_of(one)) is not None)
    if also is not None and also in present:
        touched[also] = None
    for segment in touched:
        axis = outlined.get(segment, standing.axis_of(segment, options.get("axis")))
        if axis is None:
            axis = next((one.axis for one in asked.prompts if one.segment_id == segment), 0)
        _add_masks(asked, segment, int(axis), standing, edits, locks)
    asked.segments = list(touched)
    asked.removed = list(dict.fromkeys(asked.removed))
    return asked


def _add_masks(
    asked: NextRound, segment: str, axis: int, standing: StandingPrompts, edits: HandEdits, locks: SliceLocks
) -> None:
    """Edited and approved slices of one segment; a newer mask of a slice takes the older one's place.

    Masks across another axis than the segment is propagated along would turn the propagation: they are not sent.
    """
    approved = frozenset(place for place in locks.approved(segment) if place[0] == axis)
    given = {(one.axis, one.index) for one in asked.prompts if isinstance(one, MaskPrompt)}
    fresh = [
        one
        for one in edits.edited(segment, axis)
        if (one.axis, one.index) not in approved and (one.axis, one.index) not in given
    ]
    fresh += edits.approved(segment, approved, standing.masks(segment, APPROVED))
    places = {(one.axis, one.index) for one in fresh} | given
    for name, words in standing.masks(segment, EDITED, APPROVED, GIVEN).items():
        place = (words["axis"], words["extent"][words["axis"]][0])
        is_open = name.startswith(APPROVED) and place not in locks.approved(segment)
        if is_open or place in places:
            asked.removed.append(name)
    asked.prompts += fresh

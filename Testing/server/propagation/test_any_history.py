"""Whatever a user does, in whatever order: states come back exactly, and records tell them all."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from memseg3d.propagation.options import Options
from memseg3d.propagation.prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt, PromptError
from memseg3d.propagation.session import Session
from memseg3d.propagation.volume import Volume

from .conftest import BALL, ThresholdNetwork, finish

VOLUME = Volume(np.where(BALL, 100, 10).astype(np.int16), (2.0, 1.0, 1.0))
OPTIONS = Options(window=(0.0, 110.0))


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    """Any valid prompt of one of two objects."""
    number, axis = draw(st.integers(1, 2)), draw(st.integers(0, 2))
    position = [draw(st.integers(0, size - 3)) for size in VOLUME.shape]
    kind = draw(st.sampled_from(["point", "point", "box", "mask"]))
    if kind == "point":
        return PointPrompt(number, (position[0], position[1], position[2]), draw(st.booleans()), axis)
    if kind == "box":
        upper = [at + draw(st.integers(1, size - 1 - at)) for at, size in zip(position, VOLUME.shape, strict=True)]
        upper[axis] = position[axis]
        return BoxPrompt(number, axis, (position[0], position[1], position[2]), (upper[0], upper[1], upper[2]))
    mask = np.zeros(VOLUME.slice_shape(axis), bool)
    mask[draw(st.integers(0, 20)) :, draw(st.integers(0, 20)) :] = True
    return MaskPrompt(number, axis, position[axis], mask)


ACTIONS = st.one_of(
    st.tuples(st.just("round"), st.lists(prompts(), min_size=1, max_size=3)),
    st.tuples(st.just("cancelled"), st.lists(prompts(), min_size=1, max_size=2)),
    st.tuples(st.sampled_from(["remove", "undo", "redo"]), st.integers(0, 5)),
)


def state_of(session: Session) -> dict[str, Any]:
    return {"objects": session.objects, "suggested": session.suggested, "applied": session.applied}


@settings(max_examples=15, deadline=None)
@given(st.booleans(), st.lists(ACTIONS, min_size=2, max_size=6))
def test_any_history_can_be_undone_redone_and_restored(crop: bool, actions: list[tuple[str, Any]]) -> None:
    session = Session(VOLUME, ThresholdNetwork(prefers_crop=crop), OPTIONS)
    states = [state_of(session)]
    for place, (name, what) in enumerate(actions):
        before = state_of(session)
        try:
            if name == "round":
                finish(session.begin(str(place), what))
            elif name == "remove":
                known = [prompt.id for record in session.rounds[: session.applied] for prompt in record.prompts]
                finish(session.begin(str(place), [], [known[what % len(known)]] if known else []))
            elif name == "cancelled":
                run = session.begin(str(place), what)
                for _ in range(4):
                    next(run)
                run.cancel()
                finish(run)
                assert state_of(session) == before
                continue
            elif name == "undo" and session.applied:
                session.undo()
                assert state_of(session) == states[session.applied]
                continue
            elif name == "redo" and session.applied < len(session.rounds):
                session.redo()
                assert state_of(session) == states[session.applied]
                continue
            else:
                continue
        except PromptError:
            assert state_of(session) == before
            continue
        del states[session.applied :]
        states.append(state_of(session))
    restored = Session(VOLUME, ThresholdNetwork(prefers_crop=crop), OPTIONS)
    restored.restore(json.loads(json.dumps(session.records())), session.applied)
    assert state_of(restored) == state_of(session)
    for number in session.objects:
        np.testing.assert_array_equal(restored.labelmap(number), session.labelmap(number))
    while restored.applied:
        restored.undo()
        assert state_of(restored) == states[restored.applied]
    assert restored.objects == {}

"""Whatever a user does, in whatever order: states come back exactly, and records tell them all."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from memseg3d.propagation.prompts.covered_voxels import CoveredVoxels
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    PromptError,
    ScribblePrompt,
    VoxelsPrompt,
)
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import BALL, ThresholdNetwork, finish

VOLUME = Volume(np.where(BALL, 100, 10).astype(np.int16), (2.0, 1.0, 1.0))
OPTIONS = Options(window=(0.0, 110.0))


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    """Any valid prompt of one of two objects."""
    number, axis = draw(st.integers(1, 2)), draw(st.integers(0, 2))
    position = [draw(st.integers(0, size - 3)) for size in VOLUME.shape]
    kind = draw(st.sampled_from(["point", "point", "box", "mask", "box3d", "extremes", "line", "voxels", "none"]))
    if kind == "point":
        return PointPrompt(number, (position[0], position[1], position[2]), draw(st.booleans()), axis)
    corner = (position[0], position[1], position[2])
    if kind in ("box", "box3d", "extremes"):
        upper = [at + draw(st.integers(1, size - 1 - at)) for at, size in zip(position, VOLUME.shape, strict=True)]
        end = (upper[0], upper[1], upper[2])
        if kind == "box3d":
            return Box3DPrompt(number, axis, corner, end)
        upper[axis] = position[axis]
        if kind == "extremes":
            flat = (upper[0], upper[1], upper[2])
            ends = draw(st.sampled_from([(), (end,)]))
            return ExtremePointsPrompt(number, axis, (corner, flat, corner, flat, *ends))
        return BoxPrompt(number, axis, (position[0], position[1], position[2]), (upper[0], upper[1], upper[2]))
    if kind == "line":
        points = []
        for _ in range(draw(st.integers(3, 6))):
            point = [draw(st.integers(-5, size + 5)) for size in VOLUME.shape]
            point[axis] = position[axis]
            points.append((point[0], point[1], point[2]))
        positive = draw(st.booleans())
        if draw(st.booleans()):
            return LassoPrompt(number, axis, tuple(points), VOLUME.shape, positive)
        return ScribblePrompt(number, axis, tuple(points), (1.0, 1.5, 2.0), VOLUME.shape, positive)
    if kind == "voxels":
        size = tuple(draw(st.integers(1, n - at)) for at, n in zip(position, VOLUME.shape, strict=True))
        return VoxelsPrompt(number, axis, CoveredVoxels(VOLUME.shape, corner, np.ones(size, bool)), draw(st.booleans()))
    mask = np.zeros(VOLUME.slice_shape(axis), bool)
    if kind == "none":
        return MaskPrompt(number, axis, position[axis], mask)
    mask[draw(st.integers(0, 20)) :, draw(st.integers(0, 20)) :] = True
    return MaskPrompt(number, axis, position[axis], mask)


ACTIONS = st.one_of(
    st.tuples(st.just("round"), st.lists(prompts(), min_size=1, max_size=3)),
    st.tuples(st.just("cancelled"), st.lists(prompts(), min_size=1, max_size=2)),
    st.tuples(st.sampled_from(["remove", "undo", "redo"]), st.integers(0, 5)),
)


def state_of(session: Session) -> dict[str, Any]:
    return {"objects": session.objects, "suggested": session.suggested, "applied": session.applied}


@settings(max_examples=30, deadline=None)
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
                for _ in zip(range(4), run, strict=False):
                    pass
                if run.is_open:
                    run.cancel()
                    finish(run)
                    assert state_of(session) == before
                    continue
                # A round that had nothing to compute has closed already.
                assert session.applied == before["applied"] + 1
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

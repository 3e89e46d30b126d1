"""Experts in sessions: alone or after propagation, within their region; rounds, undo, cancel, replay as ever."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from memseg3d.experts.companions import ExpertAlone, accompany
from memseg3d.network.nano import NanoConfig, NanoNetwork
from memseg3d.propagation.prompts.events import RoundDone, SliceDone
from memseg3d.propagation.prompts.prompts import Box3DPrompt, BoxPrompt, LassoPrompt, MaskPrompt, PointPrompt, Prompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import ThresholdExpert

SHAPE = (30, 40, 40)


def bright_boxes(*boxes: tuple[slice, slice, slice]) -> Volume:
    """A dark volume with bright boxes in it."""
    voxels = np.zeros(SHAPE, np.float32)
    for box in boxes:
        voxels[box] = 100.0
    return Volume(voxels, (2.0, 1.0, 1.0))


LIVER = np.s_[10:18, 10:20, 10:20]
SPOT = np.s_[12:15, 30:34, 30:34]


def run(session: Session, name: str, prompts: Sequence[Prompt], **more: object) -> list[SliceDone]:
    events = list(session.begin(name, prompts, **more))  # type: ignore[arg-type]
    assert isinstance(events[-1], RoundDone)
    assert events[-1].status == "closed"
    return [event for event in events if isinstance(event, SliceDone)]


def truth(volume: Volume, box: tuple[slice, slice, slice]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[box] = True
    return mask


def test_a_box_is_answered_in_its_region_alone() -> None:
    volume, expert = bright_boxes(LIVER, SPOT), ThresholdExpert()
    session = Session(volume, ExpertAlone(expert))
    slices = run(session, "first", [Box3DPrompt(1, 0, (10, 10, 10), (17, 19, 19))])
    assert np.array_equal(session.labelmap(1), truth(volume, LIVER))
    assert {one.index for one in slices} == set(range(10, 18))
    assert session.qualities(1)[1][12] == 0.75
    assert expert.requests[0].previous is None


@pytest.mark.parametrize(
    "prompt",
    [
        BoxPrompt(1, 0, (14, 10, 10), (14, 19, 19)),
        PointPrompt(1, (14, 15, 15)),
        LassoPrompt(1, 0, ((14, 9, 9), (14, 9, 20), (14, 20, 20), (14, 20, 9)), SHAPE),
        BoxPrompt(1, 1, (10, 14, 10), (17, 14, 19)),
    ],
    ids=["box", "click", "lasso", "box-across-j"],
)
def test_what_is_told_of_one_slice_is_enough(prompt: Prompt) -> None:
    volume = bright_boxes(LIVER)
    session = Session(volume, ExpertAlone(ThresholdExpert()))
    run(session, "first", [prompt])
    assert np.array_equal(session.labelmap(1), truth(volume, LIVER))


def test_the_region_grows_while_the_object_reaches_beyond() -> None:
    volume, expert = bright_boxes(np.s_[2:28, 5:35, 5:35]), ThresholdExpert(side=8)
    session = Session(volume, ExpertAlone(expert))
    run(session, "first", [PointPrompt(1, (15, 20, 20))])
    sizes = [request.region.size[1] for request in expert.requests]
    assert sizes[:3] == [8, 12, 18]
    assert session.labelmap(1)[:, 20, 20].sum() == 26


def test_a_click_changes_only_the_part_that_it_concerns() -> None:
    other = np.s_[12:15, 30:34, 12:16]
    volume = bright_boxes(LIVER, SPOT, other)
    session = Session(volume, ExpertAlone(ThresholdExpert()))
    run(session, "first", [Box3DPrompt(1, 0, (10, 10, 10), (17, 19, 19))])
    # A click beyond a box in space takes the object as far as the click and no further: so at the far corner.
    run(session, "second", [PointPrompt(1, (13, 33, 33))])
    assert np.array_equal(session.labelmap(1), truth(volume, LIVER) | truth(volume, SPOT)), "the third part stays out"


def test_a_users_own_slice_is_kept() -> None:
    volume = bright_boxes(LIVER)
    session = Session(volume, ExpertAlone(ThresholdExpert()))
    own = np.zeros(SHAPE[1:], bool)
    own[12:14, 12:14] = True
    run(session, "first", [MaskPrompt(1, 0, 14, own), PointPrompt(1, (12, 15, 15))])
    assert np.array_equal(session.labelmap(1)[14], own)
    assert np.array_equal(session.labelmap(1)[13], truth(volume, LIVER)[13])


def test_undo_redo_and_a_restored_session_are_the_same() -> None:
    volume = bright_boxes(LIVER, SPOT)
    session = Session(volume, ExpertAlone(ThresholdExpert()))
    run(session, "first", [Box3DPrompt(1, 0, (10, 10, 10), (17, 19, 19))])
    run(session, "second", [PointPrompt(1, (13, 31, 31))])
    both = session.labelmap(1)
    session.undo()
    assert np.array_equal(session.labelmap(1), truth(volume, LIVER))
    session.redo()
    restored = Session(volume, ExpertAlone(ThresholdExpert()))
    restored.restore(session.records())
    assert np.array_equal(restored.labelmap(1), both)
    run(restored, "again", [], full=[1])
    assert np.array_equal(restored.labelmap(1), both), "computed anew from its prompts alone"


def test_a_withdrawn_prompt_is_forgotten() -> None:
    volume = bright_boxes(LIVER, SPOT)
    session = Session(volume, ExpertAlone(ThresholdExpert()))
    run(session, "first", [Box3DPrompt(1, 0, (10, 10, 10), (17, 19, 19))])
    run(session, "second", [PointPrompt(1, (13, 31, 31), id="wrong")])
    run(session, "third", [], removed=["wrong"])
    assert not session.labelmap(1)[SPOT].any()
    assert session.labelmap(1)[LIVER].all()


def test_a_run_is_cancelled_while_the_expert_thinks() -> None:
    session = Session(bright_boxes(LIVER), ExpertAlone(ThresholdExpert(steps=100)))
    running = session.begin("first", [PointPrompt(1, (14, 15, 15))])
    for _ in range(5):
        next(running)
    running.cancel()
    assert [event.status for event in running if isinstance(event, RoundDone)] == ["cancelled"]
    assert session.objects == {}
    run(session, "again", [PointPrompt(1, (14, 15, 15))])


def test_after_propagation_the_expert_sees_what_was_found() -> None:
    torch.manual_seed(0)
    network = NanoNetwork(NanoConfig(image_size=32, widths=(8, 8, 16, 16), key_width=16)).eval().requires_grad_(False)
    expert = ThresholdExpert()
    volume = bright_boxes(LIVER)
    session = Session(volume, accompany(network, expert))
    assert network.info.name.endswith("+threshold-expert")
    run(session, "first", [BoxPrompt(1, 0, (14, 10, 10), (14, 19, 19)), PointPrompt(1, (14, 15, 15))])
    [request] = expert.requests[:1]
    assert request.previous is not None, "a mask of propagation"
    inside = np.zeros(SHAPE, bool)
    inside[request.region.inside(SHAPE)] = True
    changed = session.labelmap(1)
    assert np.array_equal(changed & inside, truth(volume, LIVER) & inside)


def test_objects_are_answered_each_for_itself() -> None:
    volume = bright_boxes(LIVER, SPOT)
    session = Session(volume, ExpertAlone(ThresholdExpert()))
    boxes = [Box3DPrompt(1, 0, (10, 10, 10), (17, 19, 19)), Box3DPrompt(2, 0, (12, 30, 30), (14, 33, 33))]
    run(session, "first", boxes)
    assert np.array_equal(session.labelmap(1), truth(volume, LIVER))
    assert np.array_equal(session.labelmap(2), truth(volume, SPOT))

"""An object keeps out of other segments, within its grey values, and between the slices that show it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from memseg3d.propagation.prompts.limits import SliceLimits
from memseg3d.propagation.prompts.object_limits import ObjectLimits, OtherSegments, limits_from_json
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptError
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import ThresholdNetwork, finish

SHAPE = (30, 40, 44)
OBJECT, NEIGHBOUR, BEHIND = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
OBJECT[3:27, 12:24, 8:18] = True
NEIGHBOUR[12:27, 12:24, 18:26] = True
"""Touches the object on some slices, and is as bright."""
BEHIND[12:27, 12:24, 26:36] = True
"""Touches the neighbour alone: only what has leaked into that one comes here."""
VOXELS = np.where(OBJECT | NEIGHBOUR | BEHIND, 100, 10).astype(np.int16)
VOXELS[OBJECT & (np.arange(SHAPE[1])[:, None] >= 22)] = 140
VOLUME = Volume(VOXELS, (2.0, 1.0, 1.0))
BOX = BoxPrompt(1, 0, (8, 12, 8), (8, 23, 17), "box")
OTHER_BOX = BoxPrompt(2, 0, (20, 12, 18), (20, 23, 25), "other")


def a_session() -> Session:
    return Session(VOLUME, ThresholdNetwork(), Options(window=(0.0, 110.0), tolerance=0.0))


def outside(voxels: np.ndarray, *objects: int) -> ObjectLimits:
    return ObjectLimits(others=OtherSegments.of_voxels(voxels, objects))


def test_without_its_neighbour_told_the_object_leaks_through_it() -> None:
    session = a_session()
    finish(session.begin("1", [BOX]))
    assert (session.labelmap(1) & BEHIND).any()


def test_an_object_keeps_out_of_voxels_of_others_and_so_does_what_follows_from_it() -> None:
    session = a_session()
    finish(session.begin("1", [BOX], limits={1: outside(NEIGHBOUR)}))
    assert np.array_equal(session.labelmap(1), OBJECT), "the leak behind the neighbour never began"


def test_an_object_keeps_out_of_others_of_its_session_as_they_stand() -> None:
    session = a_session()
    finish(session.begin("1", [OTHER_BOX], limits={2: outside(OBJECT | BEHIND)}))
    assert np.array_equal(session.labelmap(2), NEIGHBOUR)
    finish(session.begin("2", [BOX], limits={1: outside(np.zeros(SHAPE, bool), 2, 7)}))
    assert np.array_equal(session.labelmap(1), OBJECT), "object 7, which there is none of, says nothing"


def test_what_stood_before_gives_way_to_others_on_every_slice() -> None:
    session = a_session()
    finish(session.begin("1", [BOX]))
    done, _ = finish(session.begin("2", [PointPrompt(1, (8, 18, 12))], limits={1: outside(NEIGHBOUR | BEHIND)}))
    assert np.array_equal(session.labelmap(1), OBJECT)
    assert not any((each.mask & NEIGHBOUR[each.index]).any() for each in done)


def test_only_grey_values_within_the_range_are_the_objects() -> None:
    session = a_session()
    done, _ = finish(session.begin("1", [BOX], limits={1: ObjectLimits(grey_values=(50, 120))}))
    found = session.labelmap(1)
    assert found.any()
    assert set(np.unique(VOXELS[found])) == {100}
    assert all((VOXELS[each.index][each.mask] <= 120).all() for each in done), "nothing else is streamed, either"
    finish(session.begin("2", [PointPrompt(1, (8, 23, 12))], limits={1: ObjectLimits(grey_values=(50, 120))}))
    assert not session.labelmap(1)[8, 23, 12], "the range goes before a click"


def drawn(index: int) -> MaskPrompt:
    return MaskPrompt(1, 0, index, OBJECT[index], f"drawn-{index}")


def test_two_drawn_slices_are_filled_between_and_not_beyond() -> None:
    session = a_session()
    prompts = [replace(drawn(6)), drawn(11)]
    finish(session.begin("1", prompts, limits={1: ObjectLimits(between=True)}))
    assert session.labels(1).slices_with_content(0).tolist() == list(range(6, 12))
    finish(session.begin("2", [drawn(9)]))
    assert session.labels(1).slices_with_content(0).tolist() == list(range(6, 12)), "a slice between changes no end"
    assert session.rounds[0].limits[1].slices == SliceLimits(0, 6, 11)


def test_between_needs_two_slices_that_show_the_object() -> None:
    absent = MaskPrompt(1, 0, 12, np.zeros(SHAPE[1:], bool))
    for prompts in ([drawn(6)], [drawn(6), absent]):
        with pytest.raises(PromptError, match="needs two"):
            a_session().begin("1", prompts, limits={1: ObjectLimits(between=True)})


def test_limits_are_kept_with_their_round_and_count_when_all_is_computed_anew() -> None:
    session = a_session()
    finish(session.begin("1", [BOX], limits={1: replace(outside(NEIGHBOUR), grey_values=(50, 120))}))
    restored = a_session()
    restored.restore(json.loads(json.dumps(session.records())))
    assert restored.rounds[0].limits == session.rounds[0].limits
    limits = {1: session.rounds[0].limits[1]}
    done, _ = finish(restored.begin("2", [], limits=limits, full=[1]))
    assert not done, "the same comes out"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"range": [5, -5]}, "lower number first"),
        ({"outside": {"objects": [1]}}, "outside of itself"),
        ({"outside": {"extent": [[0, 99], [0, 1], [0, 1]], "bits": ""}}, "outside the volume"),
        ({"outside": {"extent": [[0, 1], [0, 1], [0, 1]], "bits": "AAAA"}}, "cannot be read"),
        ({"outside": {"extent": [[0, 1], [0, 1], [0, 1]], "bits": "?"}}, "is not"),
        ({"range": [5]}, "is not"),
        ({"axis": 0, "first": 3}, "is not"),
    ],
    ids=["range", "itself", "grid", "bits", "text", "one-number", "no-last"],
)
def test_odd_limits_are_refused_with_a_sentence(words: dict[str, object], told: str) -> None:
    with pytest.raises(PromptError, match=told):
        a_session().begin("1", [BOX], limits=limits_from_json({"1": words}))

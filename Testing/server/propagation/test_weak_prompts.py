"""Prompts that were too weak for their slice are told: by how sure the network is, and by whether its looks agree."""

from __future__ import annotations

import numpy as np
import pytest

from memseg3d.propagation.prompts.covered_voxels import CoveredVoxels
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt, VoxelsPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.weak_prompts import WORDS, too_weak
from memseg3d.propagation.volume.volume import Volume
from memseg3d.service.wire import round_line

from .conftest import BALL, ThresholdNetwork, finish

CLICK = PointPrompt(1, (12.0, 20.0, 22.0))
STROKE = VoxelsPrompt(1, 0, CoveredVoxels.of_slice(BALL.shape, 0, 12, BALL[12]))
BOX = BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))
DRAWN = MaskPrompt(1, 0, 12, BALL[12])
NO = PointPrompt(1, (12.0, 2.0, 2.0), False)
FOUND, NOTHING = BALL[12], np.zeros_like(BALL[12])


@pytest.mark.parametrize(
    ("prompts", "kind"),
    [([CLICK], "click"), ([CLICK, CLICK], "clicks"), ([CLICK, STROKE], "stroke"), ([STROKE, BOX, NO], "box")],
    ids=["click", "clicks", "stroke", "box"],
)
def test_a_kind_of_prompt_is_too_weak_where_the_network_is_unsure_or_finds_nothing(
    prompts: list[Prompt], kind: str
) -> None:
    assert too_weak(prompts, FOUND, 0.05, None) == kind
    assert too_weak(prompts, NOTHING, 0.99, None) == kind
    assert too_weak(prompts, FOUND, 0.99, None) is None
    assert WORDS[kind].endswith(".")


def test_looks_that_show_different_things_make_a_sure_click_weak() -> None:
    assert too_weak([CLICK], FOUND, 0.99, 0.02) == "click"
    assert too_weak([CLICK], FOUND, 0.99, 0.98) is None


def test_what_is_drawn_to_the_pixel_is_never_too_weak() -> None:
    assert too_weak([DRAWN], FOUND, 0.0, None) is None
    assert too_weak([NO], NOTHING, 0.0, None) is None


@pytest.mark.parametrize("consensus", [False, True], ids=["one-axis", "three-axes"])
def test_a_round_tells_the_first_slice_whose_prompts_were_too_weak(a_ball: Volume, consensus: bool) -> None:
    session = Session(a_ball, ThresholdNetwork(), Options(window=(0.0, 110.0), consensus=consensus))
    _, done = finish(session.begin("1", [PointPrompt(1, (2.0, 20.0, 22.0))]))
    told = done.weak[1]
    assert (told.axis, told.index, told.kind) == (0, 2, "click"), "there is nothing on that slice"
    line = round_line(done)["weak"]["1"]
    assert line == {"axis": 0, "index": 2, "prompt": "click", "message": WORDS["click"]}
    _, done = finish(session.begin("2", [DRAWN]))
    assert not done.weak
    assert "weak" not in round_line(done)

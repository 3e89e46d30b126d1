"""Control of a run: cancel leaves no trace, one round at a time, an error or a bad prompt harms nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memseg3d.propagation.prompts.events import RoundDone
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt, PromptError
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.errors import SessionError
from memseg3d.propagation.volume.volume import Volume

from .conftest import BALL, ThresholdNetwork, finish

WINDOW = Options(window=(0.0, 110.0))


@pytest.mark.parametrize("steps", [0, 1, 3, 10])
def test_a_cancelled_run_leaves_no_trace(a_segmented_ball: Session, steps: int) -> None:
    before = (a_segmented_ball.objects, a_segmented_ball.records(), a_segmented_ball.suggested)
    run = a_segmented_ball.begin("second", [PointPrompt(1, (12.0, 20.0, 22.0), False)])
    for _ in range(steps):
        next(run)
    run.cancel()
    assert run.phase == "cancelled"
    (last,) = list(run)
    assert isinstance(last, RoundDone)
    assert last.status == "cancelled"
    assert (a_segmented_ball.objects, a_segmented_ball.records(), a_segmented_ball.suggested) == before
    repeated, _ = finish(a_segmented_ball.begin("second", [PointPrompt(1, (12.0, 20.0, 22.0), False)]))
    fresh = Session(a_segmented_ball.volume, ThresholdNetwork(), a_segmented_ball.options)
    finish(fresh.begin("first", [BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))]))
    expected, _ = finish(fresh.begin("second", [PointPrompt(1, (12.0, 20.0, 22.0), False)]))
    assert [(each.index, each.mask.tobytes()) for each in repeated] == [
        (each.index, each.mask.tobytes()) for each in expected
    ]


def test_cancelling_a_closed_run_changes_nothing(a_session: Session, a_box: BoxPrompt) -> None:
    run = a_session.begin("first", [a_box])
    finish(run)
    run.cancel()
    assert run.phase == "closed"
    assert list(run) == []
    assert a_session.objects[1].voxels > 0


def test_one_round_at_a_time(a_session: Session, a_box: BoxPrompt) -> None:
    run = a_session.begin("first", [a_box])
    for refused in (lambda: a_session.begin("second", [a_box]), a_session.undo, a_session.redo):
        with pytest.raises(SessionError, match="still open") as error:
            refused()
        assert error.value.code == "busy"
    finish(run)
    with pytest.raises(SessionError, match="already") as error:
        a_session.begin("first", [a_box])
    assert error.value.code == "duplicate_round"


def test_a_run_that_fails_frees_the_session(a_ball: Volume, a_box: BoxPrompt) -> None:
    class Failing(ThresholdNetwork):
        fails = True

        def remember(self, *arguments):  # type: ignore[no-untyped-def]
            if self.fails:
                raise MemoryError("no room")
            return super().remember(*arguments)

    network = Failing()
    session = Session(a_ball, network, WINDOW)
    run = session.begin("first", [a_box])
    with pytest.raises(MemoryError):
        list(run)
    assert run.phase == "failed"
    assert session.objects == {}
    network.fails = False
    finish(session.begin("first", [a_box]))
    assert session.objects[1].voxels > 0


def test_a_bad_prompt_leaves_the_session_usable(a_segmented_ball: Session) -> None:
    before = a_segmented_ball.objects
    with pytest.raises(PromptError):
        a_segmented_ball.begin("second", [PointPrompt(1, (12.0, 20.0, 99.0))])
    assert a_segmented_ball.objects == before
    finish(a_segmented_ball.begin("second", [PointPrompt(1, (12.0, 20.0, 22.0))]))


def test_an_unknown_object_is_told(a_session: Session) -> None:
    with pytest.raises(SessionError, match="no object 5"):
        a_session.labelmap(5)


def test_of_many_clicks_at_once_each_is_followed_in_a_step_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through all slices one takes up to a third of a second, in which nobody else is served."""
    from memseg3d.propagation.rounds.objects import slice_rules

    plain, followed = slice_rules.tissue_of_clicks, list[int]()

    def counted(view: Any, added: Any, *more: Any, alone: bool) -> Any:
        if not alone:
            followed.append(len(added))
        return plain(view, added, *more, alone)

    monkeypatch.setattr(slice_rules, "tissue_of_clicks", counted)
    voxels = np.where(BALL, 200, 0).astype(np.int16)
    session = Session(Volume(voxels, (2.0, 1.0, 1.0)), ThresholdNetwork())
    finish(session.begin("a", [BoxPrompt(1, 0, (12, 8, 8), (12, 32, 36), "box")]))
    clicks = [PointPrompt(1, (float(k), 20.0, 22.0), True, 0, str(k)) for k in range(8, 17) if k != 12]
    steps = []
    for _ in session.begin("b", clicks):
        steps.append(list(followed))
        followed.clear()
    assert [each for each in steps if each] == [[1]] * len(clicks)

"""The worker on this computer is killed, before and in the middle of a round: the session goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
from desktop.clinician import Clinician
from desktop.session import Session


def our_worker() -> psutil.Process:
    """The worker that the session started: a child of this process that serves."""
    [found] = [one for one in psutil.Process().children() if "--token-stdin" in one.cmdline() and _is_local(one)]
    return found


def _is_local(process: psutil.Process) -> bool:
    return any(argument.endswith("home-model.safetensors") for argument in process.cmdline())


def test_killed_in_mid_run_and_between_rounds(slicer_session: Session, a_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "home-model.safetensors"
    model.write_bytes(a_model.read_bytes())
    user = Clinician(slicer_session)
    user.use_this_computer(Path(sys.prefix), model)
    user.load()
    user.box(60)
    user.wait_for_slices(3)
    our_worker().kill()
    user.wait(180)
    assert user.voxels().any(axis=(1, 2)).all()
    assert len(user.bench.rounds()) == 1
    our_worker().kill()
    user.point(30, 16, 16, alt=True)
    user.wait(180)
    assert {entry.state for entry in user.bench.prompts()} == {"sent"}
    assert len(user.bench.rounds()) == 2
    assert user.texts("error") == ""


def test_nothing_starts_before_the_user_has_chosen(slicer_session: Session) -> None:
    user = Clinician(slicer_session)
    user.load()
    before = {one.pid for one in psutil.Process().children(recursive=True)}
    user.box(60)
    user.wait()
    assert {one.pid for one in psutil.Process().children(recursive=True)} <= before
    assert "Choose first where it runs" in "\n".join(text for _, text in user.messages)
    assert [entry.kind for entry in user.bench.prompts()] == ["box"], "the box is kept for later"
    assert slicer_session.pip == []

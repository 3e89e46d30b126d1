"""Everything at once: two clicks in one turn, cancel at the worst moments, a scene that closes while voxels travel."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import slicer
from desktop.clinician import Clinician
from desktop.session import Session
from lib.scenes import make_volume, voxels_of

from MemSeg3DLib.scene.nodes import add_segment
from MemSeg3DLib.worker.connection.local_worker import LocalWorker


class SlowLine:
    """A line to a worker that carries so many bytes upward and then stands still until it is let go."""

    def __init__(self, url: str, most: int) -> None:
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        self._target = (host, int(port))
        self._most = most
        self.sent = 0
        self.stands_still = threading.Event()
        self.go_on = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Let what waits go on, and nobody in any more."""
        self.go_on.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_upward: bool) -> None:
        try:
            while data := source.recv(16384):
                if is_upward:
                    self.sent += len(data)
                    if self.sent > self._most and not self.go_on.is_set():
                        self.stands_still.set()
                        self.go_on.wait(300)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


@contextmanager
def a_slow_line(worker: LocalWorker, most: int) -> Iterator[SlowLine]:
    line = SlowLine(worker.url, most)
    try:
        yield line
    finally:
        line.close()


def never_seen(user: Clinician) -> None:
    """A volume that no worker has had yet: it has to be uploaded."""
    voxels = np.random.default_rng().integers(0, 500, (40, 128, 128)).astype(np.int16)
    user.show(make_volume(voxels, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), name="new"))


@pytest.mark.parametrize("what", ["scene", "volume", "cancel"])
def test_what_ends_while_voxels_travel_ends_the_run_and_the_next_one_works(
    clinician: Clinician, a_worker: LocalWorker, what: str
) -> None:
    with a_slow_line(a_worker, 200_000) as line:
        clinician.application.choice.set_remote(line.url, a_worker.token, allows_plain_text=True)
        never_seen(clinician)
        clinician.box(20, (30, 30), (90, 90))
        clinician.wait_until(line.stands_still.is_set, 30)
        assert clinician.bench.busy
        if what == "scene":
            clinician.session.scene.Clear(0)
        elif what == "volume":
            clinician.session.scene.RemoveNode(clinician.volume)
        else:
            clinician.session.key("X")
        # Nobody waits for the network: it stands still.
        clinician.wait_until(lambda: not clinician.bench.busy, 20)
        line.go_on.set()
        never_seen(clinician)
        clinician.box(20, (30, 30), (90, 90))
        clinician.wait()
        assert clinician.voxels().any()
        assert clinician.texts("error") == ""


def test_two_clicks_in_one_turn_of_the_loop_are_two_prompts(clinician: Clinician) -> None:
    clinician.tool("point")
    clinician.session.go_to("Red", clinician.ras(60, 16, 16))
    clinician.session.go_to("Green", clinician.ras(60, 12, 16))
    red, green = clinician.session.view("Red"), clinician.session.view("Green")
    xy = clinician.session.xy("Red", clinician.ras(60, 16, 16))
    zx = clinician.session.xy("Green", clinician.ras(40, 12, 16))
    for event in ("LeftButtonPressEvent", "LeftButtonReleaseEvent"):
        for view, place in ((red, xy), (green, zx)):
            interactor = view.sliceView().interactor()
            interactor.SetEventInformation(*place, 0, 0)
            interactor.InvokeEvent(event)
    clinician.session.click("Red", ras=clinician.ras(61, 14, 14))
    clinician.session.click("Red", ras=clinician.ras(61, 14, 14))
    clinician.wait()
    kinds = [one.kind for one in clinician.bench.prompts()]
    assert kinds.count("point") >= 3, "the same place twice is two clicks; interleaved presses lose at most one of them"
    assert {one.state for one in clinician.bench.prompts()} == {"sent"}
    assert clinician.texts("error") == ""


def test_two_editors_click_for_two_segmentations_at_once(clinician: Clinician) -> None:
    one, first = clinician.segmentation, clinician.segment_id
    clinician.box(60)
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    other.CreateDefaultDisplayNodes()
    other.SetReferenceImageGeometryParameterFromVolumeNode(clinician.volume)
    second = add_segment(other, "second")
    editor = clinician.session.show_module("SegmentEditor").editor
    editor.setSegmentationNode(other)
    editor.setSourceVolumeNode(clinician.volume)
    editor.setCurrentSegmentID(second)
    editor.setActiveEffectByName("MemSeg3D")
    editor.effectByName("MemSeg3D").setParameter("Tool", "point")
    clinician.session.click("Red", ras=clinician.ras(40, 16, 16))
    assert clinician.bench.waiting or clinician.bench.busy
    clinician.wait()
    assert voxels_of(clinician.volume, one, first).any()
    assert [entry.kind for entry in clinician.bench.prompts()] == ["point"], "of the segmentation clicked in last"
    assert voxels_of(clinician.volume, other, second).any()
    assert clinician.texts("error") == ""


def test_cancel_at_any_moment_leaves_the_segment_as_it_was_and_the_next_run_works(clinician: Clinician) -> None:
    chance = random.Random(11)
    clinician.box(60)
    clinician.wait()
    before = clinician.voxels()
    (box,) = clinician.bench.rounds()
    for turn in range(12):
        clinician.point(20 + 5 * turn, 16, 16, alt=turn % 2 == 0)
        clinician.session.pump(chance.choice((0.0, 0.01, 0.05, 0.2, 0.5, 1.0)))
        clinician.ui.cancelButton.click()
        clinician.bench.cancel()
        assert not clinician.bench.busy
        # Not by their number: a round that comes after an undone one takes its place.
        if [one.id for one in clinician.bench.rounds() if one.applied] != [box.id]:
            # It was over before Cancel came: that round counts, and is undone by its own button.
            # The panel shows what changed in a later turn of the loop.
            clinician.wait_until(lambda: clinician.widget("undoButton").enabled, 20)
            clinician.widget("undoButton").click()
            clinician.session.pump(0.05)
        assert (clinician.voxels() == before).all(), f"something of cancelled run {turn} stayed"
    assert clinician.texts("error") == ""
    clinician.widget("runButton").click()
    clinician.wait()
    assert {one.state for one in clinician.bench.prompts()} == {"sent"}, "what was cancelled waited, and has run now"


def test_undo_redo_click_and_cancel_in_any_order_break_nothing(clinician: Clinician) -> None:
    chance = random.Random(3)
    clinician.box(60)
    clinician.wait()
    for _turn in range(40):
        action = chance.choice(("click", "cancel", "undo", "redo", "run", "ctrl z", "approve", "module", "tool"))
        if action == "click":
            clinician.point(
                chance.randrange(80), 8 + chance.randrange(16), 8 + chance.randrange(16), alt=chance.random() < 0.5
            )
        elif action == "cancel":
            clinician.bench.cancel()
        elif action == "ctrl z":
            clinician.editor.undo()
        elif action == "module":
            clinician.session.show_module("Data")
            clinician.open_panel()
        elif action == "tool":
            clinician.tool(chance.choice(("box", "scribble", "lasso")))
        elif action == "approve":
            clinician.session.key("A")
        else:
            clinician.widget(f"{action}Button").click()
        clinician.session.pump(chance.choice((0.0, 0.02, 0.1, 0.4)))
    clinician.wait()
    unforeseen = [text for text in clinician.texts("error").splitlines() if "Error" in text or "unexpected" in text]
    assert unforeseen == []
    clinician.point(60, 16, 16)
    clinician.wait()
    assert clinician.bench.rounds()


@pytest.mark.skipif(sys.platform == "win32", reason="a process is held up by a signal")
def test_deleting_stored_data_does_not_wait_for_the_worker_to_end(
    slicer_session: Session, a_model: Path, tmp_path: Path
) -> None:
    user = Clinician(slicer_session)
    user.use_this_computer(Path(sys.prefix), a_model)
    user.load()
    user.box(60)
    user.wait(180)
    home = user.application.choice.home
    assert [path for folder in home.worker_data() for path in folder.rglob("*") if path.is_file()]
    user.widget("storesButton").collapsed = False
    slicer_session.pump(0.2)
    # The worker that has to end first is held up, as by an antivirus: the window must not be.
    worker = user.application.source._source
    os.kill(worker.process_id, signal.SIGSTOP)
    try:
        start = time.perf_counter()
        user.widget("purgeAllButton").click()
        took = time.perf_counter() - start
    finally:
        os.kill(worker.process_id, signal.SIGCONT)
    assert took < 5.0, "half of what a worker is given to end"

    def left() -> list[Path]:
        # os.walk goes on where a folder vanishes under it.
        names = [Path(name) for folder in home.worker_data() for _, _, found in os.walk(folder) for name in found]
        return [name for name in names if name.suffix != ".lock"]

    user.wait_until(lambda: not left(), 60)
    user.point(60, 16, 16)
    user.wait(180)
    assert {one.state for one in user.bench.prompts()} == {"sent"}, "what was deleted is sent again when it is needed"
    assert user.texts("error") == ""

"""Two hundred rounds: each step stays quick, the scene stays small, and restore, compare and loading still work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lib.scenes import make_volume, voxels_of

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.base.packing import bounding_extent, extent_slices, out_of, slice_extent
from MemSeg3DLib.rounds.history.history import RoundHistory, lattice_of
from MemSeg3DLib.rounds.history.journal import RecoveryJournal
from MemSeg3DLib.rounds.history.record import RoundRecord
from MemSeg3DLib.rounds.history.scene_text import ROLE
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation
from MemSeg3DLib.segments.writer import SegmentWriter
from MemSeg3DLib.worker.connection.local_worker import LocalWorker

COUNT = 200
SHAPE = (40, 96, 96)


def a_mask(number: int) -> np.ndarray:
    """An ellipsoid that differs a little from round to round, as corrections do."""
    rng = np.random.default_rng(number)
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    centre = (20 + rng.uniform(-1, 1), 48 + rng.uniform(-3, 3), 48 + rng.uniform(-3, 3))
    radii = (14, 30 + rng.uniform(-2, 2), 26 + rng.uniform(-2, 2))
    terms = [((x - c) / r) ** 2 for x, c, r in zip((k, j, i), centre, radii, strict=True)]
    return np.asarray(terms[0] + terms[1] + terms[2] <= 1)


def one_round(history: RoundHistory, volume: Any, segmentation: Any, segment: str, number: int) -> np.ndarray:
    """A round that corrects six slices; what the segment holds after it."""
    mask = a_mask(number)
    writer = SegmentWriter(segmentation, volume, [segment])
    for index in range(8 + number % 18, 14 + number % 18):
        whole = slice_extent(SHAPE, 0, index)
        inside = mask[extent_slices(whole)]
        tight = bounding_extent(inside)
        assert tight is not None
        writer.write_slice(segment, 0, index, out_of(tight, whole), inside[extent_slices(tight)])
    record = RoundRecord(f"r{number}", "s", "v", {}, [], [], {segment: 1}, writer.changes(), lattice_of(writer.grid))
    writer.close()
    history.add(record)
    return voxels_of(volume, segmentation, segment)


def test_two_hundred_rounds_can_be_walked_quickly_compared_and_restored_and_take_little_room(
    a_worker: LocalWorker, scene: Any, tmp_path: Path
) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16), spacing=(1, 1, 1))
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "one")
    history = RoundHistory(segmentation, RecoveryJournal(tmp_path / "x.journal"))
    states = [one_round(history, volume, segmentation, segment, n) for n in range(COUNT - 1)]
    texts = [one.text for one in history.applied]
    states.append(one_round(history, volume, segmentation, segment, COUNT - 1))
    assert all(one.text is text for one, text in zip(history.applied, texts, strict=False)), "none is written out anew"
    assert len(history.applied) == COUNT
    # Of the processor alone: what else the machine does must not count.
    started = time.thread_time()
    again = RoundHistory(segmentation)
    assert [one.id for one in again.applied] == [one.id for one in history.applied]
    assert again.edits(volume, [segment]) == [], "the rounds alone add up to what the segment holds"
    assert time.thread_time() - started < 10
    stored = len(segmentation.GetNodeReference(ROLE).GetText())
    assert stored < COUNT * 12_000, f"{stored} characters for {COUNT} rounds of six slices each"
    times = []
    for n in reversed(range(1, COUNT)):
        started = time.thread_time()
        history.undo()
        times.append(time.thread_time() - started)
        if n % 40 == 0:
            assert np.array_equal(voxels_of(volume, segmentation, segment), states[n - 1])
    early, late = np.median(times[:50]), np.median(times[-50:])
    assert np.percentile(times, 95) < 0.1, f"{1000 * np.percentile(times, 95):.0f} ms a step"
    assert max(early, late) < 5 * min(early, late) + 0.02, "a step costs the same wherever it is"
    started = time.thread_time()
    history.go_to(COUNT)
    assert time.thread_time() - started < 5
    assert np.array_equal(voxels_of(volume, segmentation, segment), states[-1])

    bench = Workbench(scene, a_worker)
    bench.select(volume, segmentation, segment)
    assert [one.number for one in bench.rounds()] == list(range(1, COUNT + 1))
    for n in (150, 17):
        assert bench.compare(f"r{n}") == {segment: int((states[n] ^ states[-1]).sum())}
    bench.restore("r17")
    assert np.array_equal(voxels_of(volume, segmentation, segment), states[17])
    assert bench.compare("r17") == {}
    bench.restore("r180")
    assert np.array_equal(voxels_of(volume, segmentation, segment), states[180])
    assert sum(one.applied for one in bench.rounds()) == 181
    with pytest.raises(RoundError, match="no such round"):
        bench.restore("nobody")
    bench.close()

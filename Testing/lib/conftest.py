"""Fixtures of the client library: real MRML scenes, volumes on awkward grids, and helpers that read segments back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from lib.benches import OpenBench
from lib.scenes import SHAPE, direction_matrix, make_volume, users_editor

from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, open_scene
from MemSeg3DLib.worker.connection.local_worker import LocalWorker


@pytest.fixture
def scene() -> Iterator[Any]:
    """An empty scene with its logics."""
    opened = open_scene()
    yield opened
    opened.Clear(1)


@pytest.fixture
def an_oblique_volume(scene: Any) -> Any:
    """Rotated about two axes, anisotropic, with intensities that differ from voxel to voxel."""
    rng = np.random.default_rng(7)
    voxels = rng.integers(-200, 300, SHAPE).astype(np.int16)
    return make_volume(voxels, directions=direction_matrix((20, -10)))


@pytest.fixture
def a_segmentation(an_oblique_volume: Any) -> Any:
    """On the oblique volume's grid, with two empty segments, `one` and `two`."""
    node = add_segmentation(slicer.mrmlScene, an_oblique_volume)
    add_segment(node, "one")
    add_segment(node, "two")
    return node


@pytest.fixture
def segment_ids(a_segmentation: Any) -> list[str]:
    """Ids of the two segments."""
    return [str(one) for one in a_segmentation.GetSegmentation().GetSegmentIDs()]


@pytest.fixture
def a_long_volume(scene: Any) -> Any:
    """So many slices that something can happen in mid-round."""
    rng = np.random.default_rng(5)
    return make_volume(rng.integers(0, 500, (80, 24, 24)).astype(np.int16), spacing=(1.0, 1.0, 1.0))


@pytest.fixture
def a_long_segmentation(a_long_volume: Any) -> Any:
    """On the long volume's grid, with one empty segment."""
    node = add_segmentation(slicer.mrmlScene, a_long_volume)
    add_segment(node, "one")
    return node


@pytest.fixture
def an_editor(a_segmentation: Any, an_oblique_volume: Any) -> Any:
    """The user's own segment editor logic on the oblique volume and its segmentation."""
    return users_editor(a_segmentation, an_oblique_volume)


@pytest.fixture
def a_controller(a_worker: LocalWorker) -> Iterator[RunController]:
    """A controller of that worker."""
    with RunController(a_worker) as controller:
        yield controller


@pytest.fixture
def open_bench(
    scene: Any, a_worker: LocalWorker, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> OpenBench:
    """Starts a Workbench with journals in a folder, the oblique volume, its segmentation and the first segment."""

    def opened(journals: Path) -> Workbench:
        bench = Workbench(scene, a_worker, journals)
        bench.select(an_oblique_volume, a_segmentation, segment_ids[0])
        return bench

    return opened


@pytest.fixture
def a_bench(open_bench: OpenBench, tmp_path: Path) -> Iterator[Workbench]:
    """A Workbench with the first segment of the oblique volume's segmentation selected."""
    bench = open_bench(tmp_path / "journals")
    yield bench
    bench.close()

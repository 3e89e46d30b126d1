"""The story: the worker starts, a volume opens in a scene, boxes are drawn, slices arrive, one click corrects."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from demo.results import Box, Case, Click, DemoError, Mask, TargetResult, TargetRound
from demo.user import correct
from MemSeg3DLib.prompts.prompts import BoxPrompt, PointPrompt, Prompt
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.rounds.running.states import (
    RoundRequest,
    RoundResult,
    RunFailure,
    RunProgress,
    RunState,
    RunStopped,
    SliceWritten,
)
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, ijk_to_world, load_volume, open_scene, volume_array
from MemSeg3DLib.scene.transforms import ijk_to_local_matrix
from MemSeg3DLib.scene.volume_masks import segment_on_volume
from MemSeg3DLib.worker.connection.source import WorkerSource

POLL_SECONDS = 0.01
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
PHASES = {
    RunState.PREPARING: "preparing",
    RunState.UPLOADING: "uploading",
    RunState.PROMPTED: "prompted slices",
    RunState.PROPAGATING: "propagating",
}


@dataclass(eq=False)
class Desk:
    """What lies on the user's desk: the scene with the volume and a segmentation of one segment a target."""

    scene: Any
    volume: Any
    segmentation: Any
    segment_ids: list[str]

    def mask(self, segment_id: str) -> Mask:
        """A segment (k, j, i) on the volume's grid, as it is in the scene now."""
        return segment_on_volume(self.segmentation, segment_id, self.volume)


@dataclass(eq=False)
class _Watch:
    """Follows one round: when each segment's first mask was in the scene, and how the round ended."""

    began: float = field(default_factory=time.monotonic)
    first: dict[str, float] = field(default_factory=dict)
    result: RoundResult | None = None
    trouble: str | None = None

    def written(self, slice_written: SliceWritten) -> None:
        self.first.setdefault(slice_written.segment_id, time.monotonic() - self.began)

    def finished(self, result: RoundResult) -> None:
        self.result = result

    def failed(self, failure: RunFailure) -> None:
        self.trouble = str(failure.error)

    def stopped(self, stopped: RunStopped) -> None:
        self.trouble = stopped.reason or "The run was cancelled."


ShowProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and of how much (0: not known yet)."""


def open_desk(case: Case) -> Desk:
    """A new scene with the case's volume and an empty segment for each target, in its colour."""
    scene = open_scene()
    volume = load_volume(scene, case.file, case.name)
    there = LPS_FROM_RAS @ ijk_to_local_matrix(volume)
    # Truth and boxes are voxels of the case: the scene must mean the same ones.
    if volume_array(volume).shape != case.voxels.shape or not np.allclose(there, case.affine, atol=0.01):
        raise DemoError(f"Slicer reads {case.file.name} onto another grid than ITK; save it as NRRD and try again.")
    segmentation = add_segmentation(scene, volume)
    segment_ids = []
    for target in case.targets:
        red, green, blue = target.segment.colour or (128, 174, 128)
        segment_ids.append(add_segment(segmentation, target.segment.name, (red / 255, green / 255, blue / 255)))
    return Desk(scene, volume, segmentation, segment_ids)


def segment_case(
    case: Case, desk: Desk, worker: WorkerSource, show: ShowProgress
) -> tuple[list[TargetResult], list[float]]:
    """A round of boxes, and where truth is known a round with one click each at the largest error.

    Returns the results in the order of the targets, and the seconds of each round from the request to the last slice
    in the scene. Raises `DemoError` where a round fails.
    """
    results = [TargetResult(target) for target in case.targets]
    seconds = []
    with RunController(worker) as controller:
        boxes = [_box(desk, one, target.box) for one, target in zip(desk.segment_ids, case.targets, strict=True)]
        seconds.append(_round(controller, desk, results, boxes, [None] * len(results), show))
        clicks = [_correction(case, result) for result in results]
        prompts = [
            _point(desk, one, click) for one, click in zip(desk.segment_ids, clicks, strict=True) if click is not None
        ]
        if prompts:
            seconds.append(_round(controller, desk, results, prompts, clicks, show))
    return results, seconds


def _correction(case: Case, result: TargetResult) -> Click | None:
    target = result.target
    if target.truth is None:
        return None
    return correct(result.rounds[-1].mask, target.truth, target.box.axis, case.spacing)


def _round(
    controller: RunController,
    desk: Desk,
    results: list[TargetResult],
    prompts: Sequence[Prompt],
    clicks: list[Click | None],
    show: ShowProgress,
) -> float:
    """Run one round to its end and keep what it gave; the seconds that it took."""
    watch = _Watch()

    def progressed(progress: RunProgress) -> None:
        show(PHASES.get(progress.state, progress.state.value), progress.done, progress.total)

    disconnect = [
        controller.progressed.connect(progressed),
        controller.slice_written.connect(watch.written),
        controller.finished.connect(watch.finished),
        controller.failed.connect(watch.failed),
        controller.cancelled.connect(watch.stopped),
    ]
    controller.start(RoundRequest(desk.volume, desk.segmentation, prompts))
    while controller.busy:
        if not controller.poll():
            time.sleep(POLL_SECONDS)
    seconds = time.monotonic() - watch.began
    for end in disconnect:
        end()
    if watch.trouble is not None or watch.result is None:
        raise DemoError(watch.trouble or "The worker ended the round without a result.")
    for result, segment_id, click in zip(results, desk.segment_ids, clicks, strict=True):
        axis = result.target.box.axis
        quality = dict(result.rounds[-1].quality) if result.rounds else {}
        found = watch.result.quality.get(segment_id, {})
        quality.update({index: value for (along, index), value in found.items() if along == axis})
        mask = desk.mask(segment_id)
        kept = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        quality = {int(index): quality[int(index)] for index in kept if int(index) in quality}
        result.rounds.append(TargetRound(mask, quality, watch.first.get(segment_id), click))
    return seconds


def _box(desk: Desk, segment_id: str, box: Box) -> BoxPrompt:
    corners = ijk_to_world(desk.volume, box.lower), ijk_to_world(desk.volume, box.upper)
    return BoxPrompt(segment_id, *corners, axis=box.axis)


def _point(desk: Desk, segment_id: str, click: Click) -> PointPrompt:
    return PointPrompt(segment_id, ijk_to_world(desk.volume, click.position), click.positive, click.axis)

"""What a run costs the main thread: milliseconds a written slice on a 512x512x300 CT, with and without masking.

    python Testing/benchmarks/main_thread.py [--slices N]

A real scene and Slicer's own segment editor logic; slices arrive as the worker sends them. Prints a markdown table:
p50, p95 and the longest call a written slice; the preparation of a run and the rebuild of surfaces apart. The last line
is a whole run through the Workbench with a real worker and the embedded model: every call of the timer that wrote.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import slicer
from lib.scenes import make_volume, users_editor
from lib.workers import start_worker

from MemSeg3DLib.base.packing import bounding_extent, extent_slices, out_of, slice_extent
from MemSeg3DLib.prompts.prompts import BoxPrompt
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, ijk_to_world, open_scene
from MemSeg3DLib.segments.write_settings import WriteSettings
from MemSeg3DLib.segments.writer import SegmentWriter

SHAPE = (300, 512, 512)
CENTRE, RADII = (150, 256, 180), (130, 90, 80)
BOUND_MS = 50.0
MODEL = Path(__file__).resolve().parents[2] / "Resources" / "Models" / "memseg3d-nano.safetensors"


def organ(scale: float = 1.0, shift: int = 0) -> np.ndarray:
    """Boolean (k, j, i): an ellipsoid as large as a liver."""
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    terms = [((x - c) / (r * scale)) ** 2 for x, c, r in zip((k, j, i - shift), CENTRE, RADII, strict=True)]
    return np.asarray(terms[0] + terms[1] + terms[2] <= 1)


def the_scene() -> tuple[Any, Any, list[str]]:
    """A CT with a finished neighbour that overlaps the organ, and an empty segment."""
    scene = open_scene()
    voxels = (np.random.default_rng(0).normal(20, 15, SHAPE) + 100 * organ()).astype(np.int16)
    volume = make_volume(voxels, spacing=(0.75, 0.75, 1.0))
    segmentation = add_segmentation(scene, volume)
    segments = [add_segment(segmentation, name) for name in ("finished", "organ")]
    writer = SegmentWriter(segmentation, volume, segments[:1])
    finished = organ(0.7, shift=110)
    for index in range(SHAPE[0]):
        write(writer, segments[0], finished, 0, index)
    writer.close()
    return volume, segmentation, segments


def write(writer: SegmentWriter, segment: str, mask: np.ndarray, axis: int, index: int) -> bool:
    """One slice, cropped as the worker crops it."""
    whole = slice_extent(mask.shape, axis, index)
    inside = mask[extent_slices(whole)]
    tight = bounding_extent(inside)
    if tight is None:
        return writer.write_slice(segment, axis, index, None, None)
    return writer.write_slice(segment, axis, index, out_of(tight, whole), inside[extent_slices(tight)])


def timed_run(
    volume: Any, segmentation: Any, segment: str, mask: np.ndarray, settings: WriteSettings, axis: int, slices: int
) -> tuple[list[float], float, float]:
    """Milliseconds of each written slice, of the preparation and of what closes the run."""
    editor = users_editor(segmentation, volume)
    started = time.perf_counter()
    writer = SegmentWriter(segmentation, volume, [segment], settings, editor.SaveStateForUndo)
    # The first slice saves the undo state; that belongs to the preparation.
    write(writer, segment, mask, axis, CENTRE[axis])
    prepared = 1000 * (time.perf_counter() - started)
    times = []
    for distance in range(1, slices // 2 + 1):
        for index in (CENTRE[axis] + distance, CENTRE[axis] - distance):
            started = time.perf_counter()
            writer.notice_edits()
            if 0 <= index < SHAPE[axis] and write(writer, segment, mask, axis, index):
                times.append(1000 * (time.perf_counter() - started))
    started = time.perf_counter()
    writer.changes()
    writer.close()
    return times, prepared, 1000 * (time.perf_counter() - started)


def organ_box(volume: Any, segment: str) -> BoxPrompt:
    """A box round the organ on its middle slice."""
    (k, j, i), (_, rj, ri) = CENTRE, RADII
    corners = [ijk_to_world(volume, (k, j + side * (rj + 4), i + side * (ri + 4))) for side in (-1, 1)]
    return BoxPrompt(segment, corners[0], corners[1])


def timed_workbench(volume: Any, segmentation: Any, segment: str) -> tuple[list[float], list[float], float]:
    """Milliseconds of the timer's calls that wrote slices, of all others during the run, and of the start of it."""
    with tempfile.TemporaryDirectory() as name, start_worker(MODEL, Path(name) / "worker") as worker:
        bench = Workbench(slicer.mrmlScene, worker, Path(name) / "journals")
        bench.select(volume, segmentation, segment)
        count = [0]
        bench.slice_written.connect(lambda _: count.__setitem__(0, count[0] + 1))
        started = time.perf_counter()
        bench.add(organ_box(volume, segment))
        start = 1000 * (time.perf_counter() - started)
        writing, idle = [], []
        while bench.busy:
            before, began = count[0], time.perf_counter()
            bench.poll()
            (writing if count[0] > before else idle).append(1000 * (time.perf_counter() - began))
            time.sleep(0.02)
        bench.close()
    return writing, idle, start


def main() -> int:
    """Print the table; 1 where a p95 is beyond the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=200)
    slices = parser.parse_args().slices
    editor, node = slicer.vtkMRMLSegmentEditorNode, slicer.vtkMRMLSegmentationNode
    volume, segmentation, (_, segment) = the_scene()
    plain = WriteSettings()
    masked = WriteSettings(
        mask_mode=node.EditAllowedOutsideAllSegments,
        overwrite_mode=editor.OverwriteAllSegments,
        intensity_range=(-200.0, 300.0),
    )
    overwriting = WriteSettings(overwrite_mode=editor.OverwriteAllSegments)
    first, second = organ(), organ(0.95, shift=4)
    cases = [
        ("first round, no masking", plain, first, 0),
        ("correction, no masking", plain, second, 0),
        ("correction, overwriting neighbours", overwriting, first, 0),
        ("correction, editable area and intensity range", masked, second, 0),
        ("correction across columns", plain, first, 2),
    ]
    print("| run | slices | p50 ms | p95 ms | longest ms | preparation ms | closing ms |")
    print("|---|---|---|---|---|---|---|")
    is_within = True
    for name, settings, mask, axis in cases:
        times, prepared, closed = timed_run(volume, segmentation, segment, mask, settings, axis, slices)
        p95 = statistics.quantiles(times, n=20)[-1]
        is_within &= p95 <= BOUND_MS
        print(
            f"| {name} | {len(times)} | {statistics.median(times):.1f} | {p95:.1f} | {max(times):.1f} | "
            f"{prepared:.0f} | {closed:.0f} |",
            flush=True,
        )
    other = add_segment(segmentation, "through the worker")
    writing, idle, start = timed_workbench(volume, segmentation, other)
    p95 = statistics.quantiles(writing, n=20)[-1]
    is_within &= p95 <= BOUND_MS
    print(
        f"| Workbench.poll with a real worker, calls that wrote | {len(writing)} | {statistics.median(writing):.1f} | "
        f"{p95:.1f} | {max(writing):.1f} | {start:.0f} | {max(idle):.0f} (longest other call) |"
    )
    started = time.perf_counter()
    segmentation.CreateClosedSurfaceRepresentation()
    print(f"\nRebuild of the closed surfaces, once after a run: {1000 * (time.perf_counter() - started):.0f} ms.")
    return 0 if is_within else 1


if __name__ == "__main__":
    sys.exit(main())

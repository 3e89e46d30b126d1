"""What leaves the product: DICOM-SEG for odd series, segmentations on several grids; and a classical method."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from Testing.cases.inputs import Skipped, program
from Testing.cases.scripts import ran, script

DCMQI = ("segimage2itkimage", "pip install dcmqi==1.5.7 in an environment of its own, its bin on the path")


def rounded_positions(out: Path) -> None:
    ran("seg_rounded_positions/reproduce.py", out, program(*DCMQI))


def header_oddities(out: Path) -> None:
    try:
        words = [program(*DCMQI)]
    except Skipped:
        words = []
    ran("seg_source_header_oddities/reproduce.py", out, *words)


def smaller_segmentation(out: Path) -> None:
    printed = ran("segmentation-smaller-than-volume/make.py", out, str(out / "data"))
    held = int(re.findall(r"voxels in the scene: (\d+)", printed)[0])
    assert held > 800, f"{held} voxels of about 924 are in the scene"


CASES: dict[str, Callable[[Path], None]] = {
    "seg_rounded_positions": rounded_positions,
    "seg_source_header_oddities": header_oddities,
    "seg_own_grid_refused": script("seg_own_grid_refused/reproduce.py"),
    "segments_on_two_grids": script("segments_on_two_grids/make.py"),
    "segmentation-smaller-than-volume": smaller_segmentation,
    "random_walker_uniform": script("random_walker_uniform/reproduce.py"),
}

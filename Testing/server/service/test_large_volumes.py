"""A volume through a real worker: no step from upload to download holds a copy of it in anonymous memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from benchmarks.large_volume import measure
from tiny_model import write_tiny_model

SHAPE = (128, 512, 512)
MB = 1 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell anonymous memory")
def test_no_step_copies_the_volume(tmp_path: Path) -> None:
    model = tmp_path / "tiny.safetensors"
    write_tiny_model(model)
    stages, idle = measure(SHAPE, str(model), threads=1, axes=(0,), say=lambda _: None, folder=tmp_path)
    volume_mb = 2 * SHAPE[0] * SHAPE[1] * SHAPE[2] / MB
    peaks = [idle, *(stage.peak_mb for stage in stages)]
    grown = {stage.name: round(stage.peak_mb - before) for stage, before in zip(stages, peaks, strict=False)}
    # A round keeps features of slices, up to a bound of their own; nothing else keeps anything.
    rounds = {stage.name for stage in stages if stage.first is not None}
    # A labelmap with a byte a voxel would be half of the volume; what is left is the room of slabs and of zlib.
    assert max(each for name, each in grown.items() if name not in rounds) < 0.4 * volume_mb, grown
    assert max(grown.values()) < volume_mb, grown
    assert {"undo", "redo", "cancel, answered", "labelmap of all, nii.gz"} <= grown.keys()

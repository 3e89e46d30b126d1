"""NRRD in every encoding is read, or refused for the reason that is its own; none unpacks to more than it says."""

from __future__ import annotations

import bz2
import gzip
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from memseg3d.files import UnreadableFile, read_volume

VOXELS = np.random.default_rng(7).normal(100, 8, (6, 7, 8)).astype("<i2")
HEAD = (
    "NRRD0004\ntype: short\ndimension: 3\nsizes: 8 7 6\nendian: little\nspace: left-posterior-superior\n"
    "space directions: (1,0,0) (0,1.2,0) (0,0,2.5)\nspace origin: (-20,-30,-25)\n"
)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("lines", [b"", b"a line\nanother line\n"], ids=["none", "two lines"])
def test_gzip_behind_lines_to_skip_is_read(tmp_path: Path, lines: bytes, mapped: bool) -> None:
    path = tmp_path / "a.nrrd"
    head = f"{HEAD}encoding: gzip\nline skip: {lines.count(bytes([10]))}\n\n"
    path.write_bytes(head.encode() + lines + gzip.compress(VOXELS.tobytes()))
    assert np.array_equal(read_volume(path, scratch=tmp_path if mapped else None).voxels, VOXELS)


def test_a_cut_behind_lines_to_skip_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(f"{HEAD}encoding: gzip\nline skip: 1\n\na line\n".encode() + gzip.compress(VOXELS.tobytes())[:-90])
    with pytest.raises(UnreadableFile, match="cut off"):
        read_volume(path)


def test_bzip2_is_refused_for_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes((HEAD + "encoding: bzip2\n\n").encode() + bz2.compress(VOXELS.tobytes()))
    with pytest.raises(UnreadableFile, match="bzip2"):
        read_volume(path)


def test_gzip_that_hides_far_more_is_left_packed(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    packed = gzip.compress(bytes(1 << 28), 9)
    path.write_bytes(f"{HEAD}encoding: gzip\n\n".encode() + packed)
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(UnreadableFile, match="more than its header says"):
        read_volume(path)
    # Unpacking all of it would take some seconds of a processor.
    assert time.process_time() - started < 1.0
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("skip", ["x", "-1", "99999999999"])
def test_odd_line_skips_are_refused(tmp_path: Path, skip: str) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(f"{HEAD}encoding: gzip\nline skip: {skip}\n\n".encode() + gzip.compress(VOXELS.tobytes()))
    with pytest.raises(UnreadableFile, match=r"a\.nrrd"):
        read_volume(path)

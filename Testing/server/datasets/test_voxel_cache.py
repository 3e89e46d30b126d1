"""The cache decodes each volume once, keeps to its bounds, and says so where the disk is full."""

from __future__ import annotations

import errno
import gc
import os
import pickle
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk

from memseg3d.datasets import voxel_cache
from memseg3d.datasets.door import open_data
from memseg3d.datasets.errors import BrokenCase, NoRoom
from memseg3d.datasets.voxel_cache import VoxelCache

from . import small_sets

ONE = np.prod(small_sets.SHAPE) * 2 + 128
"""Bytes of one decoded image."""


def test_slices_are_those_of_the_files(tmp_path: Path) -> None:
    for layout in ("msd", "kits19", "medical-sam2"):
        truth = small_sets.WRITERS[layout](tmp_path / layout)
        cache = VoxelCache(tmp_path / "cache")
        for case in open_data(tmp_path / layout).cases:
            if case.labels is None:
                continue
            image, labels = cache.slices(case, 2, 5)
            assert np.array_equal(image, truth[case.name].image[2:5]) or layout == "medical-sam2"
            assert np.array_equal(labels, truth[case.name].labels[2:5])
            assert labels.dtype == np.uint8


def test_a_volume_is_decoded_once(tmp_path: Path) -> None:
    small_sets.btcv(tmp_path / "set")
    case = open_data(tmp_path / "set").cases[0]
    cache = VoxelCache(tmp_path / "cache")
    for _ in range(3):
        cache.slices(case, 0, 1)
    assert cache.decoded == 2
    another = pickle.loads(pickle.dumps(cache))
    another.slices(case, 0, 1)
    assert another.decoded == 0


def test_a_changed_file_is_decoded_anew(tmp_path: Path) -> None:
    small_sets.btcv(tmp_path / "set")
    case = open_data(tmp_path / "set").cases[0]
    VoxelCache(tmp_path / "cache").voxels(case.image)
    changed = small_sets.a_case(77).image
    small_sets.save(case.image.paths()[0], changed)
    assert np.array_equal(VoxelCache(tmp_path / "cache").voxels(case.image), changed)


def test_the_folder_keeps_to_its_bound_and_drops_what_was_used_longest_ago(tmp_path: Path) -> None:
    small_sets.msd(tmp_path / "set")
    first, second, third = (case.image for case in open_data(tmp_path / "set").of_split("train"))
    cache = VoxelCache(tmp_path / "cache", disk_bytes=int(2.5 * ONE), mapped_bytes=1)
    for place, source in enumerate((first, second)):
        cache.voxels(source)
        for file in (tmp_path / "cache").glob(f"{source.key()}*"):
            os.utime(file, (place, place))
    cache.voxels(first)
    cache.voxels(third)
    assert cache.bytes_on_disk() <= 2.5 * ONE
    kept = {file.name[:32] for file in (tmp_path / "cache").glob("*.npy")}
    assert kept == {first.key(), third.key()}


def test_what_is_mapped_keeps_to_its_bound_and_is_closed(tmp_path: Path) -> None:
    small_sets.msd(tmp_path / "set")
    cache = VoxelCache(tmp_path / "cache", mapped_bytes=2 * ONE)
    for _ in range(2):
        for case in open_data(tmp_path / "set").of_split("train"):
            cache.slices(case, 0, 2)
            assert cache.bytes_mapped() <= 2 * ONE
    gc.collect()
    open_maps = [o for o in gc.get_objects() if isinstance(o, np.memmap) and "cache" in str(o.filename)]
    assert sum(each.nbytes for each in open_maps) <= 2 * ONE


def test_a_file_that_was_cut_short_is_decoded_anew(tmp_path: Path) -> None:
    truth = small_sets.btcv(tmp_path / "set")
    case = open_data(tmp_path / "set").cases[0]
    VoxelCache(tmp_path / "cache").voxels(case.image)
    (file,) = (tmp_path / "cache").glob("*.npy")
    file.write_bytes(file.read_bytes()[:200])
    assert np.array_equal(VoxelCache(tmp_path / "cache").voxels(case.image), truth[case.name].image)


def test_a_full_disk_first_costs_the_other_volumes_and_then_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_sets.msd(tmp_path / "set")
    first, second, _ = (case.image for case in open_data(tmp_path / "set").of_split("train"))
    cache = VoxelCache(tmp_path / "cache", mapped_bytes=1)
    cache.voxels(first)
    save, calls = voxel_cache._save, []

    def full_once(voxels: np.ndarray, file: Path) -> None:
        calls.append(file)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(voxels, file)

    monkeypatch.setattr(voxel_cache, "_save", full_once)
    cache.voxels(second)
    assert [file.name[:32] for file in (tmp_path / "cache").glob("*.npy")] == [second.key()]

    def full(_: np.ndarray, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(voxel_cache, "_save", full)
    with pytest.raises(NoRoom, match=r"disk is full.*\.npy"):
        cache.voxels(first)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_case_without_labels_or_with_others_is_refused(tmp_path: Path) -> None:
    small_sets.btcv(tmp_path / "set")
    data = open_data(tmp_path / "set")
    cache = VoxelCache(tmp_path / "cache")
    with pytest.raises(BrokenCase, match="img0061"):
        cache.slices(data.of_split("test")[0], 0, 1)
    case = data.cases[0]
    assert case.labels is not None
    small_sets.save(case.labels.paths()[0], np.ones((3, 10, 12), np.uint8))
    with pytest.raises(BrokenCase, match="label0001"):
        cache.slices(case, 0, 1)


def test_memory_stays_bounded_while_a_larger_set_is_read(tmp_path: Path) -> None:
    """The audit in Testing/audits/data_memory.py, a hundredth of its size: 150 MB of voxels, 24 MB mapped."""
    voxels = np.arange(64 * 256 * 256, dtype=np.int16).reshape(64, 256, 256)
    for number in range(12):
        for part, content in (("images", voxels + number), ("labels", (voxels > 0).astype(np.uint8))):
            path = tmp_path / f"set/{part}/ct_{number}.nii"
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(content), str(path))
    cases = open_data(tmp_path / "set").cases
    cache = VoxelCache(tmp_path / "cache", mapped_bytes=24 << 20)
    process, largest = psutil.Process(), 0
    cache.slices(cases[0], 0, 64)
    before = process.memory_info().rss
    for _ in range(2):
        for case in cases:
            image, _ = cache.slices(case, 0, 64)
            assert image[0, 0, 0] == int(case.name[3:])
            largest = max(largest, process.memory_info().rss)
    assert cache.bytes_on_disk() > 140e6
    assert cache.decoded == 24
    assert largest - before < 75e6

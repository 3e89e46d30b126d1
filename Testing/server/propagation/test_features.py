"""Image features are computed once: kept on the device, then in memory, then on disk, each within its bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from memseg3d.network.nano import NanoNetwork
from memseg3d.network.seam import Features
from memseg3d.propagation.sight import feature_folder
from memseg3d.propagation.sight.feature_folder import FeatureFolder
from memseg3d.propagation.sight.feature_shelf import FeatureKey, size_of
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import Window

WINDOWS = (Window(0.0, 110.0), Window(20.0, 90.0))


@pytest.fixture
def a_region(a_ball: Volume) -> Region:
    """The whole slice at the size of the small network."""
    return Region.whole(a_ball.slice_shape(0), 32)


@pytest.fixture
def a_folder(tmp_path: Path) -> Iterator[FeatureFolder]:
    """An empty folder of features."""
    folder = FeatureFolder(tmp_path / "features", 10 * 1024**2)
    yield folder
    folder.close()


def key_of(volume: Volume, index: int, region: Region) -> FeatureKey:
    return FeatureKey(volume.key, 0, index, region, WINDOWS)


def same(left: Features, right: Features) -> bool:
    pairs = zip(left.levels, right.levels, strict=True)
    return all(torch.equal(a, b) and a.dtype == b.dtype and a.stride() == b.stride() for a, b in pairs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_come_back_from_disk_as_they_were(
    a_ball: Volume, a_region: Region, a_small_nano: NanoNetwork, a_folder: FeatureFolder, dtype: torch.dtype
) -> None:
    network = NanoNetwork(a_small_nano.config).to(dtype=dtype, memory_format=torch.channels_last).eval()
    store = FeatureStore(network, capacity=1, folder=a_folder)
    first = store.features(a_ball, 0, 3, a_region, WINDOWS)
    store.features(a_ball, 0, 4, a_region, WINDOWS)
    assert a_folder.wait_until_written()
    again = store.features(a_ball, 0, 3, a_region, WINDOWS)
    assert again is not first
    assert same(again, first)
    assert (store.encoded, store.brought_back) == (2, 1)


def test_a_volume_that_was_opened_again_finds_its_features(
    a_ball: Volume, a_region: Region, a_small_nano: NanoNetwork
) -> None:
    store = FeatureStore(a_small_nano)
    twin = Volume(a_ball.voxels, a_ball.spacing)
    a_ball.key = twin.key = "the volume's id"
    store.features(a_ball, 0, 3, a_region, WINDOWS)
    store.features(twin, 0, 3, a_region, WINDOWS)
    assert store.encoded == 1


def test_window_axis_region_and_volume_tell_features_apart(
    a_ball: Volume, a_region: Region, a_small_nano: NanoNetwork
) -> None:
    store = FeatureStore(a_small_nano)
    other = Region.crop((20.0, 20.0), 24.0, (1.0, 1.0), 32)
    store.features(a_ball, 0, 3, a_region, WINDOWS)
    store.features(a_ball, 1, 3, a_region, WINDOWS)
    store.features(a_ball, 0, 3, other, WINDOWS)
    store.features(a_ball, 0, 3, a_region, WINDOWS[::-1])
    store.features(Volume(a_ball.voxels, a_ball.spacing), 0, 3, a_region, WINDOWS)
    assert store.encoded == 5


def test_a_batch_is_what_its_slices_are_alone(a_ball: Volume, a_region: Region, a_small_nano: NanoNetwork) -> None:
    alone, together = FeatureStore(a_small_nano), FeatureStore(a_small_nano)
    together.features(a_ball, 0, 5, a_region, WINDOWS)
    batch = together.batch(a_ball, 0, [4, 5, 6, 4], a_region, WINDOWS)
    assert together.encoded == 3
    for index, features in zip([4, 5, 6, 4], batch, strict=True):
        expected = alone.features(a_ball, 0, index, a_region, WINDOWS)
        for level, wanted in zip(features.levels, expected.levels, strict=True):
            torch.testing.assert_close(level, wanted, atol=1e-5, rtol=1e-5)


def test_a_forgotten_volume_leaves_no_file(
    tmp_path: Path, a_ball: Volume, a_region: Region, a_small_nano: NanoNetwork, a_folder: FeatureFolder
) -> None:
    store = FeatureStore(a_small_nano, capacity=1, folder=a_folder)
    other = Volume(a_ball.voxels, a_ball.spacing)
    for index in range(4):
        store.features(a_ball, 0, index, a_region, WINDOWS)
    store.features(other, 0, 0, a_region, WINDOWS)
    assert a_folder.wait_until_written()
    assert len(list((tmp_path / "features").iterdir())) == 4
    store.forget(a_ball.key)
    assert list((tmp_path / "features").iterdir()) == []
    assert not store.holds(a_ball, 0, 0, a_region, WINDOWS)
    assert store.holds(other, 0, 0, a_region, WINDOWS)


def test_a_volume_is_forgotten_while_others_ask_for_features(
    a_ball: Volume, a_region: Region, a_small_nano: NanoNetwork
) -> None:
    store = FeatureStore(a_small_nano, capacity=1)
    with store._lock:
        forgetting = threading.Thread(target=store.forget, args=(a_ball.key,))
        forgetting.start()
        forgetting.join(0.05)
        assert forgetting.is_alive(), "it waits until the shelves are left"
    forgetting.join(5.0)
    assert not store.holds(a_ball, 0, 3, a_region, WINDOWS)


def test_the_folder_keeps_to_its_bytes(
    tmp_path: Path, a_ball: Volume, a_region: Region, a_small_nano: NanoNetwork
) -> None:
    store = FeatureStore(a_small_nano)
    one = store.features(a_ball, 0, 0, a_region, WINDOWS)
    folder = FeatureFolder(tmp_path / "features", int(2.5 * size_of(one)))
    for index in range(3):
        folder.put(key_of(a_ball, index, a_region), one)
        assert folder.wait_until_written()
        assert folder.get(key_of(a_ball, 0, a_region)) is not None, "it was used last but one"
    assert key_of(a_ball, 1, a_region) not in folder, "it was the oldest"
    assert sum(path.stat().st_size for path in (tmp_path / "features").iterdir()) <= folder.capacity
    folder.close()


def test_only_the_owner_reads_the_folder_and_it_goes_with_the_program(tmp_path: Path) -> None:
    leftover = tmp_path / "features" / "of an earlier worker"
    leftover.parent.mkdir()
    leftover.write_text("old")
    folder = FeatureFolder(tmp_path / "features", 1000)
    assert not leftover.exists()
    assert leftover.parent.stat().st_mode & 0o077 == 0
    folder.close()
    assert not leftover.parent.exists()


def test_a_full_disk_means_that_features_are_computed_again(
    a_ball: Volume,
    a_region: Region,
    a_small_nano: NanoNetwork,
    a_folder: FeatureFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feature_folder, "LEAST_FREE_BYTES", 2**62)
    store = FeatureStore(a_small_nano, capacity=1, folder=a_folder)
    first = store.features(a_ball, 0, 0, a_region, WINDOWS)
    store.features(a_ball, 0, 1, a_region, WINDOWS)
    assert a_folder.wait_until_written()
    assert same(store.features(a_ball, 0, 0, a_region, WINDOWS), first)
    assert (store.encoded, store.brought_back) == (3, 0)


def test_a_file_that_was_cut_off_is_not_believed(
    tmp_path: Path, a_ball: Volume, a_region: Region, a_small_nano: NanoNetwork, a_folder: FeatureFolder
) -> None:
    store = FeatureStore(a_small_nano, capacity=1, folder=a_folder)
    first = store.features(a_ball, 0, 0, a_region, WINDOWS)
    store.features(a_ball, 0, 1, a_region, WINDOWS)
    assert a_folder.wait_until_written()
    path = next((tmp_path / "features").iterdir())
    path.write_bytes(path.read_bytes()[:-100])
    assert same(store.features(a_ball, 0, 0, a_region, WINDOWS), first)
    assert store.encoded == 3


def test_putting_features_to_disk_does_not_wait_for_it(
    a_ball: Volume,
    a_region: Region,
    a_small_nano: NanoNetwork,
    a_folder: FeatureFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = FeatureStore(a_small_nano).features(a_ball, 0, 0, a_region, WINDOWS)
    going_on = threading.Event()

    def stuck(path: Path, features: Features) -> None:
        going_on.wait(10)
        raise OSError("the disk was slow and then failed")

    monkeypatch.setattr(feature_folder, "WAITING_BYTES", 2 * size_of(one))
    monkeypatch.setattr(feature_folder, "_write", stuck)
    for index in range(5):
        a_folder.put(key_of(a_ball, index, a_region), one)
    assert sum(key_of(a_ball, index, a_region) in a_folder for index in range(5)) == 2, "the others are not kept"
    going_on.set()

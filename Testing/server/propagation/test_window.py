"""Windows: CT is recognised, other modalities get percentiles, an object gets its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.object_end import Tissue
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import CT_SOFT_TISSUE, Window, WindowError, automatic_window, object_window

from .conftest import BALL, ThresholdNetwork, finish

RANDOM = np.random.default_rng(0)


def volume_of(voxels: np.ndarray) -> Volume:
    return Volume(voxels, (1.0, 1.0, 1.0))


def test_a_window_maps_its_edges_to_black_and_white() -> None:
    shown = Window(-100.0, 300.0).apply(np.array([-500, -100, 100, 300, 900], np.int16))
    np.testing.assert_allclose(shown, [0, 0, 0.5, 1, 1])
    assert shown.dtype == np.float32


@pytest.mark.parametrize("edges", [(1.0, 1.0), (2.0, 1.0), (np.nan, 1.0), (0.0, np.inf)])
def test_a_window_of_no_width_is_refused(edges: tuple[float, float]) -> None:
    with pytest.raises(WindowError, match="low below high"):
        Window(*edges)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_hounsfield_units_get_the_soft_tissue_window(dtype: type) -> None:
    voxels = np.full((16, 32, 32), -1000, dtype)
    voxels[:, 8:24, 8:24] = RANDOM.normal(40, 30, (16, 16, 16)).astype(dtype)
    window = automatic_window(volume_of(voxels))
    assert (window.low, window.high) == CT_SOFT_TISSUE


def test_a_picture_of_another_kind_is_seen_from_dark_to_bright() -> None:
    voxels = np.zeros((16, 32, 32), np.uint16)
    voxels[:, 8:24, 8:24] = RANDOM.integers(200, 1200, (16, 16, 16))
    voxels[0, 8, 8] = 60000
    window = automatic_window(volume_of(voxels))
    assert 200 <= window.low < 220
    assert 1180 < window.high < 1300


def test_a_nearly_binary_volume_still_gets_a_window() -> None:
    voxels = np.zeros((8, 8, 8), np.uint8)
    voxels[2:4, 2:4, 2:4] = 255
    window = automatic_window(volume_of(voxels))
    assert (window.low, window.high) == (0.0, 255.0)


def test_an_objects_window_is_centred_on_its_median() -> None:
    inside, around = RANDOM.normal(100, 10, 500), RANDOM.normal(20, 10, 500)
    window = object_window(inside, around)
    median = np.median(inside)
    assert window.low + window.high == pytest.approx(2 * median)
    assert (window.high - window.low) / 2 == pytest.approx(1.5 * np.median(np.abs(around - median)))


def test_a_noisy_object_in_its_like_is_not_cut_off() -> None:
    inside = RANDOM.normal(100, 10, 5000)
    window = object_window(inside, np.full(500, 100.0))
    assert (window.high - window.low) / 2 == pytest.approx(20, rel=0.1)


def test_a_constant_object_gets_a_window_of_some_width() -> None:
    window = object_window(np.full(5, 7, np.int16), np.full(5, 7, np.int16))
    assert window.low < 7 < window.high


@pytest.mark.parametrize("unit", [2.0**-30, 2.0**-66, 2.0**40])
@pytest.mark.parametrize("noise", [0.0, 9.0])
def test_a_round_does_not_depend_on_the_unit_of_the_grey_values(unit: float, noise: float) -> None:
    """PET in SI units has values of 1e-9. Powers of two, so that nothing is rounded."""
    voxels = np.where(BALL, 90.0, 20.0) + np.random.default_rng(1).normal(0, noise, BALL.shape)
    masks = []
    for scale in (1.0, unit):
        volume = Volume((np.abs(voxels) * scale).astype(np.float32), (2.0, 1.0, 1.0))
        session = Session(volume, ThresholdNetwork(prefers_crop=True))
        finish(session.begin("a", [BoxPrompt(1, 0, (12, 9, 9), (12, 31, 35), "box")]))
        finish(session.begin("b", [PointPrompt(1, (14.0, 20.0, 30.0), True, 0, "click")]))
        masks.append(session.labelmap(1))
    assert masks[0].any()
    assert np.array_equal(*masks)


@pytest.mark.parametrize("unit", [2.0**-30, 2.0**-66, 1.0, 2.0**40])
def test_constant_tissue_keeps_a_range_in_every_unit(unit: float) -> None:
    tissue = Tissue.of(np.full(50, 90.0 * unit, np.float32))
    assert tissue.distance(np.full(50, 90.0 * unit, np.float32)) == 0
    assert tissue.distance(np.full(50, 20.0 * unit, np.float32)) > 0.8
    assert tissue.low < tissue.high


def test_real_volumes_are_seen_with_contrast(data_folder: Path) -> None:
    for case in sorted(path.parent.name for path in data_folder.glob("*/image.nii.gz")):
        image = sitk.ReadImage(str(data_folder / case / "image.nii.gz"))
        voxels = sitk.GetArrayFromImage(image)
        window = automatic_window(volume_of(voxels))
        is_ct = "ct" in case.split("_")
        assert ((window.low, window.high) == CT_SOFT_TISSUE) == is_ct, case
        label = sitk.GetArrayFromImage(sitk.ReadImage(str(data_folder / case / "label.nii.gz")))
        shown = window.apply(voxels[label > 0])
        assert ((shown > 0) & (shown < 1)).mean() > 0.5, case


def test_a_volumes_window_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (volume_of(RANDOM.integers(0, high, (4, 9, 9)).astype(np.uint8)) for high in (200, 90))
    found = automatic_window(one), automatic_window(other)
    assert found[0] != found[1]
    monkeypatch.setattr(np, "percentile", None)
    assert (automatic_window(one), automatic_window(other)) == found

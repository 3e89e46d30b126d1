"""Source series are sorted and verified, and a labelmap is matched to them by geometry alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_tools import affine_of, geometry_of, small_phantom, unpacked
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from demo.phantom_dicom import write_phantom_series
from MemSeg3DLib.export.dicom.series import (
    DicomSourceError,
    PatientGrid,
    SourceSeries,
    onto_series,
    read_files,
    read_series,
    verify_series,
)


@pytest.fixture(scope="module")
def a_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    write_phantom_series(small_phantom().voxels, geometry_of(small_phantom()), folder)
    return folder


@pytest.fixture
def a_series(a_folder: Path) -> SourceSeries:
    return read_series(a_folder)


@pytest.fixture
def slices(a_series: SourceSeries) -> list[Dataset]:
    return [copy.deepcopy(dataset) for dataset in a_series.datasets]


def test_slices_in_any_order_become_one_grid(slices: list[Dataset]) -> None:
    shuffled = [slices[n] for n in np.random.default_rng(0).permutation(len(slices))]
    series = verify_series(shuffled)
    assert [dataset.InstanceNumber for dataset in series.datasets] == list(range(1, len(slices) + 1))
    assert series.grid.shape == small_phantom().voxels.shape
    assert np.allclose(series.spacing, small_phantom().spacing)


def test_files_that_are_no_dicom_are_passed_over(a_folder: Path, tmp_path: Path) -> None:
    for path in a_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "notes.txt").write_text("not DICOM", encoding="utf-8")
    assert len(read_series(tmp_path).datasets) == len(small_phantom().voxels)


def test_named_files_make_a_series(a_folder: Path) -> None:
    assert len(read_files(sorted(a_folder.iterdir())[3:9]).datasets) == 6


def test_two_series_on_one_grid_must_be_told_apart(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_phantom_series(small_phantom().voxels[:3], geometry_of(small_phantom()), tmp_path / name)
    grid = read_series(tmp_path / "second").grid
    with pytest.raises(DicomSourceError, match=r"the grid of 2 volumes.*--series"):
        read_series(tmp_path, grid=grid)
    uid = read_series(tmp_path / "second").planes[0].series
    assert read_series(tmp_path, uid, grid).planes[0].file.parent.name == "second"


def test_the_labelmap_chooses_the_series_on_whose_grid_it_lies(tmp_path: Path) -> None:
    write_phantom_series(small_phantom().voxels, geometry_of(small_phantom()), tmp_path / "large")
    write_phantom_series(small_phantom().voxels[:3], geometry_of(small_phantom()), tmp_path / "small")
    assert len(read_series(tmp_path).planes) == len(small_phantom().voxels)
    small = read_series(tmp_path / "small").grid
    assert len(read_series(tmp_path, grid=small).planes) == 3


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(DicomSourceError, match="no DICOM images"):
        read_series(tmp_path)
    with pytest.raises(DicomSourceError, match="no folder"):
        read_series(tmp_path / "absent")


def _move(index: int, by: tuple[float, float, float]) -> Callable[[list[Dataset]], None]:
    def change(slices: list[Dataset]) -> None:
        here = [float(value) for value in slices[index].ImagePositionPatient]
        slices[index].ImagePositionPatient = [a + b for a, b in zip(here, by, strict=True)]

    return change


def _put(index: int, keyword: str, value: object) -> Callable[[list[Dataset]], None]:
    def change(slices: list[Dataset]) -> None:
        setattr(slices[index], keyword, value)

    return change


def _drop(keyword: str) -> Callable[[list[Dataset]], None]:
    def change(slices: list[Dataset]) -> None:
        for dataset in slices:
            delattr(dataset, keyword)

    return change


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda slices: slices.pop(5), "irregular gaps"),
        (lambda slices: slices.append(slices[2]), "one SOP Instance UID"),
        (_move(4, (0, 0, 1.2)), "irregular gaps"),
        (_move(4, (0.9, 0, 0)), "shifted against each other"),
        (_move(4, (0, 0, 3.0)), "several images at one position"),
        (_put(3, "PatientID", "somebody else"), "not one volume but 2.*patient 2"),
        (_put(3, "StudyInstanceUID", generate_uid()), "not one volume but 2.*study 2"),
        (_put(3, "FrameOfReferenceUID", generate_uid()), "not one volume but 2.*stack 2"),
        (_put(3, "PixelSpacing", [1.0, 1.0]), "not one volume but 2.*pixels of 1 x 1 mm"),
        (_put(3, "ImageOrientationPatient", [0, 1, 0, 0, 0, -1]), "not one volume but 2.*sagittal"),
        (_put(3, "Rows", 7), "not one volume but 2.* x 7"),
        (_put(0, "NumberOfFrames", 12), "not one volume but 2"),
        (_drop("SOPInstanceUID"), "lacks the SOP Instance UID"),
        (_drop("ImagePositionPatient"), "without a position"),
        (lambda slices: slices.clear(), "no source slices"),
    ],
)
def test_a_series_that_cannot_be_verified_is_refused(
    slices: list[Dataset], damage: Callable[[list[Dataset]], None], reason: str
) -> None:
    damage(slices)
    with pytest.raises(DicomSourceError, match=reason):
        verify_series(slices)


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_taken(slices: list[Dataset]) -> None:
    for k, dataset in enumerate(slices):
        x, y, _ = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, round(k * 0.625, 1)]
    assert verify_series(slices).spacing[0] == pytest.approx(0.625, abs=0.01)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_turned_and_flipped_labelmaps_land_on_the_same_voxels(
    a_series: SourceSeries, order: tuple[int, int, int], flips: tuple[int, ...]
) -> None:
    labels = small_phantom().truth
    affine = affine_of(small_phantom())
    turned = np.flip(np.transpose(labels, order), flips)
    # Axis n of the turned array (k, j, i) runs along column 2 - order[n] of the matrix, backwards where flipped.
    new = np.eye(4)
    new[:3, 3] = affine[:3, 3]
    for axis, source in enumerate(order):
        step = affine[:3, 2 - source]
        if axis in flips:
            new[:3, 3] += step * (labels.shape[source] - 1)
            step = -step
        new[:3, 2 - axis] = step
    assert np.array_equal(onto_series(turned, PatientGrid(turned.shape, new), a_series), labels)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda affine: affine.__setitem__((0, 3), affine[0, 3] + 0.7), "mm away from where"),
        (lambda affine: affine.__setitem__((slice(0, 3), 2), affine[:3, 2] * 1.02), "mm away from where"),
        (lambda affine: affine.__setitem__((0, 0), affine[0, 0] * 2), "another size"),
        (lambda affine: affine.__setitem__((1, 0), 1.4), "mm away from where|point elsewhere"),
    ],
)
def test_a_labelmap_on_another_grid_is_refused(
    a_series: SourceSeries, change: Callable[[np.ndarray], None], reason: str
) -> None:
    affine = affine_of(small_phantom())
    change(affine)
    with pytest.raises(DicomSourceError, match=reason):
        onto_series(small_phantom().truth, PatientGrid(small_phantom().truth.shape, affine), a_series)


def test_a_cropped_labelmap_is_refused(a_series: SourceSeries) -> None:
    part = small_phantom().truth[1:]
    with pytest.raises(DicomSourceError, match="voxels"):
        onto_series(part, PatientGrid(part.shape, affine_of(small_phantom())), a_series)


@pytest.mark.parametrize(
    ("name", "folder", "shape"),
    [
        ("crlm1006_ct_512", "image", (51, 512, 512)),
        ("remind022_t1c_oblique_64sl_seg", "image", (64, 256, 248)),
        ("sts003_ct_rtstruct", ".", (51, 158, 154)),
        ("dcmqi_ct3slice_seg", ".", (3, 512, 512)),
    ],
)
def test_real_series_are_verified(
    data_folder: Path, tmp_path: Path, name: str, folder: str, shape: tuple[int, int, int]
) -> None:
    assert read_series(unpacked(data_folder, name, tmp_path) / folder).grid.shape == shape

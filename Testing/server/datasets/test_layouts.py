"""Every layout is recognised from what lies on disk, and its cases are the voxels that were written."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from memseg3d.datasets.checking import check_case
from memseg3d.datasets.description import Split
from memseg3d.datasets.door import open_data
from memseg3d.datasets.errors import AmbiguousLayout, DataSetError, UnknownLayout

from . import small_sets

LOSSY = {"medical-sam2": 2}
"""Grey values that JPEG may change by so much."""


@pytest.mark.parametrize("layout", small_sets.WRITERS)
def test_a_layout_is_recognised_and_read(layout: str, tmp_path: Path) -> None:
    truth = small_sets.WRITERS[layout](tmp_path)
    data = open_data(tmp_path)
    assert (data.layout, data.faults) == (layout, ())
    assert data.why
    labelled = {case.name: case for case in data.cases if case.labels}
    assert set(labelled) == set(truth)
    for name, each in truth.items():
        case = labelled[name]
        assert case.labels is not None
        image = np.moveaxis(case.image.read().voxels, case.slice_axis, 0)
        labels = np.moveaxis(case.labels.read().voxels, case.slice_axis, 0)
        assert np.abs(image.astype(int) - each.image).max() <= LOSSY.get(layout, 0)
        assert np.array_equal(labels, each.labels)
        assert np.moveaxis(np.empty(case.image.header().shape), case.slice_axis, 0).shape == image.shape
        assert check_case(case).fault is None
        if case.image.header().has_spacing:
            spacing = list(case.spacing)
            assert [spacing.pop(case.slice_axis), *spacing] == pytest.approx(small_sets.SPACING)


@pytest.mark.parametrize("layout", small_sets.WRITERS)
def test_a_description_travels_to_another_process(layout: str, tmp_path: Path) -> None:
    small_sets.WRITERS[layout](tmp_path)
    for case in open_data(tmp_path).cases:
        again = pickle.loads(pickle.dumps(case))
        assert again == case
        assert again.image.key() == case.image.key()


@pytest.mark.parametrize("layout", small_sets.WRITERS)
def test_listing_opens_no_voxels(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_sets.WRITERS[layout](tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("voxels were read")

    monkeypatch.setattr("memseg3d.datasets.sources.volume_files.read_volume", refuse)
    monkeypatch.setattr("memseg3d.datasets.sources.slice_stacks._picture", refuse)
    monkeypatch.setattr(np, "load", refuse)
    assert open_data(tmp_path).cases


def test_splits_and_modalities_are_those_of_the_sets(tmp_path: Path) -> None:
    small_sets.amos(tmp_path / "amos")
    cases = {case.name: case for case in open_data(tmp_path / "amos").cases}
    assert [(cases[n].split, cases[n].modality) for n in ("amos_0001", "amos_0507", "amos_0008", "amos_0100")] == [
        (Split.TRAIN, "CT"),
        (Split.TRAIN, "MR"),
        (Split.VALIDATION, "CT"),
        (Split.TEST, "CT"),
    ]
    small_sets.mem3d(tmp_path / "mem3d")
    data = open_data(tmp_path / "mem3d")
    assert [case.name for case in data.of_split("test")] == ["colon_010"]
    small_sets.kits19(tmp_path / "kits")
    (test,) = open_data(tmp_path / "kits").of_split(Split.TEST)
    assert (test.name, test.labels) == ("case_00210", None)


def test_the_four_channels_of_brats_are_told_apart(tmp_path: Path) -> None:
    truth = small_sets.brats2020(tmp_path)
    case = open_data(tmp_path).cases[0]
    assert case.channels == ("flair", "t1", "t1ce", "t2")
    for place, source in enumerate(case.images):
        assert np.array_equal(source.read().voxels, truth[case.name].image + place)


def test_a_decathlon_image_of_several_channels_is_read_one_by_one(tmp_path: Path) -> None:
    import SimpleITK as sitk

    each = small_sets.a_case(1)
    (tmp_path / "imagesTr").mkdir()
    channels = [sitk.GetImageFromArray((each.image + place).astype(np.int16)) for place in range(2)]
    file = tmp_path / "imagesTr" / "prostate_00.nii.gz"
    sitk.WriteImage(sitk.JoinSeries(channels), str(file))
    small_sets.save(tmp_path / "labelsTr" / "prostate_00.nii.gz", each.labels, (1.0, 1.0, 1.0))
    entry = {"image": "./imagesTr/prostate_00.nii.gz", "label": "./labelsTr/prostate_00.nii.gz"}
    index = {"modality": {"0": "T2", "1": "ADC"}, "labels": {"0": "background", "1": "PZ", "2": "TZ"}}
    (tmp_path / "dataset.json").write_text(json.dumps({**index, "training": [entry]}))
    (case,) = open_data(tmp_path).cases
    assert (case.modality, case.channels) == ("MR", ("T2", "ADC"))
    assert [np.array_equal(s.read().voxels, each.image + p) for p, s in enumerate(case.images)] == [True, True]
    assert check_case(case).fault is None
    file.write_bytes(file.read_bytes()[:-200])
    assert "cut off" in str(check_case(case).fault)


def test_folders_with_channels_are_matched_as_nnunet_names_them(tmp_path: Path) -> None:
    for name in ("case_a", "case_b"):
        for channel in (0, 1):
            small_sets.save(tmp_path / f"imagesTr/{name}_{channel:04d}.nii.gz", small_sets.a_case(channel).image)
        small_sets.save(tmp_path / f"labelsTr/{name}.nii.gz", small_sets.a_case(0).labels)
    (tmp_path / "imagesTr" / "case_b_0001.nii.gz").unlink()
    data = open_data(tmp_path)
    assert data.layout == "folders"
    assert [(case.name, len(case.images)) for case in data.cases] == [("case_a", 2)]
    (fault,) = data.faults
    assert "case_b" in fault.sentence
    assert "0001" in fault.sentence


def test_two_folders_may_be_named(tmp_path: Path) -> None:
    small_sets.save(tmp_path / "ct" / "a.nii.gz", small_sets.a_case(1).image)
    small_sets.save(tmp_path / "drawn" / "a.nii.gz", small_sets.a_case(1).labels)
    with pytest.raises(UnknownLayout, match="known"):
        open_data(tmp_path)
    data = open_data(tmp_path, images=Path("ct"), labels=tmp_path / "drawn")
    assert [case.name for case in data.cases] == ["a"]


def test_the_folder_above_a_set_will_do(tmp_path: Path) -> None:
    small_sets.msd(tmp_path / "Task10_Colon")
    assert open_data(tmp_path).layout == "msd"
    small_sets.amos(tmp_path / "amos")
    with pytest.raises(AmbiguousLayout, match=r"Task10_Colon \(msd\)"):
        open_data(tmp_path)


def test_what_can_be_read_in_two_ways_is_not_guessed(tmp_path: Path) -> None:
    small_sets.brats2020(tmp_path)
    small_sets.cvpr25(tmp_path)
    with pytest.raises(AmbiguousLayout, match=r"brats2020.*cvpr25.*--layout"):
        open_data(tmp_path)
    data = open_data(tmp_path, layout="cvpr25")
    assert (data.layout, data.why) == ("cvpr25", "--layout cvpr25")


def test_two_folders_of_labels_are_not_guessed(tmp_path: Path) -> None:
    small_sets.folders(tmp_path)
    small_sets.save(tmp_path / "masks" / "volume-0.nii.gz", small_sets.a_case(1).labels)
    with pytest.raises(AmbiguousLayout, match="labels and masks"):
        open_data(tmp_path)


def test_two_tasks_of_mem3d_are_not_mixed(tmp_path: Path) -> None:
    small_sets.mem3d(tmp_path)
    for folder in ("origin", "mask"):
        (tmp_path / "MSD" / f"Task06_{folder}" / "lung_001").mkdir(parents=True)
    with pytest.raises(AmbiguousLayout, match="Task06_origin"):
        open_data(tmp_path)
    assert len(open_data(tmp_path / "MSD" / "Task10_origin").cases) == 3


def test_a_layout_that_is_none_is_refused(tmp_path: Path) -> None:
    small_sets.folders(tmp_path)
    with pytest.raises(UnknownLayout, match="There is no layout voc"):
        open_data(tmp_path, layout="voc")
    with pytest.raises(UnknownLayout, match="not laid out as kits19"):
        open_data(tmp_path, layout="kits19")
    with pytest.raises(UnknownLayout, match="is no folder"):
        open_data(tmp_path / "nothing")


@pytest.mark.parametrize("entry", ["../secret.nii.gz", "/etc/secret.nii.gz", "C:\\secret.nii.gz"])
def test_an_index_cannot_point_outside_of_its_set(entry: str, tmp_path: Path) -> None:
    small_sets.msd(tmp_path)
    index = json.loads((tmp_path / "dataset.json").read_text())
    index["training"][0]["image"] = entry
    (tmp_path / "dataset.json").write_text(json.dumps(index))
    with pytest.raises(DataSetError, match="outside"):
        open_data(tmp_path)


def test_a_list_cannot_point_outside_of_its_set(tmp_path: Path) -> None:
    small_sets.mem3d(tmp_path)
    (tmp_path / "MSD/ImageSets10/train.txt").write_text("../../elsewhere\n")
    with pytest.raises(DataSetError, match="no name of a case"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"training": [3], "labels": {}}',
        '{"training": [], "labels": []}',
        '{"training": [], "labels": {}, "test": [{"label": "a"}]}',
        '{"training": [], "labels": {}, "test": [7]}',
    ],
)
def test_an_index_that_is_damaged_is_named(text: str, tmp_path: Path) -> None:
    small_sets.msd(tmp_path)
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataSetError, match=r"dataset\.json"):
        open_data(tmp_path, layout="msd")

"""Between layouts nothing is lost that the target can keep, and a conversion is whole, stopped, or going on."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from typer.testing import Result

from memseg3d.datasets.conversion import converting, staging
from memseg3d.datasets.conversion.converting import TARGETS, convert
from memseg3d.datasets.conversion.options import Frames, Options, Scaling
from memseg3d.datasets.door import open_data
from memseg3d.datasets.errors import DataSetError, NoRoom, UnwritableDataSet
from memseg3d.datasets.splits import draw_splits

from . import small_sets
from .conftest import words

Command = Callable[..., Result]
EXACT = {"folders", "msd", "cases", "video"}
"""Targets that keep grey values as they are."""


def slices_first(case: object, labels: bool = False) -> np.ndarray:
    source = case.labels if labels else case.image  # type: ignore[attr-defined]
    return np.moveaxis(source.read().voxels, case.slice_axis, 0)  # type: ignore[attr-defined]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", small_sets.WRITERS)
def test_every_layout_goes_to_every_target(source: str, target: str, tmp_path: Path) -> None:
    truth = small_sets.WRITERS[source](tmp_path / "from")
    before = {case.name: case for case in open_data(tmp_path / "from").cases}
    convert(open_data(tmp_path / "from"), tmp_path / "to", target)
    data = open_data(tmp_path / "to")
    assert (data.layout, data.faults, data.why) == (target, (), "memseg3d-dataset.json says so")
    after = {case.name: case for case in data.cases if case.labels}
    assert set(after) == set(truth)
    for name, each in truth.items():
        case = after[name]
        assert np.array_equal(slices_first(case, labels=True), each.labels)
        assert case.modality == before[name].modality
        # Some targets have a place for every case: what is for nothing trains there.
        assert case.split == before[name].split or not before[name].split
        if target in EXACT:
            assert np.array_equal(slices_first(case), slices_first(before[name]))
        if before[name].image.header().has_spacing:
            spacing = list(case.spacing)
            assert [spacing.pop(case.slice_axis), *spacing] == pytest.approx(small_sets.SPACING)
    assert [path.name for path in (tmp_path / "to").rglob(".unfinished*")] == []


@pytest.mark.parametrize("target", sorted(set(TARGETS) - {"cases", "folders", "video"}))
def test_a_converted_set_is_recognised_without_its_record(target: str, tmp_path: Path) -> None:
    small_sets.msd(tmp_path / "from")
    convert(open_data(tmp_path / "from"), tmp_path / "to", target)
    (tmp_path / "to" / "memseg3d-dataset.json").unlink()
    assert open_data(tmp_path / "to").layout == target


def test_an_oblique_grid_survives_frames(tmp_path: Path) -> None:
    each = small_sets.a_case(1)
    cosine, sine = np.cos(0.3), np.sin(0.3)
    for part, voxels in (("images", each.image), ("labels", each.labels)):
        image = sitk.GetImageFromArray(voxels)
        image.SetSpacing((0.7, 0.8, 2.5))
        image.SetOrigin((-12.5, 40.0, 7.25))
        image.SetDirection((cosine, sine, 0.0, sine, -cosine, 0.0, 0.0, 0.0, 1.0))
        (tmp_path / "from" / part).mkdir(parents=True)
        sitk.WriteImage(image, str(tmp_path / "from" / part / "a.nii.gz"))
    data = open_data(tmp_path / "from")
    before = data.cases[0].image.header().geometry
    for name, options in (
        ("plain", Options()),
        ("cropped", Options(threshold=0)),
        ("turned", Options(published=True, threshold=5, frames=Frames.PNG)),
    ):
        convert(data, tmp_path / name, "video", options)
        (case,) = open_data(tmp_path / name).cases
        geometry = case.image.header().geometry
        labels = slices_first(case, labels=True)
        # Every labelled point of the patient is found through either grid.
        points = np.argwhere(labels)[:, ::-1]
        world = np.column_stack([points, np.ones(len(points))]) @ geometry.affine.T
        back = np.rint(world @ np.linalg.inv(before.affine).T).astype(int)
        assert (each.labels[back[:, 2], back[:, 1], back[:, 0]] > 0).all()


def test_a_nifti_file_keeps_its_bytes(tmp_path: Path) -> None:
    small_sets.btcv(tmp_path / "from")
    convert(open_data(tmp_path / "from"), tmp_path / "to", "folders")
    source = tmp_path / "from/RawData/Training/img/img0001.nii.gz"
    assert (tmp_path / "to/images/img0001.nii.gz").read_bytes() == source.read_bytes()


def test_channels_become_one_file_of_the_decathlon(tmp_path: Path) -> None:
    small_sets.brats2020(tmp_path / "from")
    data = open_data(tmp_path / "from")
    convert(data, tmp_path / "to", "msd")
    case, before = open_data(tmp_path / "to").cases[0], data.cases[0]
    assert case.channels == ("flair", "t1", "t1ce", "t2")
    assert case.label_names == before.label_names
    for ours, theirs in zip(case.images, before.images, strict=True):
        assert np.array_equal(ours.read().voxels, theirs.read().voxels)


def test_one_channel_is_taken_by_name_or_number(memseg3d: Command, tmp_path: Path) -> None:
    truth = small_sets.brats2020(tmp_path / "from")
    for channel in ("T1ce", "2"):
        result = memseg3d("convert", tmp_path / "from", tmp_path / channel, "--to", "video", "--channel", channel)
        assert result.exit_code == 0, words(result)
        case = open_data(tmp_path / channel).cases[0]
        assert case.channels == ("t1ce",)
        assert np.array_equal(case.image.read().voxels, truth[case.name].image + 2)
    result = memseg3d("convert", tmp_path / "from", tmp_path / "no", "--to", "video", "--channel", "t9")
    assert result.exit_code == 1
    assert "has no channel t9; the case has flair, t1, t1ce, t2" in words(result)


def test_evaluation_reads_what_is_written_for_it(tmp_path: Path) -> None:
    from memseg3d.evaluation.targets import find_cases, read_case

    small_sets.msd(tmp_path / "from")
    data = open_data(tmp_path / "from")
    record = convert(data, tmp_path / "to", "cases")
    assert list(record.skipped) == ["colon_004"]
    found = find_cases(tmp_path / "to")
    assert found == dict.fromkeys(("colon_001", "colon_002", "colon_010"), "CT")
    assert read_case(tmp_path / "to", "colon_001", "CT").labels.max() == 2


def test_nii2video_as_published(memseg3d: Command, tmp_path: Path) -> None:
    """Against the flow told anew: third axis, threshold, last slice dropped, each slice scaled by itself, cut off."""
    truth = small_sets.msd(tmp_path / "from")
    arguments = ("convert", tmp_path / "from", tmp_path / "videos", "--to", "nii2video", "--published")
    result = memseg3d(*arguments, "--threshold", 15, "--frames", "png")
    assert result.exit_code == 1, words(result)
    assert "colon_004" in words(result)
    for name, each in truth.items():
        folder = tmp_path / "videos_15" / name
        voxels, labels = each.image.transpose(2, 1, 0).astype(float), each.labels.transpose(2, 1, 0)
        shown = np.flatnonzero((labels > 0).sum((0, 1)) > 15)
        expected = range(shown.min(), shown.max())
        assert len(list(folder.glob("*.png"))) == len(expected)
        for number, index in enumerate(expected):
            plane = voxels[:, :, index]
            scaled = ((plane - plane.min()) / (plane.max() - plane.min()) * 255).astype(np.uint8)
            assert np.array_equal(np.asarray(Image.open(folder / f"{number:05d}.png")), scaled)
            mask = np.load(folder / f"{number:05d}.npy")
            assert mask.dtype == np.int64
            assert np.array_equal(mask, labels[:, :, index] > 0)
    assert memseg3d(*arguments, "--threshold", 16).exit_code == 1
    assert len(list((tmp_path / "videos_16" / "colon_001").glob("*.jpg"))) == len(expected)


def test_the_published_threshold_is_256(memseg3d: Command, tmp_path: Path) -> None:
    small_sets.msd(tmp_path / "from")
    result = memseg3d("convert", tmp_path / "from", tmp_path / "videos", "--to", "video", "--published")
    assert result.exit_code == 1
    assert "no slice with more than 256 labelled pixels" in words(result)
    assert (tmp_path / "videos_256").is_dir()


def test_threshold_zero_reaches_further_by_the_seed(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 99, (60, 8, 8)).astype(np.int16)
    labels = np.zeros(voxels.shape, np.uint8)
    labels[30:34, 2:5, 2:5] = 1
    small_sets.save(tmp_path / "from/images/a.nii.gz", voxels)
    small_sets.save(tmp_path / "from/labels/a.nii.gz", labels)
    lengths = []
    for number, seed in enumerate((0, 0, 1, 2, 3)):
        convert(
            open_data(tmp_path / "from"),
            tmp_path / str(number),
            "video",
            Options(threshold=0, published=True, seed=seed),
        )
        lengths.append(len(list((tmp_path / str(number) / "a").glob("*.jpg"))))
    assert lengths[0] == lengths[1]
    assert all(3 + 10 <= length <= 3 + 18 for length in lengths)
    convert(open_data(tmp_path / "from"), tmp_path / "ours", "video", Options(threshold=0))
    assert len(list((tmp_path / "ours" / "a").glob("*.png"))) == 4


def test_mem3d_as_published_scales_each_slice_and_lays_columns_first(tmp_path: Path) -> None:
    truth = small_sets.kits19(tmp_path / "from")
    convert(open_data(tmp_path / "from"), tmp_path / "to", "mem3d", Options(published=True, task=10, window=(-79, 304)))
    picture = np.asarray(Image.open(tmp_path / "to/MSD/Task10_origin/case_00001/3.png"))
    plane = truth["case_00001"].image[3].T.astype(float).clip(-79, 304)
    assert np.array_equal(picture, np.rint((plane - plane.min()) / (plane.max() - plane.min()) * 255))
    mask = Image.open(tmp_path / "to/MSD/Task10_mask/case_00001/3.png")
    assert mask.mode == "P"
    assert np.array_equal(np.asarray(mask), truth["case_00001"].labels[3].T)
    assert (tmp_path / "to/MSD/ImageSets10/train.txt").read_text().split() == ["case_00000", "case_00001", "case_00010"]


def test_fractions_are_kept_to_a_65535th_of_their_range(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).normal(0, 1, small_sets.SHAPE).astype(np.float32)
    small_sets.save(tmp_path / "from/images/a.nii.gz", voxels)
    small_sets.save(tmp_path / "from/labels/a.nii.gz", small_sets.a_case(1).labels)
    convert(open_data(tmp_path / "from"), tmp_path / "to", "video")
    (case,) = open_data(tmp_path / "to").cases
    assert np.abs(case.image.read().voxels - voxels).max() <= np.ptp(voxels) / 65535


def test_labels_are_chosen_and_numbered_anew(memseg3d: Command, tmp_path: Path) -> None:
    truth = small_sets.msd(tmp_path / "from")
    arguments = ("convert", tmp_path / "from", tmp_path / "to", "--to", "mem3d")
    assert memseg3d(*arguments, "--label", 2).exit_code == 1
    data = open_data(tmp_path / "to")
    assert data.label_names == {1: "other"}
    labels = data.cases[0].labels
    assert labels is not None
    assert np.array_equal(labels.read().voxels, truth["colon_001"].labels == 2)
    result = memseg3d("convert", tmp_path / "from", tmp_path / "no", "--to", "mem3d", "--label", 7)
    assert result.exit_code == 2
    assert "has no label 7; it has 1 (primaries)" in words(result)
    assert not (tmp_path / "no").exists()


def test_a_label_that_no_file_holds_is_refused(memseg3d: Command, tmp_path: Path) -> None:
    """Such a set tells no names: the files say which labels there are."""
    small_sets.folders(tmp_path / "set")
    result = memseg3d("convert", tmp_path / "set", tmp_path / "to", "--to", "cases", "--label", 2, "--label", 9)
    assert result.exit_code == 2
    assert "has no label 9; its files hold 1, 2." in words(result)
    assert not (tmp_path / "to").exists()
    assert memseg3d("convert", tmp_path / "set", tmp_path / "to", "--to", "cases", "--label", 2).exit_code == 0


def test_splits_of_a_file_are_written(memseg3d: Command, tmp_path: Path) -> None:
    small_sets.btcv(tmp_path / "from")
    splits = draw_splits(open_data(tmp_path / "from").cases, 1, 0.3, 0.3)
    splits.write(tmp_path / "splits.json")
    arguments = ("--to", "medical-sam2", "--splits", tmp_path / "splits.json")
    result = memseg3d("convert", tmp_path / "from", tmp_path / "to", *arguments)
    assert result.exit_code == 0, words(result)
    for part in ("Training", "Validation", "Test"):
        assert len(list((tmp_path / "to" / part / "image").iterdir())) == 1
    data = open_data(tmp_path / "to")
    assert {case.name: case.split for case in data.cases} == splits.by_case


def test_broken_pairs_are_left_out_and_named(memseg3d: Command, tmp_path: Path) -> None:
    small_sets.btcv(tmp_path / "from")
    small_sets.save(tmp_path / "from/RawData/Training/label/label0002.nii.gz", np.ones((2, 2, 2), np.uint8))
    file = tmp_path / "from/RawData/Training/img/img0010.nii.gz"
    file.write_bytes(file.read_bytes()[:-300])
    (tmp_path / "from/RawData/Testing/img/img0061.nii.gz").unlink()
    result = memseg3d("convert", tmp_path / "from", tmp_path / "to", "--to", "video")
    assert result.exit_code == 1
    assert "Left out: img0002" in words(result)
    assert "img0010.nii.gz is cut off" in words(result)
    assert [path.name for path in (tmp_path / "to").iterdir() if path.is_dir()] == ["img0001"]
    # Mended, they are added.
    small_sets.btcv(tmp_path / "from")
    (tmp_path / "from/RawData/Testing/img/img0061.nii.gz").unlink()
    result = memseg3d("convert", tmp_path / "from", tmp_path / "to", "--to", "video")
    assert result.exit_code == 0, words(result)
    assert len(open_data(tmp_path / "to").cases) == 3


@pytest.mark.parametrize("target", TARGETS)
def test_a_full_disk_is_told_and_the_conversion_goes_on(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_sets.btcv(tmp_path / "from")
    data = open_data(tmp_path / "from")
    written = []
    publish = staging.Staging.publish

    def full(self: staging.Staging, units: tuple[str, ...]) -> None:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "to" / units[0]))
        written.append(units)
        publish(self, units)

    monkeypatch.setattr(converting.Staging, "publish", full)
    with pytest.raises(NoRoom, match=r"disk is full.*1 of 4 cases are written.*goes on"):
        convert(data, tmp_path / "to", target)
    assert not (tmp_path / "to" / ".unfinished").exists()
    unfinished = open_data(tmp_path / "to") if target not in ("msd", "cases") else None
    assert unfinished is None or ([c.name for c in unfinished.cases], "not finished" in str(unfinished.notes)) == (
        ["img0001"],
        True,
    )
    monkeypatch.setattr(converting.Staging, "publish", publish)
    said: list[str] = []
    record = convert(data, tmp_path / "to", target, say=said.append)
    assert record.is_complete
    assert not any("img0001" in line for line in said)
    assert {case.name for case in open_data(tmp_path / "to").cases if case.labels} == {"img0001", "img0002", "img0010"}


@pytest.mark.parametrize("target", ["video", "cases"])
def test_a_write_that_fails_half_way_leaves_nothing(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_sets.btcv(tmp_path / "from")
    data = open_data(tmp_path / "from")
    calls: list[Path] = []
    write_bytes, open_file = Path.write_bytes, Path.open

    def fails(path: Path) -> None:
        if "img0002" in str(path) and ".unfinished" in str(path):
            calls.append(path)
            if len(calls) > 2:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def write(self: Path, content: bytes) -> int:
        fails(self)
        return write_bytes(self, content)

    def copy(source: Path, path: Path) -> None:
        calls.extend([path, path])
        open_file(path, "wb").write(b"half")
        fails(path)
        open_file(path, "wb").write(source.read_bytes())

    monkeypatch.setattr(Path, "write_bytes", write)
    monkeypatch.setattr("memseg3d.datasets.conversion.volumes.shutil.copyfile", copy)
    with pytest.raises(NoRoom, match="img0002"):
        convert(data, tmp_path / "to", target)
    left = {path.name for path in (tmp_path / "to").iterdir()}
    assert left == {"img0001", "memseg3d-dataset.json"}


def test_another_conversions_folder_is_refused(tmp_path: Path) -> None:
    small_sets.msd(tmp_path / "from")
    data = open_data(tmp_path / "from")
    convert(data, tmp_path / "to", "video")
    with pytest.raises(UnwritableDataSet, match="another conversion"):
        convert(data, tmp_path / "to", "video", Options(scaling=Scaling.SLICE))
    with pytest.raises(UnwritableDataSet, match="another conversion"):
        convert(data, tmp_path / "to", "msd")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UnwritableDataSet, match="not empty"):
        convert(data, tmp_path / "mine", "video")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(UnwritableDataSet, match="in the set that is read"):
        convert(data, tmp_path / "from" / "to", "video")


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    small_sets.msd(tmp_path / "from")
    convert(open_data(tmp_path / "from"), tmp_path / "to", "video")
    for text in ("{", json.dumps({"format": 1}), json.dumps({"format": 9})):
        (tmp_path / "to" / "memseg3d-dataset.json").write_text(text)
        with pytest.raises(DataSetError, match=r"memseg3d-dataset\.json"):
            open_data(tmp_path / "to")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "btcv"), "one published set"),
        (("--to", "pdf"), "There is no layout pdf"),
        (("--to", "msd", "--threshold", 3), "belong to --to video"),
        (("--to", "msd", "--frames", "png"), "keeps no 2D images"),
        (("--to", "msd", "--window", 0, 1), "keeps volumes as they are"),
        (("--to", "mem3d", "--frames", "jpeg"), "reads PNG alone"),
        (("--to", "video", "--frames", "jpeg", "--scaling", "exact"), "JPEG keeps 8 bits"),
        (("--to", "cvpr25", "--published"), "No release"),
        (("--to", "video", "--window", 5, 5), "lower to its higher"),
        (("--to", "mem3d", "--window", "-inf", "inf"), "lower to its higher"),
        (("--to", "video", "--label", 1, "--label", 1), "each named once"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments: tuple[str | int, ...], said: str, memseg3d: Command, tmp_path: Path
) -> None:
    small_sets.msd(tmp_path / "from")
    result = memseg3d("convert", tmp_path / "from", tmp_path / "to", *arguments)
    assert result.exit_code == 2
    assert said in words(result)
    assert not (tmp_path / "to").exists()

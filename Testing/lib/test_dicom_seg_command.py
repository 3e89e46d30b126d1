"""The command `python -m MemSeg3DLib.export.dicom.command`: files in, a DICOM-SEG out, else a sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_tools import small_phantom, write_small_phantom

from demo.phantom_anatomy import LIVER
from MemSeg3DLib.export.dicom.command import main
from MemSeg3DLib.export.dicom.terminology import LabelsError, read_labels

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with truth.nii.gz, labels.json and the DICOM series in dicom/."""
    return write_small_phantom(tmp_path_factory.mktemp("files"))


def arguments(files: Path, out: Path, **changed: Path | str) -> list[str]:
    given = {"dicom": files / "dicom", "labelmap": files / "truth.nii.gz", "labels": files / "labels.json", "out": out}
    given.update(changed)  # type: ignore[arg-type]
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def test_the_command_writes_a_file(files: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "MemSeg3DLib.export.dicom.command", *arguments(files, tmp_path / "seg.dcm")]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "liver" in answer.stdout
    segmentation = pydicom.dcmread(tmp_path / "seg.dcm")
    liver = next(item for item in segmentation.SegmentSequence if item.SegmentLabel == "liver")
    frames = [
        frame
        for frame in segmentation.PerFrameFunctionalGroupsSequence
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == liver.SegmentNumber
    ]
    assert len(frames) == int(small_phantom().mask(LIVER).any(axis=(1, 2)).sum())


def test_without_labels_the_segments_are_numbered(files: Path, tmp_path: Path) -> None:
    words = arguments(files, tmp_path / "seg.dcm")
    at = words.index("--labels")
    assert main(words[:at] + words[at + 2 :]) == 0
    assert pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence[0].SegmentLabel == "Segment 1"


def _labelmap(folder: Path, image: sitk.Image) -> Path:
    path = folder / "labelmap.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


def test_a_flipped_labelmap_is_taken(files: Path, tmp_path: Path) -> None:
    flipped = sitk.Flip(sitk.ReadImage(str(files / "truth.nii.gz")), [True, True, False])
    assert main(arguments(files, tmp_path / "seg.dcm", labelmap=_labelmap(tmp_path, flipped))) == 0
    straight = main(arguments(files, tmp_path / "straight.dcm"))
    assert straight == 0
    turned, direct = (pydicom.dcmread(tmp_path / name).pixel_array for name in ("seg.dcm", "straight.dcm"))
    assert np.array_equal(turned, direct)


def _shifted(image: sitk.Image) -> sitk.Image:
    image.SetOrigin([image.GetOrigin()[0] + 1.0, *image.GetOrigin()[1:]])
    return image


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_shifted, "not on the grid of the DICOM series"),
        (lambda image: image[:, :, 1:], "not on the grid"),
        (lambda image: sitk.Cast(image, sitk.sitkFloat32) * 0.5, "fractions"),
        (lambda image: sitk.Cast(image, sitk.sitkInt16) * -1, "negative"),
        (lambda image: sitk.Cast(image, sitk.sitkInt16) * 31, "without a description"),
        (lambda image: sitk.Compose(image, image), "no three-dimensional labelmap"),
        (lambda image: image * 0, "Every segment is empty"),
    ],
)
def test_a_labelmap_that_cannot_be_right_is_refused(
    files: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: object,
    reason: str,
) -> None:
    assert callable(spoil)
    spoiled = _labelmap(tmp_path, spoil(sitk.ReadImage(str(files / "truth.nii.gz"))))
    assert main(arguments(files, tmp_path / "seg.dcm", labelmap=spoiled)) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "seg.dcm").exists()


@pytest.mark.parametrize(
    ("option", "content", "reason"),
    [
        ("labelmap", None, "There is no file"),
        ("labelmap", "no image at all", "no gzip file"),
        ("labels", "{", "no valid JSON"),
        ("labels", None, "cannot be read"),
        ("dicom", None, "no folder"),
    ],
)
def test_unreadable_input_says_what_to_do(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, content: str | None, reason: str
) -> None:
    path = tmp_path / ("broken.nii.gz" if option == "labelmap" else "broken.json")
    if content is not None:
        path.write_text(content, encoding="utf-8")
    assert main(arguments(files, tmp_path / "seg.dcm", **{option: path})) == 1
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "must map label values"),
        ({"liver": "1"}, "no positive whole number"),
        ({"1": {"colour": [1, 2, 3]}}, "has no name"),
        ({"1": {"name": "liver", "hue": [1, 2, 3]}}, "unknown fields: hue"),
        ({"1": {"name": "liver", "colour": [1, 2]}}, "three whole numbers"),
        ({"1": {"name": "liver", "type": ["10200004", "SCT"]}}, "value, coding scheme and meaning"),
        ({"1": {"name": "liver", "color": [1, 0.5, 7]}}, "three whole numbers"),
        ({"segments": [{"name": "liver"}]}, "a label and a name"),
        ({"1": {"name": "liver", "type": "liver"}}, "value, coding scheme and meaning"),
        ({"1": {"name": "liver", "color": [1, "a", 0]}}, "three whole numbers"),
        ({"1": {"name": "liver", "color": 5}}, "three whole numbers"),
        ({"1": {"name": "liver", "color": [float("nan"), 0, 0]}}, "three whole numbers"),
        ({"1": {"name": "liver", "color": [1e300, 0, 0]}}, "three whole numbers"),
        ({"9" * 5000: "liver"}, "no positive whole number"),
        ({"1": {"name": "liver", "tracking_uid": "the first"}}, "a DICOM UID"),
        ({"1": "liver", "01": "spleen"}, "told twice"),
        ({"segments": [{"label": 1, "name": "liver"}, {"label": 1, "name": "spleen"}]}, "told twice"),
    ],
)
def test_a_labels_file_that_means_nothing_is_refused(tmp_path: Path, content: object, reason: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(LabelsError, match=reason):
        read_labels(path)


@pytest.mark.parametrize(
    ("content", "reason"), [('{"1": "liver", "1": "spleen"}', "told twice"), (r'{"1": "\ud800"}', "no valid JSON")]
)
def test_what_json_would_take_silently_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(LabelsError, match=reason):
        read_labels(path)


def test_labels_with_gaps_become_segments_without(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names, colours and voxels go along; one that is empty leaves no gap; equal names are told."""
    image = sitk.ReadImage(str(files / "truth.nii.gz"))
    truth = sitk.GetArrayFromImage(image)
    gaps = np.zeros_like(truth)
    for old, new in ((1, 1), (2, 3), (3, 7)):
        gaps[truth == old] = new
    labelmap = sitk.GetImageFromArray(gaps)
    labelmap.CopyInformation(image)
    labels = tmp_path / "labels.json"
    words = {"7": {"name": "a", "colour": [255, 0, 0]}, "5": "empty", "3": {"name": "b"}, "1": {"name": "b"}}
    labels.write_text(json.dumps(words), encoding="utf-8")
    # The series' files in another order, and named so.
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    for number, file in enumerate(sorted((files / "dicom").iterdir())):
        shutil.copyfile(file, shuffled / f"{number * 37 % 101:03}.dcm")
    given = {"labelmap": _labelmap(tmp_path, labelmap), "labels": labels, "dicom": shuffled}
    assert main(arguments(files, tmp_path / "seg.dcm", **given)) == 0
    told = capsys.readouterr().err
    assert "empty is empty and was left out" in told
    assert "2 segments are called b" in told
    written = pydicom.dcmread(tmp_path / "seg.dcm")
    assert [(item.SegmentNumber, item.SegmentLabel) for item in written.SegmentSequence] == [
        (1, "a"),
        (2, "b"),
        (3, "b"),
    ]
    assert "RecommendedDisplayCIELabValue" in written.SegmentSequence[0]
    assert "RecommendedDisplayCIELabValue" not in written.SegmentSequence[1]
    counts = {1: 0, 2: 0, 3: 0}
    for frame, plane in zip(written.PerFrameFunctionalGroupsSequence, written.pixel_array, strict=True):
        counts[frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber] += int(plane.sum())
    assert counts == {1: (gaps == 7).sum(), 2: (gaps == 3).sum(), 3: (gaps == 1).sum()}


def test_a_labelmap_of_a_part_of_the_series_is_refused(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / "part"
    part.mkdir()
    for file in sorted((files / "dicom").iterdir())[:-3]:
        shutil.copyfile(file, part / file.name)
    assert main(arguments(files, tmp_path / "seg.dcm", dicom=part)) == 1
    assert "it has (20, 112, 128) voxels (k, j, i), the series (17, 112, 128)" in capsys.readouterr().err


def test_known_names_bring_their_codes(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"1": "Liver", "2": {"name": "Left_kidney", "colour": [1, 2, 3]}}), encoding="utf-8")
    liver, kidney = read_labels(path)
    assert liver.type.value == "10200004"
    assert kidney.modifier is not None
    assert (kidney.modifier.meaning, kidney.colour) == ("Left", (1, 2, 3))


@pytest.mark.parametrize(
    "content",
    [
        {"1": {"name": "liver", "color": [1.0, 0.5, 0.0]}},
        {"segments": [{"label": 1, "name": "liver", "voxels": 17}], "model": {"name": "memseg3d-nano"}},
    ],
)
def test_side_cars_of_the_product_are_labels_files(tmp_path: Path, content: object) -> None:
    path = tmp_path / "segmentation.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    (segment,) = read_labels(path)
    assert (segment.label, segment.name, segment.type.meaning) == (1, "liver", "Liver")

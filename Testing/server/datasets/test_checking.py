"""`memseg3d data check` names every broken pair with its file and reason, and its exit code tells scripts."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import Result

from . import small_sets
from .conftest import words

Command = Callable[..., Result]


@pytest.fixture
def a_set(tmp_path: Path) -> Path:
    """Three pairs of images and labels of the decathlon."""
    small_sets.msd(tmp_path / "set")
    return tmp_path / "set"


IMAGE, LABELS = "imagesTr/colon_002.nii.gz", "labelsTr/colon_002.nii.gz"


def test_a_sound_set_is_described(memseg3d: Command, a_set: Path) -> None:
    result = memseg3d("check", a_set)
    shown = words(result)
    assert result.exit_code == 0, shown
    assert "msd, for dataset.json lists the training pairs" in shown
    assert "4 cases (3 train, 1 test, without labels)" in shown
    assert "median 2.5 x 0.8 x 0.7 mm" in shown
    assert "Label 1 (primaries): in 3 cases" in shown
    assert "Nothing is broken" in shown


def test_programs_get_the_same_as_json(memseg3d: Command, a_set: Path) -> None:
    told = json.loads(memseg3d("check", a_set, "--json").output)
    assert told["layout"] == "msd"
    assert told["labels"]["2"]["cases"] == 3
    assert told["cases"][0]["spacing"] == pytest.approx([2.5, 0.8, 0.7])
    assert told["faults"] == []


def _cut(root: Path) -> None:
    file = root / IMAGE
    file.write_bytes(file.read_bytes()[:-300])


def _text(root: Path) -> None:
    (root / IMAGE).write_text("no image")


def _other_shape(root: Path) -> None:
    small_sets.save(root / LABELS, np.ones((6, 10, 11), np.uint8))


def _elsewhere(root: Path) -> None:
    small_sets.save(root / LABELS, small_sets.a_case(2).labels, origin=(0, 0, 30.0))


def _other_spacing(root: Path) -> None:
    small_sets.save(root / LABELS, small_sets.a_case(2).labels, (5.0, 0.8, 0.7))


def _empty(root: Path) -> None:
    small_sets.save(root / LABELS, np.zeros(small_sets.SHAPE, np.uint8))


def _flat(root: Path) -> None:
    small_sets.save(root / IMAGE, np.full(small_sets.SHAPE, -1000, np.int16))


def _no_labels(root: Path) -> None:
    (root / LABELS).unlink()


def _no_image(root: Path) -> None:
    (root / IMAGE).unlink()


def _fractions(root: Path) -> None:
    small_sets.save(root / LABELS, np.linspace(0, 1, 720).reshape(small_sets.SHAPE).astype(np.float32))


def _not_a_number(root: Path) -> None:
    labels = small_sets.a_case(2).labels.astype(np.float32)
    labels[0, 0, 0] = np.nan
    small_sets.save(root / LABELS, labels)


def _negative(root: Path) -> None:
    small_sets.save(root / LABELS, small_sets.a_case(2).labels.astype(np.int16) - 1)


def _unnamed(root: Path) -> None:
    small_sets.save(root / LABELS, small_sets.a_case(2).labels * 4)


def _zero_bytes(root: Path) -> None:
    (root / IMAGE).write_bytes(b"")


def _two_dimensional(root: Path) -> None:
    sitk.WriteImage(sitk.Image(10, 12, sitk.sitkInt16), str(root / IMAGE))


BROKEN: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "cut off": (_cut, "unreadable file", IMAGE),
    "text": (_text, "unreadable file", IMAGE),
    "of no bytes": (_zero_bytes, "unreadable file", IMAGE),
    "2D": (_two_dimensional, "unreadable file", IMAGE),
    "labels of another shape": (_other_shape, "labels on another grid", LABELS),
    "labels elsewhere": (_elsewhere, "labels on another grid", LABELS),
    "labels of another spacing": (_other_spacing, "mixed spacings", LABELS),
    "labels of background alone": (_empty, "empty case", LABELS),
    "an image of one value": (_flat, "empty case", IMAGE),
    "without labels": (_no_labels, "a label missing", LABELS),
    "without its image": (_no_image, "an image missing", IMAGE),
    "probabilities for labels": (_fractions, "labels that are none", LABELS),
    "labels with NaN": (_not_a_number, "labels that are none", LABELS),
    "negative labels": (_negative, "labels that are none", LABELS),
    "labels of another set": (_unnamed, "labels that are none", LABELS),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_pair_is_named_with_its_reason(broken: str, memseg3d: Command, a_set: Path) -> None:
    spoil, reason, file = BROKEN[broken]
    spoil(a_set)
    result = memseg3d("check", a_set, "--json")
    assert result.exit_code == 1
    (fault,) = json.loads(result.output)["faults"]
    assert (fault["case"], fault["reason"]) == ("colon_002", reason)
    assert Path(file).name in fault["sentence"]
    assert fault["sentence"].rstrip().endswith((".", "?"))
    assert "Traceback" not in result.output


def test_every_broken_pair_is_named_at_once(memseg3d: Command, a_set: Path) -> None:
    _cut(a_set)
    (a_set / "labelsTr/colon_010.nii.gz").unlink()
    result = memseg3d("check", a_set)
    assert result.exit_code == 1
    assert "2 broken" in words(result)
    assert "colon_002" in words(result)
    assert "colon_010" in words(result)


def test_headers_alone_are_quick_and_say_so(memseg3d: Command, a_set: Path) -> None:
    _empty(a_set)
    result = memseg3d("check", a_set, "--quick")
    assert result.exit_code == 0
    assert "headers were looked at" in words(result)
    _other_shape(a_set)
    assert memseg3d("check", a_set, "--quick").exit_code == 1


def test_mixed_spacings_and_labels_of_no_case_are_noted(memseg3d: Command, a_set: Path) -> None:
    for part, voxels in (("images", small_sets.a_case(2).image), ("labels", small_sets.a_case(2).labels)):
        small_sets.save(a_set / f"{part}Tr/colon_002.nii.gz", voxels, (10.0, 0.8, 0.7))
    index = json.loads((a_set / "dataset.json").read_text())
    index["labels"]["3"] = "polyp"
    (a_set / "dataset.json").write_text(json.dumps(index))
    result = memseg3d("check", a_set)
    assert result.exit_code == 0
    assert "Mixed spacings" in words(result)
    assert "Label 3 (polyp) is named by the set and occurs in no case" in words(result)
    assert memseg3d("check", a_set, "--strict").exit_code == 1


def test_what_is_no_data_set_ends_with_two(memseg3d: Command, tmp_path: Path) -> None:
    assert memseg3d("check", tmp_path / "nowhere").exit_code == 2
    (tmp_path / "empty").mkdir()
    result = memseg3d("check", tmp_path / "empty")
    assert result.exit_code == 2
    assert "laid out like no data set" in words(result)
    small_sets.folders(tmp_path / "set")
    assert memseg3d("check", tmp_path / "set", "--layout", "voc").exit_code == 2


def _damage_slice(root: Path) -> None:
    file = root / "MSD/Task10_origin/colon_002/3.png"
    file.write_bytes(file.read_bytes()[:40])


def _lose_slice(root: Path) -> None:
    (root / "MSD/Task10_mask/colon_002/3.png").unlink()


def _lose_last(root: Path) -> None:
    (root / "MSD/Task10_mask/colon_002/5.png").unlink()


def _larger_slice(root: Path) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((4, 4), np.uint8)).save(root / "MSD/Task10_origin/colon_002/3.png")


def _huge_slice(root: Path) -> None:
    """A picture that claims 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = b""
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")):
        chunks += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    (root / "MSD/Task10_origin/colon_002/3.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def _coloured_mask(root: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (10, 12, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(root / "MSD/Task10_mask/colon_002/3.png")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_damage_slice, "3.png is damaged"),
        (_lose_slice, "has no slice 3"),
        (_lose_last, "has 5 x 10 x 12 voxels"),
        (_larger_slice, "all slices of a case have one size"),
        (_huge_slice, "claims to be far larger"),
        (_coloured_mask, "holds colours where labels should be"),
    ],
)
def test_broken_slices_are_named(spoil: Callable[[Path], None], said: str, memseg3d: Command, tmp_path: Path) -> None:
    small_sets.mem3d(tmp_path)
    spoil(tmp_path)
    result = memseg3d("check", tmp_path)
    assert result.exit_code == 1, words(result)
    assert said in words(result)
    assert "1 mm is assumed" in words(result)


def test_pickled_arrays_are_never_opened(memseg3d: Command, tmp_path: Path) -> None:
    small_sets.cvpr25(tmp_path)
    path = tmp_path / "3D_train_npz_all/CT/CT_Abdomen_0001.npz"
    np.savez(path, imgs=np.array([{"x": 1}], dtype=object), gts=np.zeros(3), spacing=np.ones(3))
    result = memseg3d("check", tmp_path)
    assert result.exit_code == 1
    assert "CT_Abdomen_0001" in words(result)
    small_sets.medical_sam2(tmp_path / "stacks")
    np.save(tmp_path / "stacks/Training/mask/label0001/3.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    assert "3.npy is no array of numbers" in words(memseg3d("check", tmp_path / "stacks"))


def test_an_npz_that_is_cut_off_is_named(memseg3d: Command, tmp_path: Path) -> None:
    small_sets.cvpr25(tmp_path)
    path = tmp_path / "3D_train_npz_all/CT/CT_Abdomen_0001.npz"
    path.write_bytes(path.read_bytes()[:500])
    result = memseg3d("check", tmp_path)
    assert result.exit_code == 1
    assert f"{path.name} is damaged" in words(result)


def test_a_file_beside_one_of_its_name_is_not_taken_for_it(memseg3d: Command, a_set: Path) -> None:
    plain = a_set / "imagesTr/colon_002.nii"
    small_sets.save(plain, np.ones((2, 2, 2), np.int16))
    assert memseg3d("check", a_set).exit_code == 0

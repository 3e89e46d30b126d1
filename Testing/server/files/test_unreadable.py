"""A file that is no volume is refused with a sentence that names it and says what to do."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from memseg3d.files import UnreadableFile, VolumeFile, nifti, read_volume

SUFFIXES = ["nii", "nii.gz", "nrrd", "mha"]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_was_cut_off_is_refused(
    an_ordinary_image: sitk.Image, saved: Callable[..., Path], suffix: str, share: float, compressed: bool
) -> None:
    path = saved(an_ordinary_image, f"volume.{suffix}", compressed)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UnreadableFile, match=r"volume\..*(cut off|damaged|not a)"):
        read_volume(path)


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
def test_a_flipped_bit_in_compressed_voxels_is_noticed(
    an_ordinary_image: sitk.Image, saved: Callable[..., Path], suffix: str
) -> None:
    path = saved(an_ordinary_image, f"volume.{suffix}", True)
    damaged = bytearray(path.read_bytes())
    damaged[-40] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(UnreadableFile, match=r"damaged|cut off"):
        read_volume(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content",
    [b"", b"just some words\n" * 40, gzip.compress(b"words " * 400, mtime=0)],
    ids=["none", "words", "packed"],
)
def test_something_else_under_an_image_name_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"letter.{suffix}"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"letter\..*(empty|not an? |no gzip|cut off)"):
        read_volume(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_several_values_per_voxel_are_refused(saved: Callable[..., Path], suffix: str) -> None:
    colour = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    with pytest.raises(UnreadableFile, match="3 values per voxel"):
        read_volume(saved(colour, f"colour.{suffix}"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_time_series_is_refused(saved: Callable[..., Path], suffix: str) -> None:
    series = sitk.Image([6, 5, 4, 3], sitk.sitkInt16)
    with pytest.raises(UnreadableFile, match=r"4 dimensions \(6 x 5 x 4 x 3\)"):
        read_volume(saved(series, f"series.{suffix}"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_fourth_axis_of_one_is_dropped(saved: Callable[..., Path], suffix: str) -> None:
    alone = sitk.JoinSeries([sitk.GetImageFromArray(np.arange(120, dtype=np.int16).reshape(4, 5, 6))])
    assert read_volume(saved(alone, f"alone.{suffix}")).voxels.shape == (4, 5, 6)


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_a_flat_image_is_refused(saved: Callable[..., Path], suffix: str) -> None:
    with pytest.raises(UnreadableFile, match="2D image"):
        read_volume(saved(sitk.Image([6, 5], sitk.sitkInt16), f"flat.{suffix}"))


def test_complex_numbers_are_refused(saved: Callable[..., Path]) -> None:
    with pytest.raises(UnreadableFile, match="complex"):
        read_volume(saved(sitk.Image([6, 5, 4], sitk.sitkComplexFloat32), "k-space.nii"))


def test_a_sheared_grid_is_refused(an_ordinary_image: sitk.Image, saved: Callable[..., Path]) -> None:
    an_ordinary_image.SetDirection((1, 0, 0.3, 0, 1, 0, 0, 0, 1))
    with pytest.raises(UnreadableFile, match="not perpendicular"):
        read_volume(saved(an_ordinary_image, "sheared.nrrd"))


@pytest.mark.parametrize("elsewhere", ["/etc/hostname", "../secret.raw", "C:\\secret.raw"])
@pytest.mark.parametrize("suffix", ["nhdr", "nrrd", "mhd"])
def test_a_header_cannot_point_outside_its_folder(tmp_path: Path, suffix: str, elsewhere: str) -> None:
    path = tmp_path / f"sly.{suffix}"
    if suffix == "mhd":
        path.write_text(
            f"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = {elsewhere}\n"
        )
    else:
        path.write_text(f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: {elsewhere}\n")
    with pytest.raises(UnreadableFile, match="outside its own folder"):
        read_volume(path)


def test_a_damaged_header_may_name_a_file_that_there_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "long.mhd"
    words = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nCompressedData = True\n"
    path.write_text(f"{words}ElementDataFile = {'n' * 300}\n")
    with pytest.raises(UnreadableFile, match="damaged"):
        read_volume(path)


def test_an_npz_whose_list_of_arrays_is_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "case.npz"
    np.savez(path, imgs=np.zeros((2, 3, 4), np.uint8), spacing=np.ones(3))
    whole = path.read_bytes()
    for place in range(whole.index(b"PK\x01\x02"), len(whole)):
        for value in (0x00, 0x7F, 0xFF):
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            with contextlib.suppress(UnreadableFile):
                read_volume(path)


def test_a_detached_header_without_its_voxels_is_refused(
    an_ordinary_image: sitk.Image, saved: Callable[..., Path]
) -> None:
    path = saved(an_ordinary_image, "volume.nhdr")
    path.with_suffix(".raw").unlink()
    with pytest.raises(UnreadableFile, match=r"volume\.nhdr"):
        read_volume(path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("scan.txt", b"words", "no known format"),
        ("scan.zip", b"PK\x03\x04", "unpack it"),
        ("slice.dcm", b"\0" * 128 + b"DICM", "give the folder"),
        ("slice", b"\0" * 128 + b"DICM", "give the folder"),
    ],
)
def test_an_unknown_kind_of_file_is_told_what_is_known(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFile, match=sentence):
        read_volume(tmp_path / name)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="does not exist"):
        read_volume(tmp_path / "nowhere.nii.gz")


def test_a_compressed_file_is_read_although_its_plain_namesake_lies_beside_it(
    an_ordinary_image: sitk.Image, saved: Callable[..., Path]
) -> None:
    saved(an_ordinary_image * 0, "volume.nii")
    path = saved(an_ordinary_image, "volume.nii.gz")
    assert np.array_equal(read_volume(path).voxels, sitk.GetArrayFromImage(an_ordinary_image))


def test_a_file_that_unpacks_to_far_more_than_its_header_says_does_not_fill_the_disk(
    an_ordinary_image: sitk.Image, saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(an_ordinary_image, "volume.nii")
    bomb = path.with_name("bomb.nii.gz")
    bomb.write_bytes(gzip.compress(path.read_bytes() + bytes(64 << 20), 9))
    written: list[int] = []
    read = nifti.read_image

    def remember_size(plain: Path, shown: str) -> VolumeFile:
        written.append(plain.stat().st_size)
        return read(plain, shown)

    monkeypatch.setattr(nifti, "read_image", remember_size)
    assert np.array_equal(read_volume(bomb).voxels, sitk.GetArrayFromImage(an_ordinary_image))
    assert written[0] < 4 << 20


@pytest.mark.parametrize("position", [40, 72, 108])
def test_a_header_of_nonsense_is_refused(
    an_ordinary_image: sitk.Image, saved: Callable[..., Path], position: int
) -> None:
    path = saved(an_ordinary_image, "volume.nii")
    damaged = bytearray(path.read_bytes())
    damaged[position : position + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(damaged)
    with pytest.raises(UnreadableFile, match=r"volume\.nii"):
        read_volume(path)

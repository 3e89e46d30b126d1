"""A labelmap that was cut off or damaged is refused before it becomes a DICOM-SEG, as the worker refuses it."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from niftis import matrix, write_nifti
from odd_dicom import make_odd

from memseg3d.files import UnreadableFile, read_volume
from MemSeg3DLib.base.errors import ExportError
from MemSeg3DLib.export.dicom.command import main
from MemSeg3DLib.export.labelmaps.reading import read_labelmap

KINDS = [("a.nii", False), ("a.nii.gz", True), ("a.nrrd", False), ("a.nrrd", True), ("a.mha", True), ("a.mha", False)]


def labels() -> np.ndarray:
    """Noise compresses badly, so that a cut takes voxels away."""
    return (np.random.default_rng(0).random((8, 30, 28)) < 0.3).astype(np.uint8)


def saved(path: Path, compressed: bool) -> Path:
    image = sitk.GetImageFromArray(labels())
    image.SetSpacing((0.8, 1.2, 2.5))
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return path


@pytest.mark.parametrize(("name", "compressed"), KINDS)
def test_a_whole_labelmap_is_read(tmp_path: Path, name: str, compressed: bool) -> None:
    found, affine = read_labelmap(saved(tmp_path / name, compressed))
    assert np.array_equal(found, labels())
    assert np.linalg.norm(affine[:3, :3], axis=0) == pytest.approx((0.8, 1.2, 2.5))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.95, 0.999])
@pytest.mark.parametrize(("name", "compressed"), KINDS)
def test_a_labelmap_that_was_cut_off_is_refused_by_both_sides(
    tmp_path: Path, name: str, compressed: bool, share: float
) -> None:
    path = saved(tmp_path / name, compressed)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ExportError, match=r"a\..*(cut off|damaged|empty|not an? |no gzip)"):
        read_labelmap(path)
    with pytest.raises(UnreadableFile):
        read_volume(path)


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(("name", "compressed"), [kind for kind in KINDS if kind[1]])
def test_a_flipped_bit_is_noticed(tmp_path: Path, name: str, compressed: bool, at: float) -> None:
    path = saved(tmp_path / name, compressed)
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 4
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"damaged|cut off"):
        read_labelmap(path)


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("b.nrrd", lambda: _nrrd("bzip2", bz2.compress(bytes(120))), "bzip2"),
        ("b.nrrd", lambda: _nrrd("gzip", gzip.compress(bytes(1 << 26))), "more than its header says"),
        ("b.nrrd", lambda: _nrrd("raw\ndata file: ../other.raw", b""), "outside its own folder"),
        ("b.nrrd", lambda: _nrrd("raw\ndata file: LIST", b"a.raw\nb.raw\n"), "several files"),
        (
            "b.mhd",
            lambda: b"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementDataFile = /etc/hostname\n",
            "outside",
        ),
        ("b.nii", lambda: b"words " * 100, "not a NIfTI file"),
        ("b.png", lambda: b"words", "cannot be read as an image"),
    ],
)
def test_odd_files_are_refused(tmp_path: Path, name: str, make: Callable[[], bytes], reason: str) -> None:
    (tmp_path / name).write_bytes(make())
    with pytest.raises(ExportError, match=reason):
        read_labelmap(tmp_path / name)


def _nrrd(encoding: str, data: bytes) -> bytes:
    return f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 5 6\nencoding: {encoding}\n\n".encode() + data


def test_the_forms_of_a_labelmap_place_it(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", labels(), sform=matrix(0.2), codes=(0, 1), pixdim=(1, 1, 1))
    _, affine = read_labelmap(path)
    assert np.allclose(affine, np.diag([-1, -1, 1, 1]) @ matrix(0.2), atol=1e-5)
    assert np.allclose(affine, read_volume(path).geometry.affine, atol=1e-5)


def test_the_command_refuses_a_cut_labelmap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_odd("an ordinary series", tmp_path / "ct")
    path = saved(tmp_path / "cut.nii.gz", True)
    path.write_bytes(path.read_bytes()[:-300])
    words = ["--dicom", str(folder), "--labelmap", str(path), "--out", str(tmp_path / "seg.dcm")]
    assert main(words) == 1
    assert "cut off" in capsys.readouterr().err
    assert not (tmp_path / "seg.dcm").exists()

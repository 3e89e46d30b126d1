"""Odd folders and files: what the readers of both sides make of them."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from memseg3d.files import UnreadableFile, read_volume, write_labelmap
from MemSeg3DLib.export.dicom.command import main as dicom_seg
from MemSeg3DLib.export.dicom.series import DicomSourceError, read_series
from Testing.cases.inputs import made
from Testing.niftis import write_nifti


def reads(folder: Path, count: int, step: float | None = 2.5, series: str | None = None) -> None:
    """Both readers take a folder as a volume of so many slices, so far apart."""
    volume, source = read_volume(folder, series), read_series(folder, series)
    assert volume.voxels.shape[0] == count, f"{volume.voxels.shape[0]} slices instead of {count}"
    assert source.grid.shape == volume.voxels.shape, "the two readers disagree"
    if step is not None:
        apart = float(np.linalg.norm(volume.geometry.affine[:3, 2]))
        assert abs(apart - step) < 1e-3 * step, f"{apart} mm between slices instead of {step}"


def refusal(path: Path) -> str:
    """What both readers say of a folder that they refuse."""
    said = []
    for read, kind in ((read_volume, UnreadableFile), (read_series, DicomSourceError)):
        try:
            read(path)
        except kind as error:
            said.append(str(error))
        else:
            raise AssertionError("it was read")
    assert said[0] == said[1], f"the two readers say {said}"
    return said[0]


def cine(out: Path) -> None:
    reads(made("dicom-cine", out), 3, None)


def copied(out: Path) -> None:
    read_volume(made("dicom-copied-instance", out))
    assert read_volume(out).notes == read_series(out).notes


def from_a_mac(out: Path) -> None:
    reads(made("dicom-folder-from-a-mac", out / "plain"), 12)
    reads(made("dicom-folder-from-a-mac", out / "link", "link"), 12)


def screenshots(out: Path) -> None:
    reads(made("dicom-larger-screenshots", out), 12)


def micrometres(out: Path) -> None:
    reads(made("dicom-micrometres", out), 12, 0.001)


def no_pixel_spacing(out: Path) -> None:
    assert "Spacing" in refusal(made("dicom-no-pixel-spacing", out))


def no_preamble(out: Path) -> None:
    reads(made("dicom-no-preamble", out), 12)


def noise(out: Path) -> None:
    folder = made("dicom-orientation-noise", out / "ct")
    reads(folder, 12)
    volume = read_volume(folder)
    labels = np.zeros(volume.voxels.shape, np.uint8)
    labels[3:9, 10:30, 8:24] = 1
    write_labelmap(out / "labels.nii.gz", labels, volume.geometry)
    assert _export(folder, out / "labels.nii.gz", out / "seg.dcm") == 0, "no DICOM-SEG"


def parts(out: Path) -> None:
    folder = made("dicom-parts-of-a-series", out)
    reads(folder, read_volume(folder, "FAT").voxels.shape[0], None, "FAT")


def two_patients(out: Path) -> None:
    folder = made("dicom-two-patients-one-series", out)
    try:
        count = read_volume(folder).voxels.shape[0]
    except UnreadableFile:
        return
    assert count < 12, "one volume of two patients"


def cut_off(out: Path) -> None:
    made("labelmap-cut-off", out)
    assert _export(out / "ct", out / "cut.nii.gz", out / "cut.dcm") == 1, "a cut-off labelmap is taken"
    assert not (out / "cut.dcm").exists()
    assert _export(out / "ct", out / "whole.nii.gz", out / "whole.dcm") == 0, "the whole one is refused"


def almost_perpendicular(out: Path) -> None:
    _keeps_forms(made("nifti-almost-perpendicular", out) / "shear-0.001.nii.gz", out)


def two_forms(out: Path) -> None:
    _keeps_forms(made("nifti-qform-sform", out) / "q1s2.nii.gz", out)


def sform_alone(out: Path) -> None:
    path = made("nifti-sform-only-pixdim", out) / "sform.nii.gz"
    assert np.allclose(read_volume(path).spacing, (2.5, 1.2, 1.0), rtol=1e-4), "not the sform's lengths"
    _keeps_forms(path, out)


def moved_by_another_program(out: Path) -> None:
    """As SPM leaves a NIfTI after coregistration: sform of code 2, and a qform that says where it was before."""
    qform, sform = np.diag([2.0, 2, 3, 1]), np.diag([2.0, 2, 3, 1])
    qform[:3, 3], sform[:3, 3] = (5, 6, 7), (-10, -20, -30)
    voxels = np.zeros((8, 7, 6), np.int16)
    voxels[1:6, 3:5, 2:4] = 100
    image = write_nifti(out / "image.nii.gz", voxels, qform, sform, (1, 2), (2.0, 2.0, 3.0))
    _keeps_forms(image, out)
    assert np.allclose(read_volume(out / "labels.nii.gz").geometry.affine, read_volume(image).geometry.affine)
    try:
        import nibabel
    except ModuleNotFoundError:
        return
    places = [nibabel.load(path).affine for path in (image, out / "labels.nii.gz")]
    assert np.allclose(*places, atol=1e-3), f"for nibabel {places[1]} instead of {places[0]}"


def encodings(out: Path) -> None:
    made("nrrd-encodings", out)
    assert read_volume(out / "gzip-line-skip.nrrd").voxels.shape == (20, 48, 40)
    said = "bzip2 is read"
    try:
        read_volume(out / "bzip2.nrrd")
    except UnreadableFile as error:
        said = str(error)
    assert "bzip2" in said, f"no reason: {said}"


def _keeps_forms(path: Path, out: Path) -> None:
    """A labelmap lies on the image for every reader, whichever form it takes."""
    volume = read_volume(path)
    write_labelmap(out / "labels.nii.gz", np.ones(volume.voxels.shape, np.uint8), volume.geometry)
    (codes, forms), (kept, now) = _forms(path), _forms(out / "labels.nii.gz")
    assert codes == kept, f"codes {kept} instead of {codes}"
    for code, was, is_now in zip(codes, forms, now, strict=True):
        assert not code or np.allclose(was, is_now, atol=1e-3), f"a form was moved: {is_now} instead of {was}"


def _forms(path: Path) -> tuple[list[int], tuple[np.ndarray, np.ndarray]]:
    """Codes of qform and sform, and what they are made of, as the header has them."""
    with gzip.open(path) as file:
        head = file.read(348)
    numbers = np.frombuffer(head[256:328], "<f4")
    return np.frombuffer(head[252:256], "<i2").tolist(), (numbers[:6], numbers[6:])


def _export(folder: Path, labelmap: Path, out: Path) -> int:
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        return dicom_seg(["--dicom", str(folder), "--labelmap", str(labelmap), "--out", str(out)])


CASES: dict[str, Callable[[Path], None]] = {
    "dicom-cine": cine,
    "dicom-copied-instance": copied,
    "dicom-folder-from-a-mac": from_a_mac,
    "dicom-larger-screenshots": screenshots,
    "dicom-micrometres": micrometres,
    "dicom-no-pixel-spacing": no_pixel_spacing,
    "dicom-no-preamble": no_preamble,
    "dicom-orientation-noise": noise,
    "dicom-parts-of-a-series": parts,
    "dicom-two-patients-one-series": two_patients,
    "labelmap-cut-off": cut_off,
    "nifti-almost-perpendicular": almost_perpendicular,
    "nifti-qform-sform": two_forms,
    "nifti-sform-only-pixdim": sform_alone,
    "nifti_sform_aligned": moved_by_another_program,
    "nrrd-encodings": encodings,
}

"""NIfTI and NRRD files as volumes: labelmaps come back on their grid, names stay out, damaged files are refused."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from niftis import header_of, matrix, placing_fields, write_nifti

from memseg3d.files import VolumeFile, read_volume
from memseg3d.propagation.volume.volume import volume_id
from memseg3d.service import volume_files
from memseg3d.service.settings import Limits

from .conftest import Client, WorkerHere, WorkerProcess

Words = dict[str, Any]
ServeHere = Callable[..., WorkerHere]


def save(path: Path, voxels: np.ndarray, oblique: bool = True) -> sitk.Image:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.8, 1.1, 2.5))
    if oblique:
        turn = sitk.Euler3DTransform((0, 0, 0), 0.1, -0.3, 0.2)
        image.SetDirection(turn.GetMatrix())
        image.SetOrigin((-31.5, 12.25, 100.0))
    image.SetMetaData("descrip", "Doe^John") if path.name.endswith("gz") else image.SetMetaData(
        "PatientName", "Doe^John"
    )
    sitk.WriteImage(image, str(path), useCompression=True)
    return image


def send(worker: Client, path: Path, filename: str | None = None) -> Any:
    data = path.read_bytes()
    return worker.call("POST", "/volumes", params={"filename": filename or path.name}, data=data)


@pytest.mark.parametrize("suffix", ["nii.gz", "nii", "nrrd"])
@pytest.mark.parametrize("download", ["nii.gz", "nrrd"])
def test_a_labelmap_comes_back_on_the_grid_of_the_file(
    a_worker: WorkerProcess, a_volume: np.ndarray, a_box: Words, tmp_path: Path, suffix: str, download: str
) -> None:
    image = save(tmp_path / f"DOE_JOHN.{suffix}", a_volume)
    answer = send(a_worker, tmp_path / f"DOE_JOHN.{suffix}")
    assert answer.status_code in (200, 201), answer.text
    words = answer.json()
    assert words["shape"] == [20, 40, 44]
    assert words["spacing"] == pytest.approx([2.5, 1.1, 0.8])
    assert words["id"] == volume_id(a_volume, tuple(words["spacing"]))
    session = a_worker.open_session(words["id"])
    a_worker.run(session, [a_box])
    content = a_worker.call("GET", f"/sessions/{session}/labelmap", params={"format": download}).content
    (tmp_path / f"back.{download}").write_bytes(content)
    labels = sitk.ReadImage(str(tmp_path / f"back.{download}"))
    assert labels.GetSize() == image.GetSize()
    assert labels.GetSpacing() == pytest.approx(image.GetSpacing(), rel=1e-6)
    assert labels.GetOrigin() == pytest.approx(image.GetOrigin(), abs=1e-4)
    assert labels.GetDirection() == pytest.approx(image.GetDirection(), abs=1e-6)
    assert np.array_equal(sitk.GetArrayFromImage(labels), a_worker.mask(session, a_volume.shape))
    assert b"DOE" not in content.upper()


@pytest.mark.parametrize("case", ["mr_glioma_remind022", "mr_brain1_pyrad"])
def test_real_oblique_and_flipped_volumes_keep_their_grid(
    a_worker: WorkerProcess, data_folder: Path, tmp_path: Path, case: str
) -> None:
    source = data_folder / case / "image.nii.gz"
    image = sitk.ReadImage(str(source))
    session = a_worker.open_session(send(a_worker, source).json()["id"])
    i, j, k = (size // 2 for size in image.GetSize())
    box = {"type": "box", "object": 1, "axis": 0, "lower": [k, j - 9, i - 9], "upper": [k, j + 9, i + 9]}
    a_worker.run(session, [box])
    (tmp_path / "back.nrrd").write_bytes(
        a_worker.call("GET", f"/sessions/{session}/labelmap", params={"format": "nrrd"}).content
    )
    labels = sitk.ReadImage(str(tmp_path / "back.nrrd"))
    assert sitk.GetArrayViewFromImage(labels).any()
    for corner in [(0, 0, 0), tuple(size - 1 for size in image.GetSize())]:
        here, there = (each.TransformIndexToPhysicalPoint(corner) for each in (labels, image))
        assert here == pytest.approx(there, abs=1e-3)


def test_no_name_of_a_file_reaches_disk_or_log(a_worker: WorkerProcess, tmp_path: Path) -> None:
    save(tmp_path / "DOE_JOHN.nii.gz", np.random.default_rng(8).integers(0, 99, (5, 6, 7)).astype(np.int16))
    assert send(a_worker, tmp_path / "DOE_JOHN.nii.gz").status_code == 201
    assert send(a_worker, tmp_path / "DOE_JOHN.nii.gz", "DOE_JOHN.tiff").status_code == 422
    kept = [path for path in a_worker.data.rglob("*") if path.is_file()]
    assert kept
    for path in [*kept, a_worker.log]:
        assert not re.search(rb"doe.john", path.name.encode() + path.read_bytes(), re.IGNORECASE)
    assert b"POST /v1/volumes 422" in a_worker.log.read_bytes()


def test_a_download_has_the_forms_of_the_upload(
    a_worker: WorkerProcess, a_volume: np.ndarray, a_box: Words, tmp_path: Path
) -> None:
    forms = {"qform": matrix(0.2), "sform": matrix(0.0, origin=(-40.0, 1.0, 2.0)), "codes": (1, 2)}
    path = write_nifti(tmp_path / "two.nii.gz", a_volume.astype(np.int16), **forms, words=b"DOE^JANE")  # type: ignore[arg-type]
    words = send(a_worker, path).json()
    session = a_worker.open_session(words["id"])
    a_worker.run(session, [a_box])
    (tmp_path / "back.nii.gz").write_bytes(a_worker.call("GET", f"/sessions/{session}/labelmap").content)
    assert placing_fields(tmp_path / "back.nii.gz") == placing_fields(path)
    assert b"DOE" not in header_of(tmp_path / "back.nii.gz")


def test_files_that_hold_no_volume_are_refused_with_the_reason(a_worker: WorkerProcess, tmp_path: Path) -> None:
    good = np.arange(6000, dtype=np.int16).reshape(10, 20, 30)
    save(tmp_path / "good.nii.gz", good)
    content = (tmp_path / "good.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.nii.gz").write_bytes(b"This is a letter, not a volume.")
    (tmp_path / "empty.nii").write_bytes(b"")
    series = sitk.GetImageFromArray(np.zeros((2, 3, 4, 5), np.int16), isVector=False)
    sitk.WriteImage(series, str(tmp_path / "time.nii.gz"))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), np.uint8), isVector=True), str(tmp_path / "rgb.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(good[0].astype(np.float32) * np.nan), str(tmp_path / "flat.nrrd"))
    (tmp_path / "elsewhere.nrrd").write_bytes(
        b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\ndata file: voxels.raw\n\n"
    )
    sitk.WriteImage(sitk.Image([6, 5, 4], sitk.sitkComplexFloat32), str(tmp_path / "complex.nii.gz"))
    six = bytearray(write_nifti(tmp_path / "six.nii", np.zeros((4, 3, 3), np.int16)).read_bytes())
    struct.pack_into("<8h", six, 40, 6, 3, 3, 2, 1, 1, 2, 1)
    (tmp_path / "six.nii").write_bytes(six)
    (tmp_path / "wide.nrrd").write_bytes(
        b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4294967296 1 1\nencoding: raw\n\nxxxx"
    )
    expected = {
        "complex.nii.gz": "complex",
        "six.nii": "6 dimensions",
        "wide.nrrd": "damaged",
        "cut.nii.gz": "cut off",
        "text.nii.gz": "gzip",
        "empty.nii": "empty",
        "time.nii.gz": "dimension",
        "rgb.nrrd": "colour",
        "flat.nrrd": "slice",
        "elsewhere.nrrd": "does not hold its voxels",
    }
    for name, words in expected.items():
        answer = send(a_worker, tmp_path / name)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (422, "bad_file"), error
        assert words in error["message"], name
    assert send(a_worker, tmp_path / "good.nii.gz", "good.tiff").json()["error"]["code"] == "bad_file"
    assert send(a_worker, tmp_path / "good.nii.gz").status_code == 201


def test_a_file_that_would_unpack_beyond_the_limit_is_refused(serve_here: ServeHere, tmp_path: Path) -> None:
    worker = serve_here(limits=Limits(volume_bytes=1 << 20))
    save(tmp_path / "large.nii.gz", np.zeros((20, 300, 300), np.int16), oblique=False)
    assert (tmp_path / "large.nii.gz").stat().st_size < 1 << 20
    answer = send(worker, tmp_path / "large.nii.gz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    save(tmp_path / "large.nrrd", np.zeros((20, 300, 300), np.int16), oblique=False)
    assert send(worker, tmp_path / "large.nrrd").status_code == 413


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_the_limit_of_a_packed_file_is_one_of_bytes_and_not_of_voxels(
    serve_here: ServeHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type
) -> None:
    opened: list[Path] = []

    def read_and_tell(path: Path, scratch: Path) -> VolumeFile:
        opened.append(path)
        return read_volume(path, scratch=scratch)

    monkeypatch.setattr(volume_files, "read_volume", read_and_tell)
    worker = serve_here(limits=Limits(volume_bytes=1 << 20))
    save(tmp_path / "packed.nrrd", np.arange(800_000).reshape(8, 250, 400).astype(dtype) % 7, oblique=False)
    answer = send(worker, tmp_path / "packed.nrrd")
    fits = dtype is np.uint8
    assert answer.status_code == (201 if fits else 413), answer.text
    assert bool(opened) == fits, "nothing is read that is too large"

"""DICOM-SEG command, case queue and scene say of each odd DICOM folder what `memseg3d segment` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_tools import dicom_errors, read_by_highdicom
from odd_dicom import COLUMNS, COUNT, ODD, ROWS, Odd, expected_voxels, make_odd

from memseg3d.files import UnreadableFile, read_volume, write_labelmap
from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.cases.dicom_volume import load_series
from MemSeg3DLib.cases.listing import find_cases
from MemSeg3DLib.export.dicom.command import main
from MemSeg3DLib.export.dicom.series import DicomSourceError, read_series
from MemSeg3DLib.export.dicom.sources.folder import files_below
from MemSeg3DLib.scene.nodes import volume_array
from MemSeg3DLib.scene.transforms import ijk_to_local_matrix


def workers_sentence(folder: Path, odd: Odd) -> str:
    """Why the worker refuses a folder."""
    with pytest.raises(UnreadableFile) as refused:
        read_volume(folder, odd.wanted)
    return str(refused.value)


@pytest.mark.parametrize("name", ODD)
def test_the_librarys_verdict_is_the_workers(tmp_path: Path, name: str) -> None:
    odd, folder = ODD[name], make_odd(name, tmp_path / "study")
    if odd.refused:
        with pytest.raises(DicomSourceError) as refused:
            read_series(folder, odd.wanted)
        assert str(refused.value) == workers_sentence(folder, odd)
        return
    series, volume = read_series(folder, odd.wanted), read_volume(folder, odd.wanted)
    assert series.grid.shape == volume.geometry.shape
    assert np.array_equal(series.grid.affine, volume.geometry.affine)
    assert series.notes == volume.notes


@pytest.mark.parametrize("name", ODD)
def test_the_commands_verdict(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    odd, folder = ODD[name], make_odd(name, tmp_path / "study")
    labelmap, out = tmp_path / "labels.nrrd", tmp_path / "seg.dcm"
    if odd.refused:
        sitk.WriteImage(sitk.Image([COLUMNS, ROWS, COUNT], sitk.sitkUInt8) + 1, str(labelmap))
    else:
        volume = read_volume(folder, odd.wanted)
        labels = np.zeros(volume.voxels.shape, np.uint8)
        labels[1:4, 2:7, 3:9] = 1
        write_labelmap(labelmap, labels, volume.geometry)
    words = ["--dicom", str(folder), "--labelmap", str(labelmap), "--out", str(out)]
    code = main([*words, *(["--series", odd.wanted] if odd.wanted else [])])
    said = capsys.readouterr()
    if odd.refused:
        assert code == 1
        assert said.err.strip() == workers_sentence(folder, odd)
        assert not out.exists()
        return
    assert code == 0, said.err
    series = read_series(folder, odd.wanted)
    assert np.array_equal(read_by_highdicom(out, series.grid)[1], labels > 0)
    written = pydicom.dcmread(out)
    measures = written.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SpacingBetweenSlices) == pytest.approx(odd.step, rel=1e-6)
    assert measures.SliceThickness > 0
    planes = {(plane.instance, plane.frame): plane for plane in series.planes}
    for frame in written.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        number = source.get("ReferencedFrameNumber")
        plane = planes[source.ReferencedSOPInstanceUID, None if number is None else int(number) - 1]
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(place, plane.position, atol=0.1 * odd.step)
    assert dicom_errors(out) == []


@pytest.mark.parametrize("name", ODD)
def test_the_queues_and_the_scenes_verdict(scene: Any, tmp_path: Path, name: str) -> None:
    odd, folder = ODD[name], make_odd(name, tmp_path / "all" / "study")
    if name == "no DICOM at all":
        with pytest.raises(SceneError, match="holds no volume"):
            find_cases(folder.parent)
        return
    if odd.refused:
        (problem,) = (case.problem for case in find_cases(folder.parent))
        assert problem == workers_sentence(folder, odd)
        with pytest.raises(DicomSourceError) as refused:
            load_series(scene, list(files_below(folder)), "CT")
        assert str(refused.value) == problem
        return
    expected = expected_voxels(odd, name)
    volumes = []
    for case in find_cases(folder.parent):
        if case.problem is not None:
            assert "z1.dcm of the CT series 4" in case.problem
            continue
        node, _ = load_series(scene, case.files, case.name, case.part)
        volumes.append(volume_array(node).copy())
        lengths = np.linalg.norm(ijk_to_local_matrix(node)[:3, :3], axis=0)
        if volumes[-1].shape == expected.shape and np.array_equal(volumes[-1], expected):
            assert lengths == pytest.approx((odd.spacing[1], odd.spacing[0], odd.step), rel=1e-6)
    assert any(one.shape == expected.shape and np.array_equal(one, expected) for one in volumes)
    # By the words of the messages as well.
    node, _ = load_series(scene, list(files_below(folder)), "CT", odd.wanted or "")
    assert np.array_equal(volume_array(node), expected)

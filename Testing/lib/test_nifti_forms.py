"""An exported labelmap has the forms, codes and units of the NIfTI file that its volume was loaded from."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lib.scenes import write_ball
from niftis import header_of, matrix, placing_fields, write_nifti

from MemSeg3DLib.base.errors import ExportError, SceneError
from MemSeg3DLib.export.exports import ExportFormat, ExportRequest, export
from MemSeg3DLib.export.nifti import write_nifti as write_labelmap
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, load_volume, volume_array
from MemSeg3DLib.segments.writer import SegmentWriter

VOXELS = np.arange(7 * 9 * 8, dtype=np.int16).reshape(7, 9, 8)
FORMS: dict[str, dict[str, Any]] = {
    "two that differ": {"qform": matrix(0.2), "sform": matrix(0.0, origin=(-40.0, 1.0, 2.0))},
    "scanner and template": {"qform": matrix(0.2), "sform": matrix(0.4), "codes": (1, 4)},
    "sform alone": {"sform": matrix(0.3), "codes": (0, 1)},
    "sform alone, pixdim 1": {"sform": matrix(0.3), "codes": (0, 1), "pixdim": (1.0, 1.0, 1.0)},
    "qform alone": {"qform": matrix(0.3), "codes": (3, 0)},
    "micrometres": {"qform": matrix(0.2), "sform": matrix(0.2), "codes": (1, 1), "units": 3},
}


def drawn(scene: Any, path: Path) -> tuple[Any, Any]:
    """The volume of a file, and a segmentation of it whose one segment holds every third value."""
    volume = load_volume(scene, path)
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "a")
    writer = SegmentWriter(segmentation, volume, [segment])
    write_ball(writer, segment, volume_array(volume) % 3 == 0)
    writer.close()
    return volume, segmentation


@pytest.mark.parametrize("with_like", [False, True], ids=["without like", "with like"])
@pytest.mark.parametrize("name", FORMS)
def test_an_export_keeps_the_forms_of_the_file(scene: Any, tmp_path: Path, name: str, with_like: bool) -> None:
    path = write_nifti(tmp_path / "image.nii.gz", VOXELS, **FORMS[name], words=b"DOE^JANE")
    volume, segmentation = drawn(scene, path)
    write_labelmap(segmentation, volume, tmp_path / "out.nii.gz", like=path if with_like else None)
    assert placing_fields(tmp_path / "out.nii.gz") == placing_fields(path)
    content = gzip.decompress((tmp_path / "out.nii.gz").read_bytes())
    labels = np.frombuffer(content, np.uint8, VOXELS.size, 352).reshape(VOXELS.shape)
    assert np.array_equal(labels, (VOXELS % 3 == 0).astype(np.uint8))
    assert header_of(tmp_path / "out.nii.gz")[348:352] == bytes(4)
    assert b"DOE" not in content
    assert b"Research use only" in content[:352]


def test_a_volume_that_was_moved_since_gets_its_own_place(scene: Any, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "image.nii.gz", VOXELS, **FORMS["two that differ"])
    volume, segmentation = drawn(scene, path)
    volume.SetOrigin(1.0, 2.0, 3.0)
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    write_labelmap(segmentation, volume, tmp_path / "out.nii.gz")
    assert placing_fields(tmp_path / "out.nii.gz") != placing_fields(path)
    with pytest.raises(SceneError, match="not on the source volume's grid"):
        write_labelmap(segmentation, volume, tmp_path / "other.nii.gz", like=path)


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_a_file_that_is_gone_or_exchanged_is_no_obstacle(scene: Any, tmp_path: Path, suffix: str) -> None:
    path = write_nifti(tmp_path / f"image.{suffix}", VOXELS, **FORMS["qform alone"])
    volume, segmentation = drawn(scene, path)
    path.write_bytes(b"something else")
    write_labelmap(segmentation, volume, tmp_path / "out.nii.gz")
    path.unlink()
    write_labelmap(segmentation, volume, tmp_path / "again.nii.gz")
    assert placing_fields(tmp_path / "again.nii.gz") == placing_fields(tmp_path / "out.nii.gz")


def test_a_segment_finer_than_a_voxel_is_told_alike_by_every_format(scene: Any, tmp_path: Path) -> None:
    import slicer
    from vtk.util.numpy_support import numpy_to_vtk

    volume, segmentation = drawn(scene, write_nifti(tmp_path / "image.nii.gz", VOXELS, **FORMS["qform alone"]))
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(2, 2, 2)
    image.SetSpacing(0.01, 0.01, 0.01)
    near = np.array(volume.GetOrigin()) + 0.3
    image.SetOrigin(*near)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ones(8, np.uint8), deep=True))
    segment = slicer.vtkSegment()
    segment.SetName("dust")
    segment.AddRepresentation("Binary labelmap", image)
    segmentation.GetSegmentation().AddSegment(segment, "dust")
    done = export(ExportRequest(ExportFormat.NIFTI, segmentation, volume, tmp_path / "out", "seg"))
    assert [one for one in done.remarks if "dust is finer than the voxels of image" in one]
    with pytest.raises(ExportError, match=r"Nothing would be written\. dust is finer"):
        export(ExportRequest(ExportFormat.NIFTI, segmentation, volume, tmp_path / "o", "s", segment_ids=["dust"]))

"""The worker's verdict on each odd DICOM folder is the table's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from odd_dicom import ODD, expected_voxels, make_odd

from memseg3d.files import UnreadableFile, read_volume


@pytest.mark.parametrize("name", ODD)
def test_the_workers_verdict(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    odd, folder = ODD[name], make_odd(name, tmp_path / "study")
    if odd.refused:
        with pytest.raises(UnreadableFile, match=odd.refused):
            read_volume(folder, odd.wanted)
    else:
        volume = read_volume(folder, odd.wanted)
        assert np.array_equal(volume.voxels, expected_voxels(odd, name))
        assert volume.spacing == pytest.approx((odd.step, *odd.spacing), rel=1e-6)
        assert odd.note in " ".join(volume.notes)
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_compressed_frames_are_read(tmp_path: Path) -> None:
    """The image library decodes the frames, shown to it as a plain stack; each is then rescaled as it says itself."""
    (path,) = make_odd("enhanced PET with a slope a frame", tmp_path / "study").iterdir()
    dataset = pydicom.dcmread(path)
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(tmp_path / "packed.dcm"))
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG2000")
    writer.Execute(sitk.GetImageFromArray(dataset.pixel_array))
    packed = pydicom.dcmread(tmp_path / "packed.dcm")
    dataset.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    dataset.PixelData = packed.PixelData
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)
    expected = expected_voxels(ODD["enhanced PET with a slope a frame"], "a slope a frame")
    assert np.array_equal(read_volume(tmp_path / "study").voxels, expected)

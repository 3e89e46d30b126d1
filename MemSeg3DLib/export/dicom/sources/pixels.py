"""The voxels of planes in order: files by the image library, frames of one file by hand, each rescaled as it says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage, generate_uid

from MemSeg3DLib.export.dicom.sources.headers import Plane
from MemSeg3DLib.export.dicom.sources.values import WRONG

_PIXELS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "NumberOfFrames",
)


def read_pixels(planes: Sequence[Plane]) -> NDArray[Any]:
    """Voxels (k, j, i), rescaled (Hounsfield units for CT). Raises RuntimeError where pixels are damaged."""
    if planes[0].frame is None:
        return _read_files([str(one.file) for one in planes])
    try:
        return _read_frames(planes)
    except WRONG as error:
        raise RuntimeError("damaged frames") from error


def _read_files(files: list[str]) -> NDArray[Any]:
    with _quiet():
        kinds = {_pixel_id(file) for file in files}
        reader = sitk.ImageSeriesReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileNames(files)
        # Slopes may differ per slice (PET): the first must not decide.
        floating = kinds & {sitk.sitkFloat32, sitk.sitkFloat64}
        reader.SetOutputPixelType(sitk.sitkFloat32 if floating else max(kinds))
        return sitk.GetArrayFromImage(reader.Execute())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the image library's own warnings off the terminal."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _pixel_id(file: str) -> int:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(file)
    reader.ReadImageInformation()
    return int(reader.GetPixelID())


def _read_frames(planes: Sequence[Plane]) -> NDArray[Any]:
    stored: dict[Path, NDArray[Any]] = {}
    for one in planes:
        if one.file not in stored:
            stored[one.file] = _stored_values(one.file)
    whole = all(slope == 1 and intercept == int(intercept) for slope, intercept in (one.rescale for one in planes))
    voxels = np.zeros((len(planes), *planes[0].size), np.int32 if whole else np.float32)
    for k, one in enumerate(planes):
        slope, intercept = one.rescale
        frame = stored[one.file][one.frame]
        voxels[k] = frame.astype(np.int32) + int(intercept) if whole else frame * slope + intercept
    return voxels


def _stored_values(file: Path) -> NDArray[Any]:
    """The stored values (frame, j, i) of a multi-frame file, before any rescaling."""
    dataset = pydicom.dcmread(file, force=True)
    syntax = dataset.file_meta.get("TransferSyntaxUID", pydicom.uid.ImplicitVRLittleEndian)
    if not syntax.is_compressed or syntax == pydicom.uid.RLELossless or syntax.is_deflated:
        values = dataset.pixel_array
    else:
        # Shown as a plain stack, so that the image library decodes the frames and rescales none of them.
        with tempfile.TemporaryDirectory(prefix="memseg3d-") as folder, _quiet():
            plain = Path(folder) / "frames.dcm"
            _plain(dataset, syntax).save_as(plain, enforce_file_format=True)
            values = sitk.GetArrayFromImage(sitk.ReadImage(str(plain), imageIO="GDCMImageIO"))
    return values if values.ndim == 3 else values[None]


def _plain(dataset: Dataset, syntax: pydicom.uid.UID) -> Dataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    plain = Dataset()
    plain.file_meta = meta
    plain.SOPClassUID, plain.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    for keyword in _PIXELS:
        if keyword in dataset:
            plain[keyword] = dataset[keyword]
    plain.PixelData = dataset.PixelData
    plain["PixelData"].is_undefined_length = True
    return plain

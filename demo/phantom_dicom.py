"""A volume that is no DICOM as a DICOM series of a made-up patient, so that a DICOM-SEG has something to refer to."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

PATIENT_NAME = "Phantom^MemSeg3D"
PATIENT_ID = "MEMSEG3D-PHANTOM"


@dataclass(frozen=True)
class Geometry:
    """Where voxels (k, j, i) lie: the 4x4 matrix from (i, j, k, 1) to (x, y, z, 1) in mm, LPS."""

    affine: NDArray[np.float64]

    @property
    def spacing(self) -> NDArray[np.float64]:
        """(si, sj, sk) in mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))


def looks_like_ct(voxels: NDArray[np.generic]) -> bool:
    """True where the voxels read as Hounsfield units: air far below zero, and soft tissue near it."""
    values = np.asarray(voxels, np.float32)
    return bool(values.min() <= -500 and np.percentile(values, 90) < 1500)


def write_phantom_series(
    voxels: NDArray[np.generic], geometry: Geometry, folder: Path, modality: str | None = None
) -> list[Path]:
    """Write voxels (k, j, i) as single-frame CT or MR slices into `folder`; returns the paths in the order of k.

    The identity is made up (`PATIENT_NAME`) and every UID is new. modality None: CT where `looks_like_ct`. MR values
    beyond 16 bits or with fractions are rescaled into the stored range; the slices then hold relative values.
    """
    folder.mkdir(parents=True, exist_ok=True)
    modality = modality or ("CT" if looks_like_ct(voxels) else "MR")
    stored, slope, intercept = _stored(voxels, modality)
    common = _series_header(geometry, stored.shape, modality)
    paths = []
    for k, plane in enumerate(stored):
        dataset = _slice(common, geometry, plane, k, modality)
        if modality == "CT":
            dataset.RescaleSlope, dataset.RescaleIntercept = _decimal(slope), _decimal(intercept)
            dataset.RescaleType = "HU"
        path = folder / f"{modality}{k + 1:04d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _stored(voxels: NDArray[np.generic], modality: str) -> tuple[NDArray[np.int16] | NDArray[np.uint16], float, float]:
    """Stored values with slope and intercept: int16 as it is where whole numbers fit, else stretched over 12 bits."""
    values = np.asarray(voxels, np.float64)
    low, high = float(values.min()), float(values.max())
    whole = np.array_equal(values, np.rint(values))
    if modality == "CT":
        return np.clip(np.rint(values), -32768, 32767).astype(np.int16), 1.0, 0.0
    if whole and low >= 0 and high <= 65535:
        return values.astype(np.uint16), 1.0, 0.0
    slope = (high - low) / 4095 or 1.0
    return np.rint((values - low) / slope).astype(np.uint16), slope, low


def _series_header(geometry: Geometry, shape: tuple[int, ...], modality: str) -> Dataset:
    now = datetime.datetime.now()
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    header.PatientName, header.PatientID = PATIENT_NAME, PATIENT_ID
    header.PatientBirthDate, header.PatientSex = "", "O"
    header.StudyInstanceUID, header.SeriesInstanceUID = generate_uid(), generate_uid()
    header.FrameOfReferenceUID, header.PositionReferenceIndicator = generate_uid(), ""
    header.StudyDate = header.SeriesDate = header.ContentDate = header.AcquisitionDate = date
    header.StudyTime = header.SeriesTime = header.ContentTime = header.AcquisitionTime = time
    header.StudyID, header.AccessionNumber, header.ReferringPhysicianName = "1", "", ""
    header.StudyDescription = "Made-up data, not of a patient"
    header.SeriesDescription = f"{modality} phantom"
    header.SeriesNumber, header.AcquisitionNumber, header.Laterality = 1, 1, ""
    header.Modality, header.Manufacturer = modality, "MemSeg3D"
    header.Rows, header.Columns = shape[1], shape[2]
    spacing = geometry.spacing
    header.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[0])]
    header.SliceThickness = _decimal(spacing[2])
    directions = geometry.affine[:3, :2] / spacing[:2]
    header.ImageOrientationPatient = [_decimal(value) for value in (*directions[:, 0], *directions[:, 1])]
    header.PatientPosition = "HFS"
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    if modality == "CT":
        header.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        header.KVP = ""
        header.WindowCenter, header.WindowWidth = 40, 400
    else:
        header.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
        header.ScanningSequence, header.SequenceVariant, header.ScanOptions = "RM", "NONE", ""
        header.MRAcquisitionType, header.RepetitionTime, header.EchoTime, header.EchoTrainLength = "3D", "", "", ""
    return header


def _slice(
    common: Dataset, geometry: Geometry, plane: NDArray[np.int16] | NDArray[np.uint16], k: int, modality: str
) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = common.SOPClassUID
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.update(common)
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.InstanceNumber = k + 1
    position = geometry.affine[:3, 3] + k * geometry.affine[:3, 2]
    dataset.ImagePositionPatient = [_decimal(value) for value in position]
    dataset.PixelRepresentation = int(plane.dtype == np.int16)
    # Stored little-endian, whatever this computer prefers.
    dataset.PixelData = plane.astype(plane.dtype.newbyteorder("<")).tobytes()
    return dataset


def _decimal(value: float) -> pydicom.valuerep.DSfloat:
    """A decimal string of at most 16 characters, as the standard demands."""
    return pydicom.valuerep.DSfloat(float(value), auto_format=True)

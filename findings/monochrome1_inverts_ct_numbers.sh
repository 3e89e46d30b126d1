#!/usr/bin/env bash
# A CT with PhotometricInterpretation MONOCHROME1 comes out of SimpleITK with wrong Hounsfield units.
#
# MONOCHROME1 only says that the lowest value is to be shown white; the rescaled values are Hounsfield units all the
# same, and CT, MR and X-ray images may use it. SimpleITK inverts the stored numbers before it applies slope and intercept:
# unsigned 12 bit x becomes 4095 - x, signed 16 bit x becomes -1 - x. Air (-924) turns into 2971 and soft tissue lies
# below it, without a message. dcm2niix and pydicom give -924. A signed 12 bit file is refused by SimpleITK.
# An interactive tool still finds the borders (contrast is inverted), which is why nobody notices; windows in HU, thresholds
# and the means of a segment are wrong. Check (0028,0004) when you read DICOM through ITK.
#
# Seen with SimpleITK 2.5.7, dcm2niix 1.0.20260724, pydicom 3.0.2 (stored 100 and 1100, intercept -1024):
#   MONOCHROME2 12 bits, unsigned: SimpleITK (-924, 76) dcm2niix (-924, 76) pydicom (-924, 76)
#   MONOCHROME1 12 bits, unsigned: SimpleITK (2971, 1971) dcm2niix (-924, 76) pydicom (-924, 76)
#   MONOCHROME1 16 bits, signed: SimpleITK (-1125, -2125) dcm2niix (-924, 76) pydicom (-924, 76)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6 pydicom==3.0.2 nibabel==5.4.2 SimpleITK==2.5.7 dcm2niix==1.0.20260724
venv/bin/python - <<'PY'
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import apply_rescale
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def write(folder, photometric, bits, signed):
    folder.mkdir()
    uids = generate_uid(), generate_uid(), generate_uid()
    voxels = np.full((8, 10), 100, "<i2")
    voxels[2:5, 3:6] = 1100
    for k in range(4):
        made = pydicom.Dataset()
        made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = uids
        made.SOPClassUID, made.SOPInstanceUID, made.Modality = CTImageStorage, generate_uid(), "CT"
        made.PatientID, made.SeriesNumber, made.InstanceNumber, made.Manufacturer = "1", 1, k + 1, "none"
        made.Rows, made.Columns, made.PixelSpacing, made.SliceThickness = 8, 10, [1, 1], 2.5
        made.ImageOrientationPatient, made.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2.5 * k]
        made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, photometric, signed
        made.BitsAllocated, made.BitsStored, made.HighBit = 16, bits, bits - 1
        made.RescaleSlope, made.RescaleIntercept, made.PixelData = 1, -1024, voxels.tobytes()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.save_as(folder / f"{k}.dcm", enforce_file_format=True)


def pair(values):
    return int(values.flat[0]), int(values[3, 4])


seen = []
for photometric, bits, signed in (("MONOCHROME2", 12, 0), ("MONOCHROME1", 12, 0), ("MONOCHROME1", 16, 1)):
    folder = Path(f"{photometric}_{bits}_{signed}")
    write(folder, photometric, bits, signed)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    subprocess.run(["venv/bin/dcm2niix", "-f", folder.name, "-o", ".", folder], check=True, capture_output=True)
    one = pydicom.dcmread(folder / "0.dcm")
    nifti = np.asarray(nibabel.load(folder.name + ".nii").get_fdata())[:, ::-1, 0].T
    row = pair(sitk.GetArrayFromImage(reader.Execute())[0]), pair(nifti), pair(apply_rescale(one.pixel_array, one))
    seen.append(row)
    print(photometric, bits, "bits,", "signed:" if signed else "unsigned:", "SimpleITK", row[0], "dcm2niix", row[1], "pydicom", row[2])
right = (-924, 76)
if seen != [(right, right, right), ((2971, 1971), right, right), ((-1125, -2125), right, right)]:
    sys.exit("MONOCHROME1 is read otherwise than stated above.")
PY

#!/usr/bin/env bash
# A tilted CT gantry: SimpleITK says nothing, and dcm2niix's plain file holds two grids, neither of them the scanner's.
#
# With a tilted gantry each slice is shifted against the last, and no box of voxels can hold them. SimpleITK warns when
# one slice of a straight series is missing, so one expects at least that. It is silent: it takes the distance between
# origins (2.5 mm) along the slice normal, where the planes lie 2.41 mm apart. dcm2niix corrects the tilt in a second
# file; the plain name holds the uncorrected voxels, with right angles in the qform and with the shear in the
# sform, whose third axis has the length 2.41 instead of 2.5. ITK reads the qform of such a file, nibabel the sform.
# Compare ImagePositionPatient with index * spacing before you trust a grid; take dcm2niix's *_Tilt_* file.
#
# Seen with SimpleITK 2.5.7, dcm2niix 1.0.20260724, nibabel 5.4.2 (15 degrees, 6 slices):
#   SimpleITK warns of a gap and not of the tilt: True; spacing 2.5, last slice off by 3.26 mm
#   dcm2niix plain.nii by its qform: last slice off by 3.24 mm; by its sform: 0.43 mm
#   dcm2niix plain_Tilt_1.nii by its sform: last slice off by 0.00 mm
#   SimpleITK reads the right angles of plain.nii: True
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6 pydicom==3.0.2 nibabel==5.4.2 SimpleITK==2.5.7 dcm2niix==1.0.20260724
mkdir tilted gap nifti
cat > series.py <<'PY'
import math

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

ROWS, COLUMNS, BRIGHT = 8, 10, (2, 3)  # one bright voxel a slice: row, column


def write(folder, positions, degrees):
    uids = generate_uid(), generate_uid(), generate_uid()
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    for number, position in enumerate(positions, 1):
        made = Dataset()
        made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = uids
        made.SOPClassUID, made.SOPInstanceUID, made.Modality = CTImageStorage, generate_uid(), "CT"
        made.PatientID, made.SeriesNumber, made.InstanceNumber, made.ProtocolName = "1", 1, number, "head"
        made.ImageType, made.Manufacturer, made.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], "none", "HFS"
        made.Rows, made.Columns, made.PixelSpacing, made.SliceThickness = ROWS, COLUMNS, [1, 1], 2.5
        made.ImageOrientationPatient = [1, 0, 0, 0, round(cosine, 10), round(-sine, 10)]
        made.ImagePositionPatient, made.GantryDetectorTilt = [0, 0, position], degrees
        made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
        made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
        made.RescaleSlope, made.RescaleIntercept = 1, 0
        voxels = bytearray(2 * ROWS * COLUMNS)
        voxels[2 * (BRIGHT[0] * COLUMNS + BRIGHT[1]) + 1] = 4
        made.PixelData = bytes(voxels)
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.save_as(f"{folder}/{number:03}.dcm", enforce_file_format=True)
PY
cat > read.py <<'PY'
import sys

import SimpleITK as sitk

reader = sitk.ImageSeriesReader()
reader.SetFileNames(reader.GetGDCMSeriesFileNames(sys.argv[1]))
image = reader.Execute()
print(image.GetSpacing()[2], *image.TransformIndexToPhysicalPoint((0, 0, 5)))
PY
venv/bin/python - <<'PY'
import subprocess
import sys

import nibabel
import numpy as np
import SimpleITK as sitk
from series import BRIGHT, write

write("gap", [0, 2.5, 5, 8.5, 10, 12.5], 0)
write("tilted", [2.5 * k for k in range(6)], 15)
runs = {}
for name in ("gap", "tilted"):
    runs[name] = subprocess.run(["venv/bin/python", "read.py", name], check=True, capture_output=True, text=True)
spacing, *origin = map(float, runs["tilted"].stdout.split())
error = float(np.linalg.norm(np.subtract(origin, (0, 0, 12.5))))
silent = "Non uniform" in runs["gap"].stderr and not runs["tilted"].stderr.strip()
print("SimpleITK warns of a gap and not of the tilt: %s; spacing %g, last slice off by %.2f mm" % (silent, spacing, error))
subprocess.run(["venv/bin/dcm2niix", "-f", "plain", "-o", "nifti", "tilted"], check=True, capture_output=True)
cosine, sine = np.cos(np.radians(15)), np.sin(np.radians(15))
truth = np.array([-BRIGHT[1], -BRIGHT[0] * cosine, 12.5 - BRIGHT[0] * sine])  # RAS
off = []
for name, form in (("plain.nii", "qform"), ("plain.nii", "sform"), ("plain_Tilt_1.nii", "sform")):
    image = nibabel.load("nifti/" + name)
    weights = np.asarray(image.dataobj, float)[:, :, -1]
    at = np.average(np.argwhere(weights > 0), axis=0, weights=weights[weights > 0])
    affine = image.get_qform() if form == "qform" else image.get_sform()
    off.append(round(float(np.linalg.norm((affine @ [*at, image.shape[2] - 1, 1])[:3] - truth)), 2))
    print("dcm2niix %s by its %s: last slice off by %.2f mm" % (name, form, off[-1]))
itk = sitk.ReadImage("nifti/plain.nii").GetDirection()
print("SimpleITK reads the right angles of plain.nii: %s" % (abs(itk[5]) > 0.2))
if not (silent and abs(spacing - 2.5) < 1e-6 and 3 < error < 3.5 and off == [3.24, 0.43, 0.0] and abs(itk[5]) > 0.2):
    sys.exit("The tilted series is treated otherwise than stated above.")
PY

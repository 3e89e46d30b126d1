#!/usr/bin/env bash
# Slice positions rounded to 0.1 mm: the DICOM-SEG loses its slice distance, and a reader then loses half of its slices.
#
# Some scanners write ImagePositionPatient with one decimal: 0.625 mm slices lie at 0, 0.6, 1.2, 1.9 ... mm. highdicom
# calls that uneven (a gap strays by more than 1 % of the spacing) and leaves SpacingBetweenSlices out of the SEG, but
# copies SliceThickness, which is larger where slices overlap. dcmqi, the reader behind 3D Slicer's import, then takes the
# thickness as the distance, and frames that fall between its planes vanish: exit code 0, half of the voxels.
# With exact positions, all else equal, nothing is lost. A test with thickness equal to the distance never shows it.
# After building the SEG, set SpacingBetweenSlices yourself to the distance that you have verified.
#
# Seen with highdicom 0.28.2, pydicom 3.0.2, dcmqi 1.5.7 (thickness 1.25 mm, 288 voxels written in 6 frames):
#   exact positions: SpacingBetweenSlices 0.625, dcmqi reads 6 slices 0.625 mm apart, 288 voxels
#   rounded to 0.1 mm: SpacingBetweenSlices None, dcmqi reads 3 slices 1.25 mm apart, 144 voxels
#   rounded, distance set by hand: SpacingBetweenSlices 0.625, dcmqi reads 6 slices 0.625 mm apart, 288 voxels
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6 pydicom==3.0.2 highdicom==0.28.2 dcmqi==1.5.7 SimpleITK==2.5.7
venv/bin/python - <<'PY'
import subprocess
import sys

import highdicom as hd
import numpy as np
import SimpleITK as sitk
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

ONE = dict(StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(), FrameOfReferenceUID=generate_uid(), StudyID="1")
ONE |= dict(SOPClassUID=CTImageStorage, Modality="CT", PatientName="A^B", PatientID="1", SliceThickness=1.25, SeriesNumber=1)
ONE |= dict.fromkeys(("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber"), "")
ONE |= dict(ReferringPhysicianName="", PositionReferenceIndicator="", Manufacturer="none", Rows=16, Columns=16)
ONE |= dict(PixelSpacing=[1, 1], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], SamplesPerPixel=1, BitsAllocated=16)
ONE |= dict(PhotometricInterpretation="MONOCHROME2", BitsStored=12, HighBit=11, PixelRepresentation=0, PixelData=bytes(512))


def image(number, position):
    made = Dataset()
    for name, value in ONE.items():
        setattr(made, name, value)
    made.SOPInstanceUID, made.InstanceNumber, made.ImagePositionPatient = generate_uid(), number, [0, 0, position]
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def read_back(positions, distance=None):
    mask = np.zeros((14, 16, 16), np.uint8)
    mask[3:9, 3:11, 3:9] = 1
    manual = hd.seg.SegmentAlgorithmTypeValues.MANUAL
    segment = hd.seg.SegmentDescription(1, "liver", codes.SCT.Organ, codes.SCT.Liver, manual)
    sources = [image(k + 1, position) for k, position in enumerate(positions)]
    seg = hd.seg.Segmentation(sources, mask, "BINARY", [segment], generate_uid(), 1, generate_uid(), 1, "a", "b", "1", "1")
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    if distance:
        measures.SpacingBetweenSlices = distance
    seg.save_as("seg.dcm")
    command = ["venv/bin/segimage2itkimage", "--inputDICOM", "seg.dcm", "--outputDirectory", ".", "--prefix", "read"]
    subprocess.run(command, check=True, capture_output=True)
    read = sitk.ReadImage("read-1.nrrd")
    count = int(np.count_nonzero(sitk.GetArrayFromImage(read)))
    return measures.get("SpacingBetweenSlices"), read.GetSize()[2], round(read.GetSpacing()[2], 6), count


exact = [0.625 * k for k in range(14)]
rounded = [round(position, 1) for position in exact]
seen = read_back(exact), read_back(rounded), read_back(rounded, 0.625)
for name, row in zip(("exact positions", "rounded to 0.1 mm", "rounded, distance set by hand"), seen):
    print(name + ": SpacingBetweenSlices %s, dcmqi reads %d slices %g mm apart, %d voxels" % row)
if seen != ((0.625, 6, 0.625, 288), (None, 3, 1.25, 144), (0.625, 6, 0.625, 288)):
    sys.exit("The slice distance is treated otherwise than stated above.")
PY

#!/usr/bin/env bash
# @itk-wasm/dicom shifts the frames of a DICOM-SEG whose rows x columns is no multiple of 8.
#
# A binary SEG packs eight voxels in a byte, and frames follow one another without padding: a frame of 29 x 30 voxels
# ends within a byte and the next begins in it. That is old and well specified, so one expects a packaged reader to do
# it. This one forgets the whole bytes that such left-over bits add up to: by the values seen, frame n begins 8 voxels
# early for each of them. The mask keeps its voxel count and its shape but walks sideways, more from frame to frame
# (highdicom stores the uppermost slice first here). Nobody sees it with 512 x 512 matrices; PET, MR and cropped CT do
# have such sizes. The same file is right for pydicom (below).
# A SEG writer cannot avoid it (the file is valid): compare positions, not volumes, when you test a viewer.
#
# Seen with @itk-wasm/dicom 7.6.4 (itk-wasm 1.0.0-b.201), highdicom 0.28.2, pydicom 3.0.2; columns that the cube covers:
#   16 x 16: written 4-7 4-7 4-7 4-7, read by pydicom 4-7 4-7 4-7 4-7, by itk-wasm 4-7 4-7 4-7 4-7
#   29 x 30: written 4-7 4-7 4-7 4-7, read by pydicom 4-7 4-7 4-7 4-7, by itk-wasm 20-23 12-15 4-7 4-7
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6 pydicom==3.0.2 highdicom==0.28.2
npm install --silent --no-audit --no-fund @itk-wasm/dicom@7.6.4 itk-wasm@1.0.0-b.201
cat > read.mjs <<'JS'
import { writeFileSync } from "node:fs";
import { readSegmentationNode } from "@itk-wasm/dicom";
const { segImage } = await readSegmentationNode(process.cwd() + "/seg.dcm");
writeFileSync("read.json", JSON.stringify({ size: segImage.size, data: Array.from(segImage.data) }));
process.exit(0);
JS
venv/bin/python - <<'PY'
import json
import subprocess
import sys

import highdicom as hd
import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

ONE = dict(StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(), FrameOfReferenceUID=generate_uid(), StudyID="1")
ONE |= dict(SOPClassUID=CTImageStorage, Modality="CT", PatientName="A^B", PatientID="1", SliceThickness=2.5, SeriesNumber=1)
ONE |= dict.fromkeys(("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber"), "")
ONE |= dict(ReferringPhysicianName="", PositionReferenceIndicator="", Manufacturer="none", PixelSpacing=[1, 1])
ONE |= dict(ImageOrientationPatient=[1, 0, 0, 0, 1, 0], SamplesPerPixel=1, BitsAllocated=16)
ONE |= dict(PhotometricInterpretation="MONOCHROME2", BitsStored=12, HighBit=11, PixelRepresentation=0)


def image(k, rows, columns):
    made = pydicom.Dataset()
    for name, value in ONE.items():
        setattr(made, name, value)
    made.Rows, made.Columns, made.PixelData = rows, columns, bytes(2 * rows * columns)
    made.SOPInstanceUID, made.InstanceNumber, made.ImagePositionPatient = generate_uid(), k + 1, [0, 0, 2.5 * k]
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def columns_of(frames):
    return " ".join("%d-%d" % (np.nonzero(frame)[1].min(), np.nonzero(frame)[1].max()) for frame in frames)


seen = {}
for rows, columns in ((16, 16), (29, 30)):
    mask = np.zeros((8, rows, columns), np.uint8)
    mask[2:6, 3:9, 4:8] = 1
    manual = hd.seg.SegmentAlgorithmTypeValues.MANUAL
    segment = hd.seg.SegmentDescription(1, "liver", codes.SCT.Organ, codes.SCT.Liver, manual)
    sources = [image(k, rows, columns) for k in range(8)]
    uids = generate_uid(), 1, generate_uid(), 1
    hd.seg.Segmentation(sources, mask, "BINARY", [segment], *uids, "a", "b", "1", "1").save_as("seg.dcm")
    subprocess.run(["node", "read.mjs"], check=True, capture_output=True)
    read = json.load(open("read.json"))
    web = np.reshape(read["data"], read["size"][::-1])
    seen[rows] = [columns_of(frames) for frames in (mask[2:6], pydicom.dcmread("seg.dcm").pixel_array, web)]
    print("%d x %d: written %s, read by pydicom %s, by itk-wasm %s" % (rows, columns, *seen[rows]))
right = "4-7 4-7 4-7 4-7"
if seen != {16: [right] * 3, 29: [right, right, "20-23 12-15 4-7 4-7"]}:
    sys.exit("The frames are read otherwise than stated above.")
PY

#!/usr/bin/env bash
# One NIfTI file, two positions, three readers, three rules.
#
# A NIfTI header may place its voxels twice: by the qform and by the sform, each with a code that says what the
# coordinates mean (1 scanner, 2 aligned to another image, ...). One would expect readers to have a common preference.
# nibabel takes the sform whenever it is set. ITK takes the sform only if its code is 1 (or there is no qform). The reader
# of many web viewers takes the form with the higher code. All three are silent, so a mask drawn in one program lies
# displaced in the next, although every program that shares a reader agrees with itself.
# For labelmaps: carry both forms and both codes of the image over unchanged; never write one form into both fields.
#
# Seen with nibabel 5.4.2, SimpleITK 2.5.7, nifti-reader-js 0.8.0:
#   qform code 1, sform code 1: nibabel sform, SimpleITK sform, nifti-reader-js sform
#   qform code 1, sform code 2: nibabel sform, SimpleITK qform, nifti-reader-js sform
#   qform code 2, sform code 1: nibabel sform, SimpleITK sform, nifti-reader-js qform
#   qform code 2, sform code 2: nibabel sform, SimpleITK qform, nifti-reader-js sform
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6 nibabel==5.4.2 SimpleITK==2.5.7
npm install --silent --no-audit --no-fund nifti-reader-js@0.8.0
cat > read.mjs <<'JS'
import fs from "node:fs";
import { readHeader } from "nifti-reader-js";
const bytes = fs.readFileSync(process.argv[2]);
console.log(readHeader(new Uint8Array(bytes).buffer).affine[2][3]);
JS
venv/bin/python - <<'PY'
import subprocess
import sys

import nibabel
import numpy as np
import SimpleITK as sitk

QFORM, SFORM = np.diag([1.0, 1, 1, 1]), np.diag([1.0, 1, 1, 1])
QFORM[2, 3], SFORM[2, 3] = 10, 50  # the two positions of the first slice, in mm
NAMES = {10.0: "qform", 50.0: "sform"}
seen = {}
for codes in ((1, 1), (1, 2), (2, 1), (2, 2)):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), None)
    image.header.set_qform(QFORM, codes[0])
    image.header.set_sform(SFORM, codes[1])
    nibabel.save(image, "two.nii")
    web = float(subprocess.check_output(["node", "read.mjs", "two.nii"]))
    positions = nibabel.load("two.nii").affine[2, 3], sitk.ReadImage("two.nii").GetOrigin()[2], web
    seen[codes] = tuple(NAMES[float(position)] for position in positions)
    print("qform code %d, sform code %d: nibabel %s, SimpleITK %s, nifti-reader-js %s" % (*codes, *seen[codes]))
stated = {
    (1, 1): ("sform", "sform", "sform"),
    (1, 2): ("sform", "qform", "sform"),
    (2, 1): ("sform", "sform", "qform"),
    (2, 2): ("sform", "qform", "sform"),
}
if seen != stated:
    sys.exit("The readers choose otherwise than stated above.")
PY

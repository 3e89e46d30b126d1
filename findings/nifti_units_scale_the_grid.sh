#!/usr/bin/env bash
# A NIfTI file that says its unit is the micrometre (or the metre) is a thousand times smaller (or larger) for ITK.
#
# The header has a byte for the unit of length (xyzt_units), and scanners of small animals, microscopes and their
# converters set it. Everybody "knows" that NIfTI tools ignore it and take the numbers as mm; nibabel's affine does. SimpleITK does
# not: it scales spacing and origin by the unit, without a message, and writes the file on in mm. An affine from nibabel and one
# from ITK for the same file then differ by the factor 1000: prompts placed by one miss the image read by the other, and
# volumes in mL differ by the factor 10^9.
# Read the byte, or use one library for both sides, and do not compare the affines of two readers before their units.
#
# Seen with SimpleITK 2.5.7, nibabel 5.4.2:
#   mm: nibabel spacing 4 origin 30; SimpleITK spacing 4 origin 30, writes it in mm
#   micron: nibabel spacing 4 origin 30; SimpleITK spacing 0.004 origin 0.03, writes it in mm
#   meter: nibabel spacing 4 origin 30; SimpleITK spacing 4000 origin 30000, writes it in mm
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6 nibabel==5.4.2 SimpleITK==2.5.7
venv/bin/python - <<'PY'
import sys

import nibabel
import numpy as np
import SimpleITK as sitk

affine = np.diag([-2.0, -3.0, 4.0, 1.0])
affine[2, 3] = 30
seen = {}
for unit in ("mm", "micron", "meter"):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units(xyz=unit)
    nibabel.save(image, "unit.nii")
    ours, theirs = nibabel.load("unit.nii").affine, sitk.ReadImage("unit.nii")
    sitk.WriteImage(theirs, "again.nii")
    again = nibabel.load("again.nii")
    seen[unit] = [round(float(ours[2, 2]), 6), round(float(ours[2, 3]), 6), round(theirs.GetSpacing()[2], 6)]
    seen[unit] += [round(theirs.GetOrigin()[2], 6), again.header.get_xyzt_units()[0]]
    print("%s: nibabel spacing %g origin %g; SimpleITK spacing %g origin %g, writes it in %s" % (unit, *seen[unit]))
stated = {
    "mm": [4, 30, 4, 30, "mm"],
    "micron": [4, 30, 0.004, 0.03, "mm"],
    "meter": [4, 30, 4000, 30000, "mm"],
}
if seen != stated:
    sys.exit("The unit is treated otherwise than stated above.")
PY

#!/usr/bin/env bash
# ITK turns NaN and infinity into 0 when it reads a NIfTI file, and only then.
#
# Float volumes often hold NaN outside the field of view (parametric maps, resampled or masked images). One would expect a
# reader to hand the voxels on, or to refuse. SimpleITK hands them on from NRRD and MetaImage; from NIfTI every
# non-finite voxel arrives as 0, without a message, while nibabel gives NaN. The file itself still holds NaN: it is lost in reading.
# So the same image, saved twice by one program, has different voxels: 0 lies inside the window of most MR and PET images,
# "outside" becomes tissue, means and thresholds move, and a check for NaN behind ITK finds nothing to complain about.
# Check for non-finite voxels before ITK's NIfTI reader, or in the format that keeps them.
#
# Seen with SimpleITK 2.5.7, nibabel 5.4.2:
#   nrrd read by SimpleITK: nan inf 7.0         mha read by SimpleITK: nan inf 7.0
#   nii read by SimpleITK: 0.0 0.0 7.0          nii read by nibabel: nan inf 7.0
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

voxels = np.full((4, 5, 6), 7, np.float32)
voxels[0, 0, :2] = np.nan, np.inf
seen = {}
for ending in ("nrrd", "mha", "nii", "nii.gz"):
    sitk.WriteImage(sitk.GetImageFromArray(voxels), "map." + ending)
    read = sitk.GetArrayFromImage(sitk.ReadImage("map." + ending))
    seen[ending] = [str(value) for value in read[0, 0, :3].tolist()]
    print(ending, "read by SimpleITK:", *seen[ending])
held = [str(value) for value in np.asanyarray(nibabel.load("map.nii").dataobj)[:3, 0, 0].tolist()]
print("nii read by nibabel:", *held)
kept, emptied = ["nan", "inf", "7.0"], ["0.0", "0.0", "7.0"]
if seen != {"nrrd": kept, "mha": kept, "nii": emptied, "nii.gz": emptied} or held != kept:
    sys.exit("Non-finite voxels are read otherwise than stated above.")
PY

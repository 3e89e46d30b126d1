#!/usr/bin/env bash
# ITK's signed distance maps are 0 on the outermost voxels of an object, not on its border: masks carried by them shrink.
#
# Segments are brought to finer slices, or filled in between slices, by interpolating signed distances and cutting at 0.
# One expects 0 where the mask ends, half a voxel beyond its outermost voxels' centres. ITK measures to those centres:
# they are 0 themselves, the first voxels outside a whole step. So the object loses half a voxel on either side, in the
# direction of thick slices half a slice, at the next carrying as much of the new grid, and "> 0" loses the whole rim.
# Both of its maps do so, whatever the spacing; no option changes it. Distances inside less distances outside by scipy
# (which measures to the nearest voxel of the other kind, both ways alike) put 0 in the middle and keep the size.
#
# Seen with SimpleITK 2.5.7, scipy 1.17.0, an object of 8 slices of 5 mm (40 mm) brought to slices of 1 mm:
#   SignedMaurer: outermost slice 0.0 mm, first outside -5.0 mm; carried 36 mm thick, by "> 0" 34 mm
#   SignedDanielsson: outermost slice 0.0 mm, first outside -5.0 mm; carried 36 mm thick, by "> 0" 34 mm
#   scipy, inside less outside: outermost slice 5.0 mm, first outside -5.0 mm; carried 40 mm thick, by "> 0" 40 mm
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet SimpleITK==2.5.7 scipy==1.17.0 numpy==2.4.6
venv/bin/python - <<'PY'
import sys

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import distance_transform_edt

STEP = 5.0
mask = np.zeros((20, 24, 24), np.uint8)
mask[6:14, 4:20, 4:20] = 1
image = sitk.GetImageFromArray(mask)
image.SetSpacing((5.0, 5.0, STEP))


def of_sitk(name):
    settings = {"insideIsPositive": True, "squaredDistance": False, "useImageSpacing": True}
    return sitk.GetArrayFromImage(getattr(sitk, name)(image, **settings))


sides = {"sampling": (STEP, 5.0, 5.0)}
maps = {
    "SignedMaurer": of_sitk("SignedMaurerDistanceMap"),
    "SignedDanielsson": of_sitk("SignedDanielssonDistanceMap"),
    "scipy, inside less outside": distance_transform_edt(mask, **sides) - distance_transform_edt(1 - mask, **sides),
}
seen = []
for name, distances in maps.items():
    column = distances[:, 12, 12].astype(float)
    # centres of slices of 1 mm, as a resampler finds them
    fine = np.interp(np.arange(0.5, 20 * STEP) / STEP - 0.5, np.arange(20), column)
    figures = (column[6], column[5], int((fine >= 0).sum()), int((fine > 0).sum()))
    seen.append(tuple(round(each, 3) for each in figures))
    print(
        f"{name}: outermost slice {figures[0]:.1f} mm, first outside {figures[1]:.1f} mm; "
        f'carried {figures[2]} mm thick, by "> 0" {figures[3]} mm'
    )
if seen[0][:2] != (0.0, -5.0) or seen[1] != seen[0] or not seen[0][2] < 40 or seen[2][2:] != (40, 40):
    sys.exit("The maps are no longer as stated above.")
PY

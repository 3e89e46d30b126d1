#!/usr/bin/env bash
# Slicer: saving a segmentation as .seg.nrrd changes it in the scene, and a thin segment on a finer grid is gone.
#
# The segments of one segmentation may lie on grids of their own (a vessel copied from a segmentation of a finer series
# beside a liver). One expects saving to leave the scene alone, and the file to take the finest grid or to refuse. The
# storage node lays all of them onto the grid of the first segment by nearest voxel, in the scene itself, and reports success. The
# segment that fell between the coarse voxels is then empty in the file and in the scene; what is left on the screen is the loss.
# With the fine segment first both are kept, but the liver grows by 15 %: the order of the list decides.
# Before a save, compare the volumes of the segments, or bring all to one grid on a copy yourself.
#
# Seen with slicer-core 5.12.4.0:
#   liver first: liver, vessel in mm3 before (144.0, 16.0), save says 1, scene after (144.0, 0.0), file (144.0, 0.0)
#   vessel first: ... before (144.0, 16.0), save says 1, scene after (166.02, 16.0), file (166.02, 16.0)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6 slicer-core==5.12.4.0
venv/bin/python - 2> messages <<'PY' || { cat messages >&2; exit 1; }
import sys

import numpy as np
import slicer
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

BINARY = "Binary labelmap"
GRIDS = {  # size, spacing in mm, where the segment lies (k, j, i)
    "liver": ((10, 20, 20), 1.0, np.s_[2:6, 2:8, 2:8]),
    "vessel": ((40, 80, 80), 0.25, np.s_[8:40, 41:42, 40:72]),
}


def add(segmentation, name):
    size, spacing, where = GRIDS[name]
    voxels = np.zeros(size, np.uint8)
    voxels[where] = 1
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(size[::-1])
    image.SetSpacing(spacing, spacing, spacing)
    image.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True))
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.AddRepresentation(BINARY, image)
    segmentation.GetSegmentation().AddSegment(segment, name)


def volumes(segmentation):
    found = {}
    for name in ("liver", "vessel"):
        segment = segmentation.GetSegmentation().GetSegment(name)
        image = segment.GetRepresentation(BINARY)
        scalars = image.GetPointData().GetScalars()
        count = 0 if scalars is None else int(np.sum(vtk_to_numpy(scalars) == segment.GetLabelValue()))
        found[name] = round(count * float(np.prod(image.GetSpacing())), 2)
    return tuple(found.values())


scene, seen = slicer.vtkMRMLScene(), []
for order in (("liver", "vessel"), ("vessel", "liver")):
    segmentation, again = (scene.AddNewNodeByClass("vtkMRMLSegmentationNode") for _ in range(2))
    for name in order:
        add(segmentation, name)
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(order[0] + ".seg.nrrd")
    before, done, after = volumes(segmentation), storage.WriteData(segmentation), volumes(segmentation)
    storage.ReadData(again)
    seen.append((before, done, after, volumes(again)))
    print("%s first: liver, vessel in mm3 before %s, save says %d, scene after %s, file %s" % (order[0], *seen[-1]))
both, lost, grown = (144.0, 16.0), (144.0, 0.0), (166.02, 16.0)
if seen != [(both, 1, lost, lost), (both, 1, grown, grown)]:
    sys.exit("Saving treats the grids otherwise than stated above.")
PY

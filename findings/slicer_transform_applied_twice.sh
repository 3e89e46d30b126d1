#!/usr/bin/env bash
# Slicer: writing a mask into a segment moves it twice where only the volume hangs under a transform.
#
# slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, segment, volume) takes the volume as the grid of
# the array, and one expects it to mind the volume's parent transform, as its reading counterpart does. It minds it twice:
# a volume moved by 100 mm puts the segment at 200 mm, and reading the same voxels back through the same volume
# finds none. Without a transform, or with the segmentation under the same one, all is right, so tests without a transform pass.
# Hang the segmentation under the volume's transform, or apply the transform once to an oriented image of your own and
# write it with SetBinaryLabelmapToSegment.
#
# Seen with slicer-core 5.12.4.0 (one voxel at (5, 5, 5) of a 1 mm volume):
#   volume at 0 mm: segment at x = 5 mm, read back 1 voxel
#   volume moved by 100 mm: segment at x = 205 mm, read back 0 voxels
#   volume and segmentation moved by 100 mm: segment at x = 105 mm, read back 1 voxel
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6 slicer-core==5.12.4.0
venv/bin/python - <<'PY'
import sys
import types

import numpy as np
import slicer
import slicer.util
import vtk

scene = slicer.mrmlScene = slicer.vtkMRMLScene()
application = slicer.vtkSlicerApplicationLogic()
application.SetMRMLScene(scene)
application.GetColorLogic().SetMRMLScene(scene)
application.GetColorLogic().AddDefaultColorNodes()
application.SetModuleLogic("Colors", application.GetColorLogic())
logics = {}
for name, kind in (("volumes", slicer.vtkSlicerVolumesLogic), ("segmentations", slicer.vtkSlicerSegmentationsModuleLogic)):
    logics[name] = kind()
    logics[name].SetMRMLApplicationLogic(application)
    logics[name].SetMRMLScene(scene)
    application.SetModuleLogic(name.capitalize(), logics[name])
slicer.modules = types.SimpleNamespace(
    **{name: types.SimpleNamespace(logic=lambda logic=logic: logic) for name, logic in logics.items()}
)
matrix = vtk.vtkMatrix4x4()
matrix.SetElement(0, 3, 100)
transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
transform.SetMatrixTransformToParent(matrix)


def write(volume_moved, segmentation_moved):
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    image = vtk.vtkImageData()
    image.SetDimensions(20, 20, 20)
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    volume.SetAndObserveImageData(image)
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.GetSegmentation().AddEmptySegment("one", "one")
    for node, moved in ((volume, volume_moved), (segmentation, segmentation_moved)):
        if moved:
            node.SetAndObserveTransformNodeID(transform.GetID())
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[5, 5, 5] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, "one", volume)
    held, extent, to_world = slicer.vtkOrientedImageData(), [0] * 6, vtk.vtkMatrix4x4()
    segmentation.GetBinaryLabelmapRepresentation("one", held)
    slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(held, extent)
    held.GetImageToWorldMatrix(to_world)
    x = to_world.MultiplyPoint((*extent[::2], 1))[0] + 100 * segmentation_moved
    back = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "one", volume)
    return round(x, 3), int(np.count_nonzero(back))


seen = write(0, 0), write(1, 0), write(1, 1)
for case, row in zip(("volume at 0 mm", "volume moved by 100 mm", "volume and segmentation moved by 100 mm"), seen):
    print(case + ": segment at x = %g mm, read back %d voxels" % row)
if seen != ((5, 1), (205, 0), (105, 1)):
    sys.exit("The mask is placed otherwise than stated above.")
PY

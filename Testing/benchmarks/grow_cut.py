"""Slicer's grow-cut as a program: `memseg3d evaluate rounds --baselines` asks it over stdin, it answers on stdout.

A question is an .npz of `image` and `seeds` (k, j, i; 0 unknown, 1 object, 2 background), an answer a .npy of bools;
before each stand its bytes as eight of their own, little-endian. It ends with its stdin. It runs apart because the
worker's package imports neither Slicer nor VTK.
"""

from __future__ import annotations

import io
import struct
import sys
from typing import Any, BinaryIO

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

OBJECT = 1


def grow_cut(image: NDArray[Any], seeds: NDArray[Any]) -> NDArray[np.bool_]:
    """The object's mask by vtkImageGrowCutSegment, without a penalty for distance, as the effect has it by default."""
    # The filter leaves the outermost voxels of its input out, so both get another layer.
    image, seeds = np.pad(image, 1, mode="edge"), np.pad(seeds, 1, mode="edge")
    method = slicer.vtkImageGrowCutSegment()
    method.SetDistancePenalty(0.0)
    method.SetIntensityVolume(_to_vtk(image.astype(np.float32), vtk.VTK_FLOAT))
    method.SetSeedLabelVolume(_to_vtk(seeds.astype(np.int16), vtk.VTK_SHORT))
    method.Update()
    labels = vtk_to_numpy(method.GetOutput().GetPointData().GetScalars()).reshape(image.shape)
    return np.asarray(labels == OBJECT)[1:-1, 1:-1, 1:-1]


def _to_vtk(array: NDArray[Any], kind: int) -> vtk.vtkImageData:
    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True, array_type=kind))
    return image


def main(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until `questions` ends."""
    while head := questions.read(8):
        (size,) = struct.unpack("<q", head)
        with np.load(io.BytesIO(questions.read(size)), allow_pickle=False) as question:
            mask = grow_cut(question["image"], question["seeds"])
        answer = io.BytesIO()
        np.save(answer, mask, allow_pickle=False)
        answers.write(struct.pack("<q", answer.tell()) + answer.getvalue())
        answers.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)

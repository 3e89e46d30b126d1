"""SimpleITK's filters for masks, each on the thread that calls it.

By itself ITK divides every image among threads that it starts for the purpose: for one slice that costs more than it
saves, and where all cores are busy a filter of 1 ms waits 10 to 25 for them.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import SimpleITK as sitk

Filter = TypeVar("Filter", bound="sitk.ProcessObject")


def alone(tool: Filter) -> Filter:
    """The filter, computing on the calling thread."""
    # Of SimpleITK 2.5's two settings this one; SetNumberOfThreads(1) still starts threads.
    tool.SetNumberOfWorkUnits(1)
    return tool


def image_of(mask: np.ndarray) -> sitk.Image:
    """A boolean array as an image of 0 and 1."""
    return sitk.GetImageFromArray(mask.astype(np.uint8))


def connected_parts(mask: np.ndarray, by_corners: bool = False) -> np.ndarray:
    """Connected parts of a boolean array, numbered from 1 in an integer array of its shape; 0 outside.

    by_corners: voxels that share an edge or a corner alone are neighbours too.
    """
    tool = alone(sitk.ConnectedComponentImageFilter())
    tool.SetFullyConnected(by_corners)
    # A copy: a view would outlive the image that it looks into.
    return np.asarray(sitk.GetArrayFromImage(tool.Execute(image_of(mask))))


def distance_map(mask: np.ndarray, spacing: tuple[float, ...] | None = None) -> np.ndarray:
    """Float32 of a boolean array's shape: distance from the mask's outermost voxels, positive inside, 0 on them.

    spacing: mm between voxels by axis; None: distances are in voxels. Beyond the array is nothing.
    """
    image = image_of(mask)
    if spacing is not None:
        image.SetSpacing(spacing[::-1])
    tool = alone(sitk.SignedMaurerDistanceMapImageFilter())
    tool.SetInsideIsPositive(True)
    tool.SetSquaredDistance(False)
    tool.SetUseImageSpacing(True)
    return np.asarray(sitk.GetArrayFromImage(tool.Execute(image)))


def dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    """A boolean array and all within a ball of `radius` voxels about it."""
    tool = alone(sitk.BinaryDilateImageFilter())
    tool.SetKernelRadius([radius] * mask.ndim)
    tool.SetKernelType(sitk.sitkBall)
    return np.asarray(sitk.GetArrayFromImage(tool.Execute(image_of(mask)))).astype(bool)


def slope_map(values: np.ndarray) -> np.ndarray:
    """Float32 of the shape of `values`: the slope in each voxel, smoothed by a Gaussian of one voxel."""
    smooth = alone(sitk.SmoothingRecursiveGaussianImageFilter())
    smooth.SetSigma(1.0)
    slope = alone(sitk.GradientMagnitudeImageFilter())
    return np.asarray(sitk.GetArrayFromImage(slope.Execute(smooth.Execute(sitk.GetImageFromArray(values)))))


def watershed(levels: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """The image flooded from its markers: for every voxel the number of the marker that reaches it first.

    levels: heights; markers: numbers from 1, 0 where there is none, of the same shape. Neighbours share an edge (2D).
    """
    tool = alone(sitk.MorphologicalWatershedFromMarkersImageFilter())
    tool.SetMarkWatershedLine(False)
    tool.SetFullyConnected(False)
    flooded = tool.Execute(sitk.GetImageFromArray(levels), sitk.GetImageFromArray(markers))
    return np.asarray(sitk.GetArrayFromImage(flooded))

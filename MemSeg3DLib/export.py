"""Segments to files: NIfTI on the reference grid with a side-car of names, and Slicer's .seg.nrrd."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

from MemSeg3DLib.errors import SceneError
from MemSeg3DLib.grids import Grid, VolumeOnGrid, filled_box, labelmap_of, read_segment, segmentation_grid
from MemSeg3DLib.scene import volume_array
from MemSeg3DLib.transforms import ijk_to_local_matrix, linear_between

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def segment_on_volume(segmentation_node: Any, segment_id: str, volume_node: Any) -> np.ndarray:
    """A segment on the source volume's own voxels, boolean (k, j, i).

    Exact where the two share a lattice; elsewhere each voxel of the volume takes the nearest voxel of the segment. Both
    may hang under transforms, also different ones.
    """
    segmentation = segmentation_node.GetSegmentation()
    if segmentation.GetSegment(segment_id) is None:
        raise SceneError("The segment is no longer in the segmentation: choose another one.")
    shape = volume_array(volume_node).shape
    result = np.zeros(shape, dtype=bool)
    labelmap = labelmap_of(segmentation_node, segment_id)
    if labelmap is None:
        return result
    source, target = segmentation_node.GetParentTransformNode(), volume_node.GetParentTransformNode()
    relation = linear_between(target, source)
    if relation is not None:
        # The volume's lattice as the segmentation sees it; reading resamples where the segment is on another one.
        grid = Grid(relation @ ijk_to_local_matrix(volume_node), (0, 0, 0), (shape[0], shape[1], shape[2]))
        return read_segment(segmentation_node, segment_id, grid, grid.whole)
    return _through_bent_space(segmentation_node, segment_id, volume_node, result)


def _through_bent_space(segmentation_node: Any, segment_id: str, volume_node: Any, result: np.ndarray) -> np.ndarray:
    grid = segmentation_grid(segmentation_node, volume_node)
    filled = filled_box(segmentation_node, segment_id, grid)
    if filled is None:
        return result
    mask = read_segment(segmentation_node, segment_id, grid, filled)
    return VolumeOnGrid(volume_node, segmentation_node, grid).pull_back(mask, filled)


def labelmap_array(
    segmentation_node: Any, volume_node: Any, segment_ids: Sequence[str] | None = None
) -> tuple[np.ndarray, list[str]]:
    """One labelmap of several segments on the source volume's voxels, and the ids in the order of their values from 1.

    uint8, or uint16 from 256 segments on. Where segments overlap, the later one is seen.
    """
    ids = list(segment_ids) if segment_ids is not None else _all_ids(segmentation_node)
    if not ids:
        raise SceneError("There is no segment to export: add one first.")
    labels = np.zeros(volume_array(volume_node).shape, dtype=np.uint8 if len(ids) < 256 else np.uint16)
    for value, segment_id in enumerate(ids, 1):
        labels[segment_on_volume(segmentation_node, segment_id, volume_node)] = value
    return labels, ids


def write_nifti(
    segmentation_node: Any,
    volume_node: Any,
    path: Path,
    segment_ids: Sequence[str] | None = None,
    like: Path | None = None,
) -> Path:
    """Write a labelmap on the source volume's grid and, beside it, `<name>.json` with the segments' names and colours.

    The volume's own geometry is written, without its parent transform. like: the file that the volume was loaded from;
    the labelmap then lies on that file voxel for voxel, also where Slicer turned its slices around.
    Returns the side-car's path. Raises SceneError where `like` has another grid, or the disk does not take the file.
    """
    path = Path(path)
    labels, ids = labelmap_array(segmentation_node, volume_node, segment_ids)
    image = sitk.GetImageFromArray(labels)
    matrix = _RAS_TO_LPS @ ijk_to_local_matrix(volume_node)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing([float(value) for value in spacing])
    image.SetOrigin([float(value) for value in matrix[:3, 3]])
    image.SetDirection([float(value) for value in (matrix[:3, :3] / spacing).ravel()])
    if like is not None:
        image = _laid_on(image, like)
    names = {}
    for value, segment_id in enumerate(ids, 1):
        segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
        names[str(value)] = {"name": segment.GetName(), "color": [round(c, 6) for c in segment.GetColor()]}
    side_car = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path), useCompression=True)
        side_car.write_text(json.dumps(names, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except (OSError, RuntimeError) as error:
        raise SceneError(f"{path.name} cannot be written: check the folder and its free space.") from error
    return side_car


def _laid_on(image: sitk.Image, like: Path) -> sitk.Image:
    """The image with its axes in the order and direction of a file on the same grid."""
    refusal = SceneError(f"{like.name} is not on the source volume's grid: export without it, or name the right file.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(like))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise SceneError(f"{like.name} cannot be read: name the file that the volume was loaded from.") from error
    if reader.GetDimension() != 3:
        raise refusal
    ours = np.array(image.GetDirection()).reshape(3, 3)
    theirs = np.array(reader.GetDirection()).reshape(3, 3)
    turn = np.round(ours.T @ theirs)
    if not np.array_equal(np.abs(turn).sum(axis=0), np.ones(3)):
        raise refusal
    order = [int(axis) for axis in np.argmax(np.abs(turn), axis=0)]
    laid = sitk.Flip(sitk.PermuteAxes(image, order), [bool(turn[axis, n] < 0) for n, axis in enumerate(order)])
    step = min(laid.GetSpacing())
    same = (
        tuple(laid.GetSize()) == tuple(reader.GetSize())
        and np.allclose(laid.GetOrigin(), reader.GetOrigin(), rtol=0, atol=1e-2 * step)
        and np.allclose(laid.GetSpacing(), reader.GetSpacing(), rtol=1e-4)
        and np.allclose(laid.GetDirection(), reader.GetDirection(), rtol=0, atol=1e-4)
    )
    if not same:
        raise refusal
    laid.SetOrigin(reader.GetOrigin())
    laid.SetSpacing(reader.GetSpacing())
    laid.SetDirection(reader.GetDirection())
    return laid


def write_seg_nrrd(segmentation_node: Any, path: Path) -> None:
    """Write the segmentation as Slicer's .seg.nrrd: names, colours, terminology and overlaps are kept."""
    path = Path(path)
    if not path.name.endswith(".seg.nrrd"):
        raise SceneError(f"A segmentation file ends in .seg.nrrd, {path.name} does not: change its name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetScene(segmentation_node.GetScene())
    storage.SetFileName(str(path))
    if not storage.WriteData(segmentation_node):
        raise SceneError(f"{path.name} cannot be written: check the folder and its free space.")


def _all_ids(segmentation_node: Any) -> list[str]:
    return [str(one) for one in segmentation_node.GetSegmentation().GetSegmentIDs()]

"""A MRML scene outside of Slicer's application (tests, demo, browser), and volumes and segmentations in it."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.scene.transforms import ijk_to_local_matrix, transform_point

__all__ = [
    "add_segment",
    "add_segmentation",
    "ijk_to_world",
    "load_volume",
    "open_scene",
    "volume_array",
    "volume_spacing",
    "world_to_ijk",
]


def open_scene() -> Any:
    """A scene with the logics that volumes and segmentations need; `slicer.mrmlScene` and `slicer.modules` point to it.

    For use where no Slicer application runs. Inside Slicer the application owns its scene: raises SceneError there.
    """
    if hasattr(slicer, "app"):
        raise SceneError("Slicer has a scene of its own: use slicer.mrmlScene.")
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    colours = application.GetColorLogic()
    colours.SetMRMLScene(scene)
    colours.AddDefaultColorNodes()
    # Without the colour logic under this name no volume finds its colour node.
    application.SetModuleLogic("Colors", colours)
    logics = {
        "volumes": ("Volumes", slicer.vtkSlicerVolumesLogic()),
        "segmentations": ("Segmentations", slicer.vtkSlicerSegmentationsModuleLogic()),
        "markups": ("Markups", slicer.vtkSlicerMarkupsLogic()),
        "subjecthierarchy": ("SubjectHierarchy", slicer.vtkSlicerSubjectHierarchyModuleLogic()),
    }
    for name, logic in logics.values():
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        application.SetModuleLogic(name, logic)
    slicer.modules = types.SimpleNamespace(
        # The namespace also keeps the application logic alive as long as the scene is current.
        memseg3d_application=application,
        **{name: types.SimpleNamespace(logic=lambda logic=logic: logic) for name, (_, logic) in logics.items()},
    )
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    return scene


def load_volume(scene: Any, path: Path | str, name: str | None = None) -> Any:
    """Read a NIfTI, NRRD or MetaImage file into a scalar volume node of the scene."""
    path = Path(path)
    if not path.is_file():
        raise SceneError(f"There is no file {path}: check the path.")
    if scene is not slicer.mrmlScene:
        raise SceneError("Volumes are loaded into the current scene: open_scene() makes one.")
    node = slicer.modules.volumes.logic().AddArchetypeVolume(str(path), name or path.name.split(".")[0], 0)
    if node is None or node.GetImageData() is None:
        raise SceneError(f"{path.name} cannot be read as a volume: it is damaged, or no NIfTI, NRRD or MetaImage.")
    return node


def add_segmentation(scene: Any, volume_node: Any, name: str = "Segmentation") -> Any:
    """A new segmentation on the grid and under the parent transform of a volume, as the Segment Editor sets it up."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    return node


def add_segment(segmentation_node: Any, name: str, colour: tuple[float, float, float] | None = None) -> str:
    """Add an empty segment and return its id."""
    colour_list = list(colour) if colour else None
    segment_id = segmentation_node.GetSegmentation().AddEmptySegment("", name, *([colour_list] if colour_list else []))
    return str(segment_id)


def volume_array(volume_node: Any) -> np.ndarray:
    """The voxels of a volume node (k, j, i) in its own type: a view, no copy.

    Raises SceneError for anything but one scalar image.
    """
    image = None if volume_node is None else volume_node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        raise SceneError("The source volume holds no image: load it, or choose another one.")
    if image.GetNumberOfScalarComponents() != 1:
        raise SceneError("The source volume is a colour or vector image: convert it to a scalar volume first.")
    i, j, k = image.GetDimensions()
    if min(i, j, k) < 1:
        raise SceneError("The source volume is empty: load it, or choose another one.")
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k, j, i)


def volume_spacing(volume_node: Any) -> tuple[float, float, float]:
    """Spacing (k, j, i) in mm along the volume's own axes."""
    i, j, k = volume_node.GetSpacing()
    return (float(k), float(j), float(i))


def world_to_ijk(volume_node: Any, ras: tuple[float, float, float]) -> tuple[float, float, float]:
    """World point (RAS mm) as voxel coordinates (k, j, i), voxel centres at integers; through any parent transform."""
    local = transform_point(None, volume_node.GetParentTransformNode(), ras)
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetRASToIJKMatrix(matrix)
    i, j, k, _ = matrix.MultiplyPoint((*local, 1.0))
    return (k, j, i)


def ijk_to_world(volume_node: Any, kji: tuple[float, float, float]) -> tuple[float, float, float]:
    """Voxel coordinates (k, j, i) as a world point (RAS mm); through any parent transform."""
    k, j, i = kji
    x, y, z, _ = ijk_to_local_matrix(volume_node) @ np.array([i, j, k, 1.0])
    return transform_point(volume_node.GetParentTransformNode(), None, (float(x), float(y), float(z)))

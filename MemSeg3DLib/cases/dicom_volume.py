"""A DICOM series as a volume of the scene, without Slicer's database: for queues of studies, and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from pydicom.dataset import Dataset
from vtk.util.numpy_support import numpy_to_vtk

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.export.dicom.scene import INSTANCES
from MemSeg3DLib.export.dicom.series import SourceSeries, read_files
from MemSeg3DLib.export.dicom.sources.pixels import read_pixels
from MemSeg3DLib.scene.transforms import LPS_FROM_RAS, to_vtk


def load_series(scene: Any, files: Sequence[Path], name: str, part: str = "") -> tuple[Any, dict[str, Path]]:
    """Read the volume that these files hold as a node called `name`; returns it with the file of each SOP instance UID.

    part: which volume, by the words of messages, where the files hold several; else the largest. The node knows its
    instances as one that Slicer imported does, and CT its Hounsfield units where the headers do not name others. No
    patient's name comes into the scene. Raises DicomSourceError where the files hold no volume, SceneError where pixels
    are damaged.
    """
    series = read_files(files, wanted=part or None)
    voxels = _voxels(series)
    image = vtk.vtkImageData()
    depth, rows, columns = voxels.shape
    image.SetDimensions(columns, rows, depth)
    image.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetIJKToRASMatrix(to_vtk(LPS_FROM_RAS @ series.grid.affine))
    node.SetAndObserveImageData(image)
    node.CreateDefaultDisplayNodes()
    paths = {plane.instance: plane.file for plane in series.planes}
    node.SetAttribute(INSTANCES, " ".join(paths))
    if all(_is_hounsfield(dataset) for dataset in series.datasets):
        units = slicer.vtkCodedEntry()
        units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
        node.SetVoxelValueUnits(units)
    return node, paths


def _voxels(series: SourceSeries) -> np.ndarray:
    """(k, j, i), rescaled as the headers say."""
    folder = series.planes[0].file.parent.name
    refusal = SceneError(f"The pixels of {folder} cannot be read: the files are damaged or compressed.")
    try:
        voxels = read_pixels(series.planes)
    except RuntimeError as error:
        raise refusal from error
    if voxels.shape != series.grid.shape:
        raise refusal
    # Whole numbers of a CT come as 64 or 32 bits where the rescaling says so, and take a quarter of that.
    if np.issubdtype(voxels.dtype, np.integer) and voxels.min() >= -(2**15) and voxels.max() < 2**15:
        return np.ascontiguousarray(voxels, dtype=np.int16)
    return np.ascontiguousarray(voxels)


def _is_hounsfield(dataset: Dataset) -> bool:
    """CT rescales to HU unless it names another type: iodine maps and the like are CT, too (PS3.3 C.8.2.1)."""
    return dataset.get("Modality") == "CT" and str(dataset.get("RescaleType") or "HU").strip().upper() == "HU"

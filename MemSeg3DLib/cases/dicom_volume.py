"""A DICOM series as a volume of the scene, without Slicer's database: for queues of studies, and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from pydicom.dataset import Dataset
from vtk.util.numpy_support import numpy_to_vtk

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.export.dicom.scene import INSTANCES
from MemSeg3DLib.export.dicom.series import SourceSeries, read_files
from MemSeg3DLib.scene.transforms import LPS_FROM_RAS, to_vtk


def load_series(scene: Any, files: Sequence[Path], name: str) -> tuple[Any, dict[str, Path]]:
    """Read slices as one volume node called `name`, and return it with the file of each SOP instance UID.

    The node knows its instances as one that Slicer imported does, and CT its Hounsfield units where the headers do not
    name others. No patient's name comes into the scene. Raises DicomSourceError where the slices are no regular series,
    SceneError where pixels are damaged.
    """
    series = read_files(files)
    paths = [Path(str(dataset.filename)) for dataset in series.datasets]
    voxels = _voxels(paths, series)
    image = vtk.vtkImageData()
    depth, rows, columns = voxels.shape
    image.SetDimensions(columns, rows, depth)
    image.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetIJKToRASMatrix(to_vtk(LPS_FROM_RAS @ series.grid.affine))
    node.SetAndObserveImageData(image)
    node.CreateDefaultDisplayNodes()
    uids = [str(dataset.SOPInstanceUID) for dataset in series.datasets]
    node.SetAttribute(INSTANCES, " ".join(uids))
    if all(_is_hounsfield(dataset) for dataset in series.datasets):
        units = slicer.vtkCodedEntry()
        units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
        node.SetVoxelValueUnits(units)
    return node, dict(zip(uids, paths, strict=True))


def _voxels(paths: Sequence[Path], series: SourceSeries) -> np.ndarray:
    """(k, j, i), rescaled as the headers say."""
    refusal = SceneError(f"The pixels of {paths[0].parent.name} cannot be read: the files are damaged or compressed.")
    try:
        names = [str(path) for path in paths]
        # The library gives all slices the type of the first one, which may cut off the fractions of others (PET).
        image = sitk.ReadImage(names) if _is_uniform(series) else sitk.ReadImage(names, sitk.sitkFloat64)
        voxels = sitk.GetArrayFromImage(image)
    except RuntimeError as error:
        raise refusal from error
    if voxels.shape != series.grid.shape:
        raise refusal
    # Whole numbers of a CT come as 64 or 32 bits where the rescaling says so, and take a quarter of that.
    if np.issubdtype(voxels.dtype, np.integer) and voxels.min() >= -(2**15) and voxels.max() < 2**15:
        return np.ascontiguousarray(voxels, dtype=np.int16)
    return np.ascontiguousarray(voxels)


def _is_uniform(series: SourceSeries) -> bool:
    """True where every slice stores and rescales its values alike."""
    keywords = ("RescaleSlope", "RescaleIntercept", "PixelRepresentation", "BitsAllocated", "BitsStored")
    return len({tuple(dataset.get(keyword) for keyword in keywords) for dataset in series.datasets}) == 1


def _is_hounsfield(dataset: Dataset) -> bool:
    """CT rescales to HU unless it names another type: iodine maps and the like are CT, too (PS3.3 C.8.2.1)."""
    return dataset.get("Modality") == "CT" and str(dataset.get("RescaleType") or "HU").strip().upper() == "HU"

"""What a segment measures on its source volume: millilitres, two diameters, intensities; a row that can be copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from MemSeg3DLib.base.packing import extent_slices
from MemSeg3DLib.scene.grids import Grid, labelmap_of
from MemSeg3DLib.scene.nodes import volume_array
from MemSeg3DLib.scene.transforms import ijk_to_local_matrix, linear_between, to_numpy
from MemSeg3DLib.scene.volume_masks import CroppedMask, mask_on_volume
from MemSeg3DLib.segments.diameters import Diameters, longest_diameters

HEADER = ("Segment", "Volume (mL)", "Longest diameter (mm)", "Perpendicular (mm)", "Slice", "Mean", "SD", "Unit")
# Units of DICOM's code lists (UCUM) as they are read aloud; others are shown as they are.
_UNITS = {"[hnsf'U]": "HU", "{SUVbw}g/ml": "SUVbw", "{SUVlbm}g/ml": "SUVlbm", "{SUVbsa}cm2/ml": "SUVbsa"}
_NO_UNIT = "intensity"

Line = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class SegmentMeasurement:
    """What a segment measures.

    millilitres, and diameters in mm: in the world, linear parent transforms included. millilitres: of the segment's own
    voxels, also of those outside of the source volume or finer than its; voxels: of the volume. longest, perpendicular:
    of the slice with the longest in-plane diameter across `axis` of the volume, which is slice `index`; longest_line,
    perpendicular_line: their ends in world RAS mm, None under a non-linear transform. mean, deviation (of the
    population), minimum, maximum: of the source volume's own voxels inside, in `unit`. None where no voxel is inside.
    """

    name: str
    voxels: int
    millilitres: float
    unit: str
    axis: int = 0
    index: int | None = None
    longest: float | None = None
    perpendicular: float | None = None
    longest_line: Line | None = None
    perpendicular_line: Line | None = None
    mean: float | None = None
    deviation: float | None = None
    minimum: float | None = None
    maximum: float | None = None

    def cells(self) -> tuple[str, ...]:
        """The row as it is shown, in the order of `HEADER`; slices are counted from 0, as Slicer counts IJK."""
        digits = 2 if self.unit.startswith("SUV") else 1
        return (
            self.name,
            f"{self.millilitres:.2f}",
            _shown(self.longest, 1),
            _shown(self.perpendicular, 1),
            "" if self.index is None else str(self.index),
            _shown(self.mean, digits),
            _shown(self.deviation, digits),
            self.unit,
        )

    def as_text(self) -> str:
        """The row with tabs between its cells, as spreadsheets take it."""
        return "\t".join(" ".join(cell.split()) for cell in self.cells())


@dataclass(frozen=True, eq=False)
class MeasureJob:
    """Everything that is measured, copied out of the scene, so that `run` may be on any thread.

    values: the volume's voxels inside the segment. matrix: (i, j, k, 1) to world RAS mm, or to the volume's own RAS
    where its parent transform is not linear (`is_linear` False). own_millilitres: where the segment's own voxels are
    not the volume's.
    """

    name: str
    mask: CroppedMask
    values: np.ndarray
    matrix: np.ndarray
    is_linear: bool
    axis: int
    unit: str
    own_millilitres: float | None = None

    def run(self) -> SegmentMeasurement:
        """Measure."""
        count = self.mask.count
        millilitres = count * _millilitres(self.matrix) if self.own_millilitres is None else self.own_millilitres
        if self.mask.box is None:
            return SegmentMeasurement(self.name, 0, millilitres, self.unit, self.axis)
        rows, columns = (axis for axis in range(3) if axis != self.axis)
        steps = {axis: self.matrix[:3, 2 - axis] for axis in range(3)}
        planes = np.moveaxis(self.mask.inside, self.axis, 0)
        found = longest_diameters(planes, steps[rows], steps[columns])
        assert found is not None
        values = self.values.astype(np.float64)
        lines = [self._line(found, ends) for ends in (found.longest_ends, found.perpendicular_ends)]
        return SegmentMeasurement(
            name=self.name,
            voxels=count,
            millilitres=millilitres,
            unit=self.unit,
            axis=self.axis,
            index=found.index + self.mask.box[self.axis][0],
            longest=found.longest,
            perpendicular=found.perpendicular,
            longest_line=lines[0] if self.is_linear else None,
            perpendicular_line=lines[1] if self.is_linear else None,
            mean=float(values.mean()),
            deviation=float(values.std()),
            minimum=float(values.min()),
            maximum=float(values.max()),
        )

    def _line(self, found: Diameters, ends: Sequence[tuple[float, float]]) -> Line:
        assert self.mask.box is not None
        points = []
        for row, column in ends:
            kji = [row, column]
            kji.insert(self.axis, found.index)
            k, j, i = (value + low for value, (low, _) in zip(kji, self.mask.box, strict=True))
            x, y, z = (self.matrix @ np.array([i, j, k, 1.0]))[:3]
            points.append((float(x), float(y), float(z)))
        return points[0], points[1]


def prepare_measurement(segmentation_node: Any, segment_id: str, volume_node: Any, axis: int = 0) -> MeasureJob:
    """Copy a segment and the voxels inside it out of the scene; main thread. Raises SceneError where one is gone.

    axis: the slices of the volume in which diameters are measured; 0 are those it was acquired or stored in.
    """
    mask = mask_on_volume(segmentation_node, segment_id, volume_node)
    values = np.zeros(0)
    if mask.box is not None:
        values = volume_array(volume_node)[extent_slices(mask.box)][mask.inside]
    matrix = ijk_to_local_matrix(volume_node)
    to_world = linear_between(volume_node.GetParentTransformNode(), None)
    return MeasureJob(
        name=str(segmentation_node.GetSegmentation().GetSegment(segment_id).GetName()),
        mask=mask,
        values=values,
        matrix=matrix if to_world is None else to_world @ matrix,
        is_linear=to_world is not None,
        axis=axis,
        unit=intensity_unit(volume_node),
        own_millilitres=_own_millilitres(segmentation_node, segment_id, volume_node),
    )


def measure(segmentation_node: Any, segment_id: str, volume_node: Any, axis: int = 0) -> SegmentMeasurement:
    """Measure a segment on the voxels of its source volume, at once.

    Under a non-linear transform sizes are those of the untransformed volume. Raises SceneError where the segment or the
    image is gone.
    """
    return prepare_measurement(segmentation_node, segment_id, volume_node, axis).run()


def as_table(measurements: Sequence[SegmentMeasurement]) -> str:
    """Rows with tabs between their cells, under a header, as spreadsheets take them."""
    return "\n".join(["\t".join(HEADER), *(one.as_text() for one in measurements)]) + "\n"


def intensity_unit(volume_node: Any) -> str:
    """ "HU", "SUVbw" and the like where the volume node says so, else "intensity": a guess could mislead."""
    units = volume_node.GetVoxelValueUnits()
    code = str(units.GetCodeValue() or "") if units is not None else ""
    if code:
        return _UNITS.get(code, str(units.GetCodeMeaning() or code))
    if (volume_node.GetAttribute("DICOM.Modality") or "") == "CT":
        return "HU"
    return _NO_UNIT


def _own_millilitres(segmentation_node: Any, segment_id: str, volume_node: Any) -> float | None:
    """Size of the segment's own voxels; None where all of them are voxels of the volume, which are counted anyway."""
    labelmap = labelmap_of(segmentation_node, segment_id)
    if labelmap is None or labelmap.GetPointData().GetScalars() is None:
        return None
    parent = segmentation_node.GetParentTransformNode()
    relation = linear_between(volume_node.GetParentTransformNode(), parent)
    if relation is not None:
        k, j, i = volume_array(volume_node).shape
        image = Grid(relation @ ijk_to_local_matrix(volume_node), (0, 0, 0), (k, j, i)).image(((0, k), (0, j), (0, i)))
        low, high = np.array(labelmap.GetExtent()).reshape(3, 2).T
        is_inside = bool((low >= 0).all() and (high < (i, j, k)).all())
        if is_inside and slicer.vtkOrientedImageDataResample.DoGeometriesMatch(labelmap, image):
            return None
    value = segmentation_node.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    count = int(np.count_nonzero(vtk_to_numpy(labelmap.GetPointData().GetScalars()) == value))
    to_ras = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(to_ras)
    to_world = linear_between(parent, None)
    return count * _millilitres(to_numpy(to_ras) if to_world is None else to_world @ to_numpy(to_ras))


def _millilitres(matrix: np.ndarray) -> float:
    return float(abs(np.linalg.det(matrix[:3, :3]))) / 1000.0


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"

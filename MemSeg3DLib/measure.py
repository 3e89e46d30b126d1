"""Volume and intensities of a segment on its source volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from MemSeg3DLib.export import segment_on_volume
from MemSeg3DLib.scene import volume_array
from MemSeg3DLib.transforms import ijk_to_local_matrix, linear_between


@dataclass(frozen=True)
class Measurement:
    """What a segment measures.

    millilitres: in the world, linear parent transforms included. mean, deviation (of the population), minimum, maximum:
    of the source volume's intensities inside; None where the segment is empty.
    """

    voxels: int
    millilitres: float
    mean: float | None
    deviation: float | None
    minimum: float | None
    maximum: float | None


def measure(segmentation_node: Any, segment_id: str, volume_node: Any) -> Measurement:
    """Measure a segment on the voxels of its source volume.

    Under a non-linear transform the volume of a voxel is that of the untransformed volume. Raises SceneError where the
    segment is gone.
    """
    inside = segment_on_volume(segmentation_node, segment_id, volume_node)
    count = int(np.count_nonzero(inside))
    millilitres = count * voxel_millilitres(volume_node)
    if count == 0:
        return Measurement(0, 0.0, None, None, None, None)
    values = volume_array(volume_node)[inside].astype(np.float64)
    return Measurement(
        voxels=count,
        millilitres=millilitres,
        mean=float(values.mean()),
        deviation=float(values.std()),
        minimum=float(values.min()),
        maximum=float(values.max()),
    )


def voxel_millilitres(volume_node: Any) -> float:
    """Volume of one voxel in mL, seen in the world."""
    matrix = ijk_to_local_matrix(volume_node)
    to_world = linear_between(volume_node.GetParentTransformNode(), None)
    if to_world is not None:
        matrix = to_world @ matrix
    return float(abs(np.linalg.det(matrix[:3, :3]))) / 1000.0

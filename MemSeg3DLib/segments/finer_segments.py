"""Segments on a finer grid than their segmentation: writing would lose what they hold, so they are left whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.scene.grids import Grid, is_finer
from MemSeg3DLib.segments.write_settings import WriteSettings


def refuse_finer(segmentation_node: Any, segment_ids: Iterable[str], grid: Grid) -> None:
    """Raise SceneError where one of these is to be written.

    Slicer's logic resamples what it writes to the reference geometry, and thin things between its voxels vanish.
    """
    for one in segment_ids:
        if is_finer(segmentation_node, one, grid):
            name = segmentation_node.GetSegmentation().GetSegment(one).GetName()
            raise SceneError(
                f"{name} lies on a finer grid than its segmentation, and writing would lose what it holds: draw in a "
                "new segment, or set the segmentation's source geometry to the finer grid in the Segment Editor."
            )


def spare_finer(segmentation_node: Any, settings: WriteSettings, grid: Grid) -> tuple[list[str], list[str]]:
    """Neighbours that are left whole, since taking voxels from them would lose others, and those that may be taken."""
    known = list(settings.overwritable(segmentation_node))
    spared = [one for one in known if is_finer(segmentation_node, one, grid)]
    return spared, [one for one in known if one not in spared]

"""Folders of small volumes for a queue of cases, and what is drawn in the open one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MemSeg3DLib.cases.queue import CaseQueue
from MemSeg3DLib.cases.template import template_of_names
from MemSeg3DLib.scene.volume_masks import segment_on_volume

SHAPE = (6, 12, 14)
TEMPLATE = template_of_names(["liver", "tumour"])


def write_image(path: Path, seed: int = 0) -> Path:
    """A small volume on a grid of its own."""
    image = sitk.GetImageFromArray(np.random.default_rng(seed).integers(-100, 200, SHAPE).astype(np.int16))
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((3.0 + seed, -20.0, 7.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def three_volumes(folder: Path) -> Path:
    """Three volumes, called a, b and c; returns the folder."""
    for seed, name in enumerate(("a.nii.gz", "b.nrrd", "c.mha")):
        write_image(folder / name, seed)
    return folder


def drawn(queue: CaseQueue, segment: int = 0) -> np.ndarray:
    """One of the open case's segments (k, j, i)."""
    chosen = str(queue.segmentation_node.GetSegmentation().GetNthSegmentID(segment))
    return segment_on_volume(queue.segmentation_node, chosen, queue.volume_node)

"""The targets of a folder of cases with the robot user's box on each: what several benchmarks begin with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memseg3d.evaluation.robot import Box, choose_axis, draw_box
from memseg3d.evaluation.targets import find_cases, read_case
from memseg3d.propagation.prompts.prompts import BoxPrompt
from memseg3d.propagation.volume.volume import Volume


@dataclass(frozen=True, eq=False)
class BoxedTarget:
    """truth: (k, j, i) bool. axis: the one that the box lies across."""

    case: str
    volume: Volume
    truth: np.ndarray
    axis: int
    box: Box

    @property
    def prompt(self) -> BoxPrompt:
        """The box as a prompt of object 1."""
        return BoxPrompt(1, self.box.axis, self.box.lower, self.box.upper)

    def slices(self, voxels: np.ndarray) -> np.ndarray:
        """A (k, j, i) array as (slices, rows, columns) across the box's axis."""
        return np.moveaxis(np.asarray(voxels), self.axis, 0)


def boxed_targets(folder: Path) -> Iterator[BoxedTarget]:
    """Every target of every case in `folder`."""
    for name, modality in find_cases(folder).items():
        case = read_case(folder, name, modality)
        volume = Volume(case.image.voxels, case.image.spacing)
        axis = choose_axis(volume.spacing)
        for target in case.targets:
            truth = case.labels == target.label
            yield BoxedTarget(name, volume, truth, axis, draw_box(truth, axis, target.key))

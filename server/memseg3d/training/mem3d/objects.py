"""The slices that a target shows on, of every case of a set: looked through at the start, read when wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.datasets.description import Case, DataSet, Split
from memseg3d.datasets.door import open_data
from memseg3d.datasets.errors import BrokenCase, DataSetError
from memseg3d.datasets.voxel_cache import VoxelCache

SCRIBBLES = "scribbles"


@dataclass(frozen=True)
class Shown:
    """One case. slices: those that show the target, in order."""

    case: Case
    slices: tuple[int, ...]


def open_task(data: Path, name: str = "MSD", task: int = 10) -> DataSet:
    """The release's layout below `data` (`MSD/Task10_origin`, `KiTS/origin`), or whatever set `data` itself is.

    Raises `DataSetError`.
    """
    for origin in (data / name / f"Task{task:02d}_origin", data / f"Task{task:02d}_origin", data / name / "origin"):
        if origin.is_dir():
            return open_data(origin, "mem3d")
    return open_data(data)


class Objects:
    """The cases of a set that a stage learns from, and their slices as tensors.

    >>> objects = Objects(open_task(folder), folder / "cache", label=1, size=512)
    >>> image, mask = objects.slice(objects.training[0], 12)   # (1, 512, 512) each
    """

    def __init__(
        self, data: DataSet, cache: Path, label: int, size: int, say: Callable[[str], None] = lambda _: None
    ) -> None:
        """Look through all labels. Raises `DataSetError` for a broken pair, or where nothing can be learnt from."""
        if data.faults:
            told = " ".join(fault.sentence for fault in data.faults[:3])
            raise BrokenCase(f"{data.root} has {len(data.faults)} broken cases. {told}")
        self.label, self.size = label, size
        self._cache = VoxelCache(cache)
        self.training: list[Shown] = []
        self.validation: list[Shown] = []
        named = any(case.split is Split.TRAIN for case in data.cases)
        for case in data.cases:
            if case.labels is None:
                continue
            shown = self._looked_through(case)
            if not shown.slices:
                say(f"{case.labels.shown} shows no label {label}: left out.")
            elif case.split in (Split.TEST, Split.VALIDATION):
                self.validation.append(shown)
            elif case.split is Split.TRAIN or not named:
                self.training.append(shown)
        if not self.training:
            raise DataSetError(
                f"No case of {data.root} shows label {label} and is there to be learnt from; check the label and the "
                "lists of cases (`memseg3d data check`)."
            )

    @property
    def has_scribbles(self) -> bool:
        """Whether every case to learn from has drawn scribbles."""
        return all(SCRIBBLES in shown.case.extras for shown in self.training)

    def slice(self, shown: Shown, index: int) -> tuple[Tensor, Tensor]:
        """Image (1, S, S) in [0, 1] and mask (1, S, S) in {0, 1}. Raises `DataSetError` or `UnreadableFile`."""
        image, labels = self._cache.slices(shown.case, index, index + 1)
        return self._image(image[0]), self._mask(labels[0] == self.label)

    def scribble(self, shown: Shown, index: int) -> Tensor | None:
        """The drawn strokes (1, S, S) in {0, 1}; None without any on the slice."""
        source = shown.case.extras.get(SCRIBBLES)
        if source is None:
            return None
        drawn = self._cache.labels(source, shown.case.slice_axis)
        if index >= len(drawn) or not drawn[index].any():
            return None
        return self._mask(np.array(drawn[index]) > 0)

    def _looked_through(self, case: Case) -> Shown:
        assert case.labels is not None
        # A case whose image cannot be read is told now, not after hours.
        image = self._cache.voxels(case.image, case.slice_axis)
        labels = self._cache.labels(case.labels, case.slice_axis)
        if image.shape != labels.shape:
            raise BrokenCase(
                f"{case.labels.shown} has {labels.shape} voxels and {case.image.shown} {image.shape}; "
                "`memseg3d data check` names every such pair."
            )
        shown = tuple(index for index in range(len(labels)) if (labels[index] == self.label).any())
        return Shown(replace(case, label_names={}), shown)

    def _image(self, plane: np.ndarray) -> Tensor:
        """Eight bits over 255; other numbers from the slice's lowest to its highest, as the release prepares PNG."""
        values = torch.from_numpy(plane.astype(np.float32))
        if plane.dtype == np.uint8:
            values = values / 255.0
        else:
            low, high = float(values.min()), float(values.max())
            values = (values - low) / max(high - low, 1e-6)
        side = (self.size, self.size)
        resized = F.interpolate(values[None, None], size=side, mode="bilinear", antialias=True, align_corners=False)
        return resized[0].clamp(0, 1)

    def _mask(self, plane: np.ndarray) -> Tensor:
        mask = torch.from_numpy(plane.astype(np.float32))[None, None]
        return F.interpolate(mask, size=(self.size, self.size), mode="nearest-exact")[0]

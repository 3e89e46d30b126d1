"""Voxels that cannot be an object's, whatever the network says: grey values out of range, and other segments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.prompts.object_limits import ObjectLimits
from memseg3d.propagation.volume.volume import Volume


class VoxelLimits:
    """What a round's limits leave of a mask. It is taken away before a slice is remembered, so that what follows from
    it does not spread into another segment either.
    """

    def __init__(
        self,
        volume: Volume,
        limits: ObjectLimits,
        labels_of: Callable[[int], LabelVolume | None],
        folder: Path | None = None,
    ) -> None:
        """labels_of: the labelmap of another object of the session as it stands; None where there is none. folder:
        where large labelmaps are mapped from.
        """
        self._volume = volume
        self._grey_values = limits.grey_values
        self._others: list[LabelVolume] = []
        if limits.others is not None:
            found = (labels_of(number) for number in limits.others.objects)
            self._others = [labels for labels in found if labels is not None]
            if limits.others.voxels.extent is not None:
                labels = LabelVolume(volume.shape, folder)
                labels.apply(limits.others.voxels)
                self._others.append(labels)

    def __bool__(self) -> bool:
        return self._grey_values is not None or bool(self._others)

    def on(self, mask: np.ndarray, axis: int, index: int) -> np.ndarray:
        """The mask (rows, columns), bool, of the slice at `index` across `axis` without what cannot be the object's."""
        result = mask.copy()
        if self._grey_values is not None and result.any():
            pixels = np.asarray(self._volume.slice(axis, index))
            result &= (pixels >= self._grey_values[0]) & (pixels <= self._grey_values[1])
        for labels in self._others:
            result &= ~labels.slice(axis, index)
        return result

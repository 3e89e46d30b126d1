"""The clicks of one object's round, each judging the voxels about it on every slice up to the next prompted one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.prompts.prompts import PointPrompt, in_plane, nearest_voxel
from memseg3d.propagation.rules.reach import between_prompted
from memseg3d.propagation.rules.verdicts.figures import SpotInMask, VoxelsAboutClick
from memseg3d.propagation.rules.verdicts.verdict import ClickVerdict
from memseg3d.propagation.sight.view import View
from memseg3d.propagation.volume.volume import Volume

MOST_CLICKS = 3
"""Of one round's clicks so many, the newest, judge: each may take a quarter of a second in which nobody is served."""


def judging_clicks(
    view: View, labels: LabelVolume, clicks: Sequence[PointPrompt], prompted: Collection[int]
) -> JudgingClicks | None:
    """The clicks of a round where the network has a rule for them and there is an object that they correct."""
    weights = view.store.network.info.clicks
    if weights is None or not clicks or not labels.slices_with_content(view.axis).size:
        return None
    return JudgingClicks(ClickVerdict(weights), view.volume, view.axis, labels, clicks[-MOST_CLICKS:], prompted)


class JudgingClicks:
    """Clicks that contradict the object as the user saw it; others have nothing to add."""

    def __init__(
        self,
        verdict: ClickVerdict,
        volume: Volume,
        axis: int,
        labels: LabelVolume,
        clicks: Sequence[PointPrompt],
        prompted: Collection[int],
    ) -> None:
        """labels: the object as the last round left it, along `axis`. prompted: the conditioning slices: what the user
        has said of others than the clicked one stands, and what lies beyond.
        """
        self._verdict, self._volume, self._axis, self._labels = verdict, volume, axis, labels
        self._prompted = prompted
        self._waiting = [spot for spot in (spot_of(click, axis) for click in clicks) if self._contradicts(spot)]
        self._about: list[VoxelsAboutClick] = []

    @property
    def slices(self) -> set[int]:
        """Indices of the slices that the clicks heard so far judge."""
        return {index for about in self._about for index in about.slices}

    def hear(self, index: int, found: np.ndarray) -> None:
        """Clicks of a decoded slice speak from now on. found: (rows, columns), its mask; empty: that the object is not
        there is the network's word, and where it ends is asked anew, so they have none.
        """
        if not found.any():
            return
        for spot in [each for each in self._waiting if each.index == index]:
            self._waiting.remove(spot)
            between = between_prompted(index, self._prompted, self._volume.shape[self._axis])
            self._about.append(VoxelsAboutClick(self._volume, self._labels, self._axis, spot, found, between))

    def on(self, index: int, mask: np.ndarray) -> np.ndarray:
        """A slice's mask (rows, columns) as the clicks leave it."""
        about = [each for each in self._about if index in each.slices]
        if not about:
            return mask
        seen = self._labels.slice(self._axis, index)
        judged = mask
        for each in about:
            judged = self._verdict.judged(each, index, seen | judged if each.click.positive else seen & judged)
        # Whether the object is on a slice at all is the network's to say.
        return judged if judged.any() else mask

    def _contradicts(self, spot: SpotInMask) -> bool:
        sizes = (self._volume.shape[self._axis], *self._volume.slice_shape(self._axis))
        if not all(0 <= at < size for at, size in zip((spot.index, spot.row, spot.column), sizes, strict=True)):
            return False
        return bool(self._labels.slice(self._axis, spot.index)[spot.row, spot.column]) != spot.positive


def spot_of(click: PointPrompt, axis: int) -> SpotInMask:
    """A click by its slice across `axis` and its pixel there."""
    row, column = (nearest_voxel(at) for at in in_plane(click.position, axis))
    return SpotInMask(nearest_voxel(click.position[axis]), row, column, click.positive)

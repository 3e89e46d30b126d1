"""What training borrows from sessions: their prompts, regions and windows, so that a clip is what a session shows.

Everything that training imports of `propagation` stands here, besides what single files name themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memseg3d.network.seam import BOX_END, BOX_START, NEGATIVE, POSITIVE, Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import (
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
)
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.sight.framing import Framing
from memseg3d.propagation.sight.regions import Extent, Region
from memseg3d.propagation.sight.slice_images import SeenSlice, slice_images
from memseg3d.propagation.sight.slice_prompts import drawn_clicks, lasso_prior, newest_box, point_clicks
from memseg3d.propagation.sight.view import first_region, prompts_extent, window_of_object
from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import Window, automatic_window, object_window

__all__ = [
    "OBJECT",
    "BoxPrompt",
    "Camera",
    "Extent",
    "ExtremePointsPrompt",
    "LassoPrompt",
    "PointPrompt",
    "Prompt",
    "PropagationError",
    "Region",
    "ScribblePrompt",
    "SessionRounds",
    "Volume",
    "Window",
    "automatic_window",
    "object_window",
]

OBJECT = 1
"""Number of the object that simulated users segment."""
_CPU = torch.device("cpu")
PAD = -1
"""Label of no point."""


@dataclass(frozen=True)
class Camera:
    """Looks at slices of a volume across axis 0 as a session does. size: S of the network."""

    volume: Volume
    size: int

    @property
    def framing(self) -> Framing:
        """The session's rules for regions."""
        return Framing(self.shape, self.volume.slice_spacing(0), self.size, crop=True)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.volume.slice_shape(0)

    def first_region(self, prompts: Sequence[Prompt]) -> Region:
        """The region through which the prompts of slice 0 are decoded at first."""
        return first_region(self.framing, 0, 0, prompts, None)[0]

    def region_about(self, extent: Extent, scale: float, shift: tuple[float, float] = (0.0, 0.0)) -> Region:
        """A region of `scale` times the longer side of `extent`; shift: of its centre, in parts of its side."""
        spacing = self.volume.slice_spacing(0)
        side = scale * max(extent.height * spacing[0], extent.width * spacing[1])
        side = max(side, self.framing.around(extent).side(spacing) * 0.25, 4 * min(spacing))
        centre = extent.centre[0] + shift[0] * side / spacing[0], extent.centre[1] + shift[1] * side / spacing[1]
        return Region.crop(centre, side, spacing, self.size)

    def following(self, region: Region, mask: NDArray[np.bool_]) -> Region:
        """The region of the next slice once `mask` was found in `region`."""
        return self.framing.following(region, Extent.of_mask(mask))

    def own_window(self, prompts: Sequence[Prompt], region: Region) -> Window | None:
        """The object's own window as its first prompts tell it."""
        return window_of_object(self.volume, 0, 0, prompts, region)

    def window_of_mask(self, inside: NDArray[np.bool_], region: Region) -> Window | None:
        """The object's own window as a mask of slice 0 tells it; None where the mask is empty."""
        pixels = np.asarray(self.volume.slice(0, 0))
        around = pixels[region.covered(self.shape)]
        return object_window(pixels[inside], around.ravel()) if inside.any() and around.size else None

    def images(self, indices: Sequence[int], region: Region, windows: tuple[Window, ...]) -> Tensor:
        """(L, channels, S, S) float32 in [0, 1]."""
        return slice_images([SeenSlice(self.volume, 0, index, region, windows) for index in indices], _CPU)

    def masks(self, masks: NDArray[np.bool_], region: Region) -> Tensor:
        """Masks (L, rows, columns) seen through a region: (L, S, S) bool."""
        place = region.rows_and_columns(self.shape)
        return torch.from_numpy(np.stack([region.sample(mask[place], self.shape) > 0.5 for mask in masks]))

    def outline(self, prompts: Sequence[Prompt]) -> NDArray[np.bool_] | None:
        """The inside (rows, columns) of a lasso, which is the first guess of the mask; None without one."""
        return lasso_prior(prompts, 0, 0)

    def points(self, prompts: Sequence[Prompt], region: Region, most: int) -> tuple[Tensor, Tensor]:
        """The prompts as the network gets them: points (most, 2) float32 as (x, y), labels (most,), -1 pads."""
        places: list[NDArray[np.float64]] = []
        labels: list[int] = []
        box = newest_box(prompts, 0, 0)
        if box is not None:
            places.extend(region.box_to_network(box))
            labels.extend((BOX_START, BOX_END))
        clicks = [*point_clicks(prompts, 0), *drawn_clicks(prompts, 0, 0)]
        for row, column, positive in clicks:
            if region.holds((row, column)):
                places.append(region.to_network(np.array([row, column])))
                labels.append(POSITIVE if positive else NEGATIVE)
        points = torch.zeros(most, 2)
        given = torch.full((most,), PAD)
        if places:
            kept = min(most, len(places))
            points[:kept] = torch.from_numpy(np.stack(places)[:kept, ::-1].astype(np.float32))
            given[:kept] = torch.tensor(labels[:kept])
        return points, given

    def named(self, prompts: Sequence[Prompt]) -> Extent | None:
        """The rectangle around everything that the prompts name."""
        return prompts_extent(prompts, 0, 0)


class SessionRounds:
    """One object in a real session, round after round, its slices across axis 0."""

    def __init__(self, volume: Volume, network: Network) -> None:
        self._volume = volume
        self._session = Session(volume, network, Options(axis=0))
        self._first: list[Prompt] = []

    def answer(self, prompts: list[Prompt]) -> NDArray[np.bool_]:
        """The object's mask (k, j, i) after a round with these prompts and all before."""
        self._first = self._first or prompts
        for _ in self._session.begin(f"round {len(self._session.rounds)}", prompts):
            pass
        return np.array(self._session.labelmap(OBJECT), dtype=bool)

    @property
    def windows(self) -> tuple[Window, Window]:
        """The volume's window, and the object's own as the first prompts tell it."""
        wide = automatic_window(self._volume)
        index = next(int(each.lower[0]) for each in self._first if isinstance(each, BoxPrompt))
        framing = Framing(self._volume.slice_shape(0), self._volume.slice_spacing(0), 128, crop=True)
        region, _ = first_region(framing, 0, index, self._first, None)
        return wide, window_of_object(self._volume, 0, index, self._first, region) or wide

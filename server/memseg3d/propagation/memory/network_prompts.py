"""The prompts of one slice in the network's own terms: points and corners in its pixels, a mask on its grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from memseg3d.network.seam import BOX_END, BOX_START, NEGATIVE, POSITIVE, Prompts
from memseg3d.propagation.prompts.prompts import MaskPrompt, Prompt
from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.sight.slice_prompts import drawn_clicks, newest_box, point_clicks
from memseg3d.propagation.sight.view import View


def mask_prompt(view: View, mask: np.ndarray, region: Region) -> Prompts:
    """A mask (rows, columns) of a whole slice, as seen through `region`."""
    shape = view.slice_shape
    sampled = region.sample(mask[region.rows_and_columns(shape)], shape)
    return Prompts(mask=torch.from_numpy(sampled)[None, None].to(view.store.device))


def network_prompts(view: View, index: int, prompts: Sequence[Prompt], region: Region) -> Prompts:
    """The slice's newest mask and what came after it; of several boxes the newest."""
    axis, device = view.axis, view.store.device
    masks = [place for place, prompt in enumerate(prompts) if isinstance(prompt, MaskPrompt)]
    mask = None
    if masks:
        newest = prompts[masks[-1]]
        assert isinstance(newest, MaskPrompt)
        mask = mask_prompt(view, newest.mask, region).mask
        prompts = prompts[masks[-1] + 1 :]
    points: list[np.ndarray] = []
    labels: list[int] = []
    box = newest_box(prompts, axis, index)
    if box is not None:
        points.extend(region.box_to_network(box))
        labels.extend((BOX_START, BOX_END))
    # A stroke may reach beyond the region: only what the network sees of it is shown.
    seen = [click for click in drawn_clicks(prompts, axis, index) if region.holds(click[:2])]
    for row, column, positive in [*point_clicks(prompts, axis), *seen]:
        points.append(region.to_network(np.array([row, column])))
        labels.append(POSITIVE if positive else NEGATIVE)
    if not points:
        return Prompts(mask=mask)
    # (row, column) here, (x, y) on the networks' side.
    coordinates = torch.from_numpy(np.stack(points)[:, ::-1].astype(np.float32))[None]
    return Prompts(coordinates.to(device), torch.tensor([labels], device=device), mask)

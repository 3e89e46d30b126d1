"""The prompts of one slice in the network's own terms: points and corners in its pixels, a mask on its grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from memseg3d.network.seam import BOX_END, BOX_START, NEGATIVE, POSITIVE, Prompts
from memseg3d.propagation.prompts.prompts import (
    ExtremePointsPrompt,
    MaskPrompt,
    Prompt,
    StrokePrompt,
    in_plane,
    is_drawing,
    nearest_voxel,
)
from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.sight.slice_prompts import box_of, drawn_clicks, newest_box, point_clicks
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
    drawn = _drawings(view, index, prompts, region) if view.store.network.info.reads_drawings else {}
    # (row, column) here, (x, y) on the networks' side.
    coordinates = torch.from_numpy(np.stack(points)[:, ::-1].astype(np.float32))[None]
    labelled = torch.tensor([labels], device=device)
    return Prompts(coordinates.to(device), labelled, mask, drawn.get("extremes"), drawn.get("strokes"))


def _drawings(view: View, index: int, prompts: Sequence[Prompt], region: Region) -> dict[str, torch.Tensor]:
    """Extreme points where they are the newest outline, and the pixels under the strokes, as far as there are any."""
    axis, device = view.axis, view.store.device
    found: dict[str, torch.Tensor] = {}
    outlines = [each for each in prompts if box_of(each, axis, index) is not None]
    if outlines and isinstance(outlines[-1], ExtremePointsPrompt):
        on_slice = [at for at in outlines[-1].points if nearest_voxel(at[axis]) == index]
        if len(on_slice) == 4:
            points = np.stack([region.to_network(np.array(in_plane(at, axis))) for at in on_slice])
            found["extremes"] = torch.from_numpy(points[:, ::-1].astype(np.float32))[None].to(device)
    strokes = [each for each in prompts if isinstance(each, StrokePrompt) and not is_drawing(each)]
    if strokes:
        shape = view.slice_shape
        covers = np.zeros((2, *shape), np.float32)
        for each in strokes:
            covers[0 if each.positive else 1][each.cover.on(axis, index)] = 1.0
        seen = [region.sample(cover[region.rows_and_columns(shape)], shape) for cover in covers]
        found["strokes"] = torch.from_numpy(np.stack(seen))[None].to(device)
    return found

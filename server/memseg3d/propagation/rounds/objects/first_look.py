"""The first look at an object that clicks alone tell: through which region and window it is seen best.

A click says where an object is and not how large. Crops of several sizes are tried, coarsely where the network can;
one that the found mask fills well is believed, and the object's own grey values are read off that mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from memseg3d.network.seam import Prompts
from memseg3d.propagation.memory.network_prompts import network_prompts
from memseg3d.propagation.prompts.prompts import Prompt, StrokePrompt
from memseg3d.propagation.rounds.planning.plan import Plan
from memseg3d.propagation.rounds.records.last_round import LastRound
from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.sight.slice_images import SeenSlice, slice_images
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.view import View, first_region, prompts_extent
from memseg3d.propagation.volume.window import object_window

FULLEST, EMPTIEST = 0.85, 0.3
"""A mask fills its crop well where its longer side is between these parts of the crop's."""
FULLEST_COARSE = 0.75
"""Where crops are compared coarsely, larger ones must be left to compare with."""
GUESS, SURE = 0.7, 0.75
"""The first crop is so large a part of the slice's shorter side; with so much predicted quality no other is tried.
These and the number before were chosen on clicks at the 65 targets of the development set.
"""
LARGER = 1.1
"""A crop of the next size is worth so much more: small ones show an island round the click, and are sure of it."""
SIZES_OF_STROKES = 4
"""Crops up to about three times as large as the smallest one that holds a stroke are tried."""


def slice_of_clicks(view: View, plan: Plan, last: LastRound) -> int | None:
    """The slice whose clicks are all that is known of an object; None where more is known, or crops are not used."""
    if not view.store.network.info.prefers_crop or not view.framing.crop or not plan.decode:
        return None
    if any(index not in plan.lost for index in last.content):
        return None
    index = plan.decode[0]
    return index if first_region(view.framing, view.axis, index, plan.slices[index], None)[1] else None


@dataclass(frozen=True)
class FirstLook:
    """How an object is seen best. found: what was found of it on its slice.

    agreement: mean IoU of the mask that is believed with those that crops of the neighbouring sizes show.
    """

    view: View
    found: SliceLogits
    agreement: float


@torch.no_grad()
def first_look(view: View, index: int, prompts: Sequence[Prompt]) -> FirstLook | None:
    """How the object is seen best, and what was found of it on slice `index`; None where no crop shows it.

    prompts: of that slice, clicks and strokes alone, one of them positive. What is found stands: another look through
    the object's own window is worse as often as it is better.
    """
    named = prompts_extent(prompts, view.axis, index)
    if named is None:
        return None
    regions = view.framing.sizes_about(named)
    found: list[SliceLogits] = []
    if any(isinstance(prompt, StrokePrompt) for prompt in prompts):
        # A stroke is drawn along the object and tells its size roughly; among sizes near it none is preferred.
        found = _decoded(view, index, prompts, regions[:SIZES_OF_STROKES])
        chosen = _believed(view, found, 1.0)
    else:
        if view.store.network.info.coarse_size is not None:
            found = _quickly(view, index, prompts, regions)
        found = found or _decoded(view, index, prompts, regions)
        chosen = _believed(view, [each for each in found if each.region.size == view.framing.size], LARGER)
    if chosen is None:
        return None
    mask = chosen.mask(view.slice_shape)
    if len(view.windows) > 1:
        pixels = np.asarray(view.volume.slice(view.axis, index))
        around = pixels[chosen.region.covered(view.slice_shape)]
        view = replace(view, windows=(view.windows[0], object_window(pixels[mask], around.ravel())))
    return FirstLook(view, chosen, _agreement(chosen, found, view.slice_shape))


def _quickly(view: View, index: int, prompts: Sequence[Prompt], regions: Sequence[Region]) -> list[SliceLogits]:
    """A first crop alone where it is a sure one, else all of them coarsely, the best of these in full. Empty where
    nothing is found so.
    """
    framing, coarse_size = view.framing, view.store.network.info.coarse_size
    assert coarse_size is not None
    largest = regions[-1].side(framing.spacing)
    place = int(np.argmin([abs(np.log(each.side(framing.spacing) / (GUESS * largest))) for each in regions]))
    first = _decoded(view, index, prompts, [regions[place]])[0]
    fill = _fill(view, first)
    if fill is not None and EMPTIEST <= fill <= FULLEST and first.quality >= SURE:
        return [first]
    found = _decoded(view, index, prompts, [replace(each, size=coarse_size) for each in regions])
    best = _believed(view, found, LARGER, FULLEST_COARSE)
    if best is None:
        return []
    at = next(at for at, each in enumerate(found) if each is best)
    found[at] = first if at == place else _decoded(view, index, prompts, [regions[at]])[0]
    return [] if _fill(view, found[at]) is None else found


def _fill(view: View, each: SliceLogits) -> float | None:
    """Which part of its crop's side a mask's longer side is; None where it is empty."""
    extent = each.extent(view.slice_shape)
    return None if extent is None else view.framing.longer_side(extent) / each.region.side(view.framing.spacing)


def _agreement(chosen: SliceLogits, found: Sequence[SliceLogits], shape: tuple[int, int]) -> float:
    """Mean IoU of the chosen mask with those of the crops one and two sizes smaller and larger."""
    place, mask = next(place for place, each in enumerate(found) if each is chosen), chosen.mask(shape)
    others = [found[at].mask(shape) for at in range(place - 2, place + 3) if at != place and 0 <= at < len(found)]
    shares = [int((mask & each).sum()) / max(1, int((mask | each).sum())) for each in others]
    return float(np.mean(shares)) if shares else 1.0


def _decoded(view: View, index: int, prompts: Sequence[Prompt], regions: Sequence[Region]) -> list[SliceLogits]:
    """What the network finds through each region, all of one size, in one batch and with no memory."""
    network, device = view.store.network, view.store.device
    sights = [SeenSlice(view.volume, view.axis, index, region, view.windows) for region in regions]
    said = [network_prompts(view, index, prompts, region) for region in regions]
    features = network.encode(slice_images(sights, device))
    conditioned = network.attend(features, [], view.volume.shape[view.axis])
    decoded = network.decode(conditioned, _stacked(said), None)
    rows = range(len(regions))
    logits = decoded.logits[list(rows), decoded.chosen].float().cpu().numpy().astype(np.float16)
    quality = decoded.quality[list(rows), decoded.chosen if decoded.quality.shape[1] > 1 else 0]
    present = (decoded.object_score[:, 0] > 0).tolist()
    return [SliceLogits(regions[row], logits[row], float(quality[row]), present[row]) for row in rows]


def _stacked(said: Sequence[Prompts]) -> Prompts:
    """Prompts of one slice each as those of a batch; those that see fewer points are padded."""
    most = max(each.count for each in said)
    device = next(each.points.device for each in said if each.points is not None)
    points, labels = torch.zeros(len(said), most, 2, device=device), torch.full((len(said), most), -1, device=device)
    for row, each in enumerate(said):
        if each.points is not None and each.labels is not None:
            points[row, : each.count], labels[row, : each.count] = each.points[0], each.labels[0]
    return Prompts(points, labels)


def _believed(view: View, found: Sequence[SliceLogits], larger: float, fullest: float = FULLEST) -> SliceLogits | None:
    """Of results from small crops to large ones the surest whose mask fills its crop well. larger: what a crop of the
    next size is worth more.
    """
    shown = [(each, fill) for each in found if (fill := _fill(view, each)) is not None]
    fitting = [each for each, fill in shown if EMPTIEST <= fill <= fullest]
    candidates = fitting or [each for each, _ in shown]
    worth = [each.quality * larger**place for place, each in enumerate(candidates)]
    return candidates[int(np.argmax(worth))] if candidates else None

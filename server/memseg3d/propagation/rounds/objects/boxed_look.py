"""A second look at a box that begins an object: as one that leaves room about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from memseg3d.propagation.memory.network_prompts import network_prompts
from memseg3d.propagation.prompts.prompts import BoxPrompt, Prompt
from memseg3d.propagation.rules.boxes import missed_middle
from memseg3d.propagation.rules.verdicts.boxes import BoxVerdict, Look, figures_of
from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.slice_prompts import box_of
from memseg3d.propagation.sight.view import View


def is_boxed(view: View, prompts: list[Prompt]) -> bool:
    """Whether a flat box is all that is said on a slice, and the network has a second look at such."""
    return view.store.network.info.boxes is not None and len(prompts) == 1 and isinstance(prompts[0], BoxPrompt)


@torch.no_grad()
def looked_at_again(view: View, index: int, prompt: Prompt, tight: SliceLogits) -> SliceLogits | None:
    """What a look at slice `index` finds that takes its box for one with room, where that is likely, else None.

    tight: what the first look has found.
    """
    weights, box, shape = view.store.network.info.boxes, box_of(prompt, view.axis, index), view.slice_shape
    assert weights is not None
    assert box is not None
    roomy = _decoded(view, index, [prompt], tight.region)
    middle = missed_middle(roomy, [prompt], view.axis, index, shape)
    if middle is not None:
        roomy = _decoded(view, index, [prompt, middle], tight.region)
    looks = [Look(each.probabilities(shape), each.quality) for each in (tight, roomy)]
    figures = figures_of(np.asarray(view.volume.slice(view.axis, index)), box, *looks)
    is_roomy = figures is not None and looks[1].mask.any() and BoxVerdict(weights).is_roomy(figures)
    return roomy if is_roomy else None


def _decoded(view: View, index: int, prompts: list[Prompt], region: Region) -> SliceLogits:
    """What the network finds where the box is told to leave room."""
    network = view.store.network
    conditioned = network.attend(view.features(index, region), [], view.volume.shape[view.axis])
    decoded = network.decode(conditioned, replace(network_prompts(view, index, prompts, region), roomy=True), None)
    logits = decoded.logits[0, 0].float().cpu().numpy().astype(np.float16)
    return SliceLogits(region, logits, float(decoded.quality[0, 0]), bool(decoded.object_score[0, 0] > 0))

"""The two sides of the GPU benchmark: a made-up CT, a round of ours on it, and the official video predictor's."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_bare import ROOT
from server.network.references import normalised, randomise

from memseg3d.network.sam2 import Sam2Network
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, Prompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rounds.walks.batching import SETTING
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.sight.slice_images import SeenSlice, slice_images
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import Window

SIDE = 512
WINDOW = (-160.0, 240.0)
FEATURE_BYTES = 8 * 1024**3

__all__ = [
    "ROOT",
    "Timing",
    "agreement",
    "best",
    "official",
    "official_round",
    "one_round",
    "randomise",
    "synthetic_ct",
    "wait",
]


@dataclass(frozen=True)
class Timing:
    """first: seconds to the first mask; seconds: the whole round; masks: (object, slice) -> bool (rows, columns)."""

    first: float
    seconds: float
    masks: dict[tuple[int, int], np.ndarray]


def synthetic_ct(slices: int) -> tuple[Volume, list[BoxPrompt]]:
    """A body with two organs, long in k, and noise: (slices, 512, 512) int16; a box a organ on the middle slice."""
    rng, middle = np.random.default_rng(0), slices // 2
    k, j, i = np.ogrid[:slices, :SIDE, :SIDE]
    body = ((j - 256) / 190) ** 2 + ((i - 256) / 230) ** 2 <= 1
    voxels = np.where(body, np.int16(40), np.int16(-1000)) + np.zeros((slices, 1, 1), np.int16)
    boxes = []
    for number, (cj, ci, radius, grey) in enumerate(((256, 180, 85, 110), (250, 350, 38, 190)), start=1):
        shift = 20 * np.sin(k / max(slices, 1) * 6)
        voxels[((j - cj - shift) ** 2 + (i - ci) ** 2) <= radius**2] = grey
        at = float(20 * np.sin(middle / slices * 6)) + cj
        low, high = (at - radius - 3, ci - radius - 3), (at + radius + 3, ci + radius + 3)
        boxes.append(BoxPrompt(number, 0, (middle, *low), (middle, *high)))
    for plane in voxels:
        plane += rng.normal(0, 12, plane.shape).astype(np.int16)
    return Volume(voxels, (1.0, 0.75, 0.75)), boxes


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def one_round(volume: Volume, network: Network, boxes: list[BoxPrompt], mode: str, batched: bool) -> Timing:
    """A round of a new session with nothing computed before it."""
    os.environ[SETTING] = "always" if batched else "never"
    options = Options(window=WINDOW, bidirectional=mode)  # type: ignore[arg-type]
    store = FeatureStore(network, capacity=FEATURE_BYTES)
    session, masks, first = Session(volume, network, options, store), {}, 0.0
    prompts: list[Prompt] = list(boxes)
    wait(store.device)
    started = time.perf_counter()
    for event in session.begin("first", prompts):
        if isinstance(event, SliceDone):
            first = first or time.perf_counter() - started
            masks[event.object, event.index] = event.mask
    wait(store.device)
    return Timing(first, time.perf_counter() - started, masks)


def best(work: Callable[[], Timing], repeats: int) -> tuple[Timing, Timing]:
    """The first run, which also prepares, and the fastest of those after it, with the median time to the first mask."""
    cold, warm = work(), [work() for _ in range(repeats)]
    fastest = min(warm, key=lambda each: each.seconds)
    return cold, Timing(statistics.median(each.first for each in warm), fastest.seconds, fastest.masks)


def official_round(predictor: Any, volume: Volume, boxes: list[BoxPrompt]) -> Timing:
    """The official predictor: box, forward, then backward, in bfloat16 autocast on a GPU; loading is not counted."""
    from PIL import Image

    size, device = predictor.image_size, predictor.device
    count, middle = volume.shape[0], int(boxes[0].lower[0])
    whole = Region.whole((SIDE, SIDE), size)
    with tempfile.TemporaryDirectory() as folder:
        for index in range(count):
            Image.new("RGB", (SIDE, SIDE)).save(Path(folder) / f"{index}.jpg")
        state = predictor.init_state(folder)
    sights = [SeenSlice(volume, 0, index, whole, (Window(*WINDOW),)) for index in range(count)]
    state["images"] = torch.cat([normalised(slice_images([each], device).cpu()) for each in sights]).to(device)
    masks: dict[tuple[int, int], np.ndarray] = {}
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        wait(device)
        started = time.perf_counter()
        first = 0.0
        for box in boxes:
            corners = np.array([box.lower[2], box.lower[1], box.upper[2], box.upper[1]], np.float32)
            _, _, shown = predictor.add_new_points_or_box(state, middle, box.object, box=corners)
            shown.cpu()
            first = first or time.perf_counter() - started
        for reverse in (False, True):
            for index, objects, logits in predictor.propagate_in_video(state, middle, reverse=reverse):
                found = (logits > 0).cpu().numpy()
                masks.update({(number, index): found[place, 0] for place, number in enumerate(objects)})
        wait(device)
    return Timing(first, time.perf_counter() - started, masks)


def official(network: Sam2Network, device: torch.device, vos_optimized: bool) -> Any:
    """The official predictor with the network's weights in single precision; holes are not filled on either side."""
    from sam2.build_sam import build_sam2_video_predictor

    size = network.config.image_size
    grid = f"[{size // 16},{size // 16}]"
    overrides = [
        f"++model.image_size={size}",
        f"++model.memory_attention.layer.self_attention.feat_sizes={grid}",
        f"++model.memory_attention.layer.cross_attention.feat_sizes={grid}",
    ]
    predictor = build_sam2_video_predictor(
        "configs/sam2.1/sam2.1_hiera_t.yaml",
        None,
        device=str(device),
        hydra_overrides_extra=overrides,
        vos_optimized=vos_optimized,
    )
    predictor.fill_hole_area = 0
    predictor.load_state_dict({name: tensor.float() for name, tensor in network.state_dict().items()}, strict=True)
    return predictor.requires_grad_(False)


def agreement(ours: Timing, theirs: Timing) -> float:
    """Mean intersection over union of the masks, slice by slice."""
    shares = []
    for place in ours.masks.keys() & theirs.masks.keys():
        one, other = ours.masks[place], theirs.masks[place]
        union = (one | other).sum()
        shares.append((one & other).sum() / union if union else 1.0)
    return float(np.mean(shares))

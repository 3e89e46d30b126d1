"""Training clips cut from synthetic volumes: a region around a target, a few slices deep, in two windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from memseg3d.propagation.volume.window import Window, object_window
from memseg3d.training.synthetic.appearance import render
from memseg3d.training.synthetic.fields import Stack, gaussian_blur
from memseg3d.training.synthetic.library import make_world
from memseg3d.training.synthetic.worlds import World


@dataclass(frozen=True)
class ClipSettings:
    """How clips are cut. Sizes in pixels of the synthetic volume unless said otherwise."""

    image_size: int = 128
    """Side of the region in network pixels."""
    length: int = 5
    """Slices of a clip; the first carries the prompt."""
    canvas: int = 160
    slices: int = 7
    clips_per_volume: int = 6
    smallest_region: int = 12
    region_scale: tuple[float, float] = (1.15, 2.5)
    """Side of the region over the larger side of the target's box."""


@dataclass(frozen=True)
class Clip:
    """images: (L, 2, S, S) float16 in [0, 1]; masks: (L, S, S) bool."""

    images: Tensor
    masks: Tensor


WHOLE = 0.85
"""Share of the targets with inner parts that are taken with them, as a bone with its marrow."""


EVERY_PART = 0.25
"""Share of the targets that are all parts of a structure, as lesions of one kind or the arches of a spine are."""


ENDING = 0.35
"""Share of the targets that are chosen among those whose end lies in the clip, where there are any."""


def _target(rng: np.random.Generator, world: World, labels: np.ndarray) -> np.ndarray | None:
    """A connected structure that shows on the first slice: (L, N, N) bool, or None where this try found none."""
    first = labels[0]
    values, areas = np.unique(first, return_counts=True)
    fits = (areas >= 25) & (areas < 0.5 * first.size)
    fitting, areas = values[fits], areas[fits]
    if len(fitting) == 0:
        return None
    if rng.random() < ENDING:
        kept = np.bincount(labels[-1].ravel(), minlength=world.count)[fitting]
        ending = fitting[kept < 0.15 * areas]
        fitting = ending if len(ending) else fitting
    chosen = int(rng.choice(fitting))
    mask = np.isin(labels, world.whole(chosen)) if rng.random() < WHOLE else labels == chosen
    if rng.random() < EVERY_PART:
        return mask
    parts, _ = ndimage.label(mask)
    shown = parts[0][mask[0]]
    part = parts == rng.choice(shown)
    return part if part[0].sum() >= 25 else None


def _contrast(image: np.ndarray, mask: np.ndarray) -> float:
    """Difference of the means inside and just outside, over the spread inside."""
    grown = ndimage.binary_dilation(mask, iterations=3) & ~mask
    inside, outside = image[mask], image[grown]
    if len(outside) == 0:
        return 0.0
    return float(abs(inside.mean() - outside.mean()) / (inside.std() + outside.std() + 1e-3))


def _resample(stack: Tensor, centre: np.ndarray, side: float, size: int) -> Tensor:
    """Cut a square of `side` pixels about `centre` (row, column), 0 outside: (L, N, N) -> (L, S, S)."""
    if side > size:
        stack = gaussian_blur(stack, 0.4 * side / size)
    pixels = (torch.arange(size, dtype=torch.float32) + 0.5) / size * side - side / 2 - 0.5
    n = stack.shape[-1]
    rows = (2 * (pixels + float(centre[0]) + 0.5) + 1) / n - 1
    columns = (2 * (pixels + float(centre[1]) + 0.5) + 1) / n - 1
    grid = torch.stack(torch.broadcast_tensors(columns[None, :], rows[:, None]), dim=-1)[None]
    return F.grid_sample(stack[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def _ellipse(mask: np.ndarray) -> np.ndarray:
    """The ellipse of 0.7 of the box of a mask: same shape, bool."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    r, c = np.ogrid[: mask.shape[0], : mask.shape[1]]
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    y = (r - (rows[0] + rows[-1]) / 2) / (0.35 * height)
    x = (c - (columns[0] + columns[-1]) / 2) / (0.35 * width)
    return np.asarray(y * y + x * x <= 1)


def _wide_window(rng: np.random.Generator, image: Tensor) -> Window:
    """The volume's own window, jittered as scanners and rules would; at times one that saturates, as in CT."""
    shares = [rng.uniform(0.0, 0.35), rng.uniform(0.65, 1.0)] if rng.random() < 0.3 else [0.005, 0.995]
    low, high = np.quantile(image.numpy()[:, ::2, ::2], shares)
    spread = max(float(high - low), 1e-3)
    return Window(float(low) - spread * rng.uniform(-0.05, 0.15), float(high) + spread * rng.uniform(-0.1, 0.3))


def _to_unit(image: Tensor, window: Window) -> Tensor:
    return ((image - window.low) / (window.high - window.low)).clamp(0, 1)


def cut_clip(rng: np.random.Generator, world: World, image: Tensor, settings: ClipSettings) -> Clip | None:
    """One clip around a random target, or None where the volume offers none this time."""
    total, length = world.stack.slices, settings.length
    start = int(rng.integers(0, total - length + 1))
    order = np.arange(start, start + length)
    if rng.random() < 0.5:
        order = order[::-1].copy()
    target = _target(rng, world, world.labels.numpy()[order])
    if target is None:
        return None
    cut = image[torch.from_numpy(order)]
    if _contrast(cut[0].numpy(), target[0]) < 0.35 and rng.random() < 0.85:
        return None
    rows, columns = np.flatnonzero(target[0].any(1)), np.flatnonzero(target[0].any(0))
    larger = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    scale = float(np.exp(rng.uniform(*np.log(settings.region_scale))))
    side = max(float(settings.smallest_region), larger * scale)
    centre = np.array([(rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2])
    centre = centre + rng.uniform(-0.12, 0.12, 2) * side
    size = settings.image_size
    region = _resample(cut, centre, side, size)
    present = _resample(torch.ones_like(cut[:1]), centre, side, size) > 0.5
    masks = _resample(torch.from_numpy(target).float(), centre, side, size) > 0.5
    if masks[0].sum() < 30:
        return None
    values = region[0].numpy()
    narrow = object_window(values[_ellipse(masks[0].numpy())], values[present[0].numpy()])
    windows = (_wide_window(rng, image), narrow)
    images = torch.stack([_to_unit(region, window) * present for window in windows], dim=1)
    turns = int(rng.integers(0, 4))
    images, masks = torch.rot90(images, turns, (2, 3)), torch.rot90(masks, turns, (1, 2))
    return Clip(images.half().contiguous(), masks.contiguous())


class SyntheticClips(Dataset[list[Clip]]):
    """Item i: the clips of one synthetic volume, the same for the same (seed, i) on any machine."""

    def __init__(self, seed: int, volumes: int, settings: ClipSettings) -> None:
        self.seed, self.volumes, self.settings = seed, volumes, settings

    def __len__(self) -> int:
        return self.volumes

    def __getitem__(self, index: int) -> list[Clip]:
        rng = np.random.default_rng([self.seed, index])
        settings = self.settings
        step = float(np.exp(rng.uniform(np.log(0.7), np.log(12))))
        world = make_world(rng, Stack(settings.slices, settings.canvas, step))
        image = render(rng, world)
        clips: list[Clip] = []
        for _ in range(3 * settings.clips_per_volume):
            clip = cut_clip(rng, world, image, settings)
            if clip is not None:
                clips.append(clip)
            if len(clips) == settings.clips_per_volume:
                break
        return clips

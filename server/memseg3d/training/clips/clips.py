"""Training clips as sessions show them: first prompts on a slice, what they make of it, and the slices behind it.

The prompt comes first: region and window of the prompted slice follow from it, as in a session. The slices behind it,
and the prompted one as their memory, are seen through the region that tracking would choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from memseg3d.datasets.training_data import TrainingCase
from memseg3d.training.clips.scenes import Scene, Shares, make_scene
from memseg3d.training.clips.serving import Camera, Extent, Prompt, PropagationError, Region, Volume, Window
from memseg3d.training.clips.users import BY_CLICKS, KINDS, draw_first

POINTS = 14
"""Points of a clip's first prompts at most; a box counts two."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ClipSettings:
    """How clips are cut. Sizes in pixels of the volume unless said otherwise."""

    image_size: int = 128
    """Side of the region in network pixels."""
    length: int = 5
    """Slices of a clip; the first carries the prompt."""
    canvas: int = 160
    slices: int = 7
    clips_per_volume: int = 6
    region_scale: tuple[float, float] = (1.15, 3.2)
    """Side of the regions that no rule of a session chose, over the larger side of the target's box."""
    searched_scale: tuple[float, float] = (0.8, 7.0)
    """The same of the regions in which a session looks for what a single click meant."""
    shapes: float = 0.25
    """Share of the volumes with real label maps, where there are any."""
    pictures: float = 0.15
    """Share of the volumes that are real images, where there are any."""
    roomy: bool = False
    """First prompts are boxes alone, most of them with room."""


@dataclass(frozen=True)
class Clip:
    """L slices through the tracking region, and the prompted slice through the region of its prompts.

    images: (L, 2, S, S) float16 in [0, 1]; masks: (L, S, S) bool, the truth. first_image: (2, S, S) and first_mask:
    (S, S), the prompted slice as its prompts are decoded. points: (`POINTS`, 2) float32 as (x, y) in it, labels:
    (`POINTS`,) int64, -1 pads. outline: (S, S) bool in it, the inside of a lasso; empty without one. frame: (3,)
    float32, (scale, x, y): pixel p of the tracking region is pixel scale * p + (x, y) of the prompts' region. pixel:
    () float32, side of a slice pixel in network pixels of the tracking region. kind: () int64, place in `KINDS`.
    before: (L, S, S) bool, the masks that a session has left; empty in clips that no session was played on.
    """

    images: Tensor
    masks: Tensor
    first_image: Tensor
    first_mask: Tensor
    points: Tensor
    labels: Tensor
    outline: Tensor
    frame: Tensor
    pixel: Tensor
    kind: Tensor
    before: Tensor


WHOLE = 0.8
"""Share of the targets with inner parts that are taken with them, as a bone with its marrow."""
FILLED = 0.1
"""Share of the targets whose holes belong to them."""
EVERY_PART = 0.25
"""Share of the targets that are all parts of a structure, as lesions of one kind or the arches of a spine are."""
ENDING = 0.35
"""Share of the targets that are chosen among those whose end lies in the clip, where there are any."""
FAINT, LEAST_CONTRAST = 0.15, 0.35
"""Share of the targets of less contrast that are taken all the same."""
FEWEST = 25
"""Pixels of a target on its first slice."""
SEARCHED = 0.5
"""Share of the clicks that are shown in the regions of a search for what they meant."""
FREE = 0.2
"""Share of the regions, of prompts and of tracking, that follow no rule of a session: rules change."""
RENEWED = 0.4
"""Share of the own windows that are told by a mask, as it may be once there is one, and not by the first prompts."""


def _target(rng: np.random.Generator, scene: Scene, labels: NDArray[np.int64]) -> Mask | None:
    """A connected structure that shows on the first slice: (L, rows, columns), or None where this try found none."""
    world, first = scene.world, labels[0]
    values, areas = np.unique(first, return_counts=True)
    fits = (areas >= FEWEST) & (areas < 0.5 * first.size)
    if scene.targets is not None:
        fits &= np.isin(values, sorted(scene.targets))
    fitting, areas = values[fits], areas[fits]
    if len(fitting) == 0:
        return None
    if rng.random() < ENDING:
        kept = np.bincount(labels[-1].ravel(), minlength=world.count)[fitting]
        ending = fitting[kept < 0.15 * areas]
        fitting = ending if len(ending) else fitting
    chosen = int(rng.choice(fitting))
    mask = np.isin(labels, world.whole(chosen)) if rng.random() < WHOLE else labels == chosen
    if not scene.plain and rng.random() < FILLED:
        mask = np.stack([ndimage.binary_fill_holes(plane) for plane in mask])
    if rng.random() < EVERY_PART:
        return mask
    parts, _ = ndimage.label(mask)
    shown = parts[0][mask[0]]
    part = parts == rng.choice(shown)
    return part if part[0].sum() >= FEWEST else None


def _contrast(image: NDArray[np.float32], mask: Mask) -> float:
    """Difference of the means inside and just outside, over the spread inside."""
    grown = ndimage.binary_dilation(mask, iterations=3) & ~mask
    inside, outside = image[mask], image[grown]
    if len(outside) == 0:
        return 0.0
    spread = inside.std() + outside.std() + 1e-3 * max(float(image.std()), 1e-6)
    return float(abs(inside.mean() - outside.mean()) / spread)


def least_contrast(image: NDArray[np.float32], mask: Mask) -> bool:
    """Whether a target (rows, columns) hardly shows in its slice."""
    return _contrast(image, mask) < LEAST_CONTRAST


def _wide_window(rng: np.random.Generator, scene: Scene) -> Window:
    """The volume's own window, jittered as scanners and rules would; at times one that saturates, as in CT."""
    if scene.window is not None and rng.random() < 0.5:
        return scene.window
    shares = [rng.uniform(0.0, 0.35), rng.uniform(0.65, 1.0)] if rng.random() < 0.3 else [0.005, 0.995]
    values = scene.image.numpy()[:, ::2, ::2]
    low, high = (float(edge) for edge in np.quantile(values, shares))
    # Grey values may hardly differ between the two shares: a window has some width all the same.
    spread = max(high - low, 1e-3 * max(float(values.std()), 1e-6))
    return Window(low - spread * rng.uniform(-0.05, 0.15), low + spread * rng.uniform(0.9, 1.3))


def cut_clip(rng: np.random.Generator, scene: Scene, settings: ClipSettings) -> Clip | None:
    """One clip of a random target, or None where the scene offers none this time."""
    total, length = scene.image.shape[0], settings.length
    start = int(rng.integers(0, total - length + 1))
    order = np.arange(start, start + length)
    if rng.random() < 0.5:
        order = order[::-1]
    target = _target(rng, scene, scene.world.labels.numpy()[order])
    if target is None:
        return None
    cut = scene.image.numpy()[order][:, : target.shape[1], : target.shape[2]]
    if least_contrast(cut[0], target[0]) and rng.random() >= FAINT:
        return None
    turns, mirrored = int(rng.integers(0, 4)), bool(rng.random() < 0.5)
    spacing = (scene.spacing[0], *(scene.spacing[1:] if turns % 2 == 0 else scene.spacing[:0:-1]))
    cut, target = (np.rot90(each, turns, (1, 2)) for each in (cut, target))
    if mirrored:
        cut, target = cut[:, :, ::-1], target[:, :, ::-1]
    cut, target = np.ascontiguousarray(cut), np.ascontiguousarray(target)
    if cut.min() == cut.max():
        return None
    camera = Camera(Volume(cut, (spacing[0], spacing[1], spacing[2])), settings.image_size)
    kind, prompts = draw_first(rng, target, scene.plain, settings.roomy)
    return _seen(rng, camera, target, kind, prompts, _wide_window(rng, scene), settings)


def _seen(
    rng: np.random.Generator,
    camera: Camera,
    target: Mask,
    kind: str,
    prompts: Sequence[Prompt],
    wide: Window,
    settings: ClipSettings,
) -> Clip | None:
    """The clip of a target (L, rows, columns) that was prompted on slice 0; None where its regions show too little."""
    region = _first_region(rng, camera, target[0], kind, prompts, settings)
    first_mask = camera.masks(target[:1], region)[0]
    if first_mask.sum() < FEWEST or first_mask.float().mean() > 0.9:
        return None
    own = camera.own_window(prompts, region) or wide
    renewed = camera.window_of_mask(_about_right(rng, target[0]), region) or own
    first_own = renewed if kind in BY_CLICKS and rng.random() < RENEWED else own
    first_image = camera.images([0], region, (wide, first_own))[0]
    points, labels = camera.points(prompts, region, POINTS)
    if not (labels > 0).any():
        return None
    outline = camera.outline(prompts)
    inside = torch.zeros_like(first_mask) if outline is None else camera.masks(outline[None], region)[0]
    tracking = _tracking_region(rng, camera, target[0], region, settings)
    masks = camera.masks(target, tracking)
    if masks[0].sum() < FEWEST:
        return None
    windows = (wide, renewed if rng.random() < RENEWED else own)
    images = camera.images(range(len(target)), tracking, windows)
    return Clip(
        images.half(),
        masks,
        first_image.half(),
        first_mask,
        points,
        labels,
        inside,
        _frame(tracking, region),
        torch.tensor(settings.image_size / max(tracking.extent.height, tracking.extent.width)),
        torch.tensor(list(KINDS).index(kind)),
        torch.zeros(0, *masks.shape[1:], dtype=torch.bool),
    )


def _first_region(
    rng: np.random.Generator, camera: Camera, mask: Mask, kind: str, prompts: Sequence[Prompt], settings: ClipSettings
) -> Region:
    """The region in which the first prompts are decoded."""
    extent, named = Extent.of_mask(mask), camera.named(prompts)
    assert extent is not None
    assert named is not None
    if kind in BY_CLICKS:
        # Sessions look at several scales for what was meant, about the click and then about what they found.
        searched = rng.random() < SEARCHED
        scale = _drawn(rng, settings.searched_scale if searched else settings.region_scale)
        about = extent if not searched or rng.random() < 0.4 else _moved(extent, named.centre)
        return camera.region_about(about, scale, _shift(rng))
    if rng.random() < FREE:
        return camera.region_about(extent.union(named), _drawn(rng, (1.15, 2.2)), _shift(rng))
    return camera.first_region(prompts)


def _tracking_region(
    rng: np.random.Generator, camera: Camera, mask: Mask, region: Region, settings: ClipSettings
) -> Region:
    """The region in which the slices behind the prompted one are tracked: it follows what was found there."""
    extent = Extent.of_mask(mask)
    assert extent is not None
    if rng.random() < FREE:
        return camera.region_about(extent, _drawn(rng, settings.region_scale), _shift(rng))
    return camera.following(region, _about_right(rng, mask))


def _about_right(rng: np.random.Generator, mask: Mask) -> Mask:
    """A mask of a slice as a network may have found it: a little too small or too large."""
    steps = int(rng.integers(-1, 3) * max(1, round(0.06 * float(np.sqrt(mask.sum())))))
    if steps == 0:
        return mask
    if steps > 0:
        return np.asarray(ndimage.binary_dilation(mask, iterations=steps))
    smaller = ndimage.binary_erosion(mask, iterations=-steps)
    return np.asarray(smaller) if smaller.any() else mask


def _drawn(rng: np.random.Generator, scales: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(scales))))


def _shift(rng: np.random.Generator) -> tuple[float, float]:
    down, right = rng.uniform(-0.12, 0.12, 2)
    return float(down), float(right)


def _moved(extent: Extent, centre: tuple[float, float]) -> Extent:
    """The same sides about another centre (row, column)."""
    height, width = extent.height / 2, extent.width / 2
    return Extent(centre[0] - height, centre[1] - width, centre[0] + height, centre[1] + width)


def _frame(tracking: Region, first: Region) -> Tensor:
    """(scale, x, y) from network pixels of the tracking region to those of the prompts' region."""
    corner, unit = first.to_network(tracking.to_slice(np.array([[0.0, 0.0], [1.0, 1.0]])))
    return torch.tensor([unit[0] - corner[0], corner[1], corner[0]], dtype=torch.float32)


class TrainingClips(Dataset[list[Clip]]):
    """Item i: the clips of one volume, the same for the same (seed, i) and cases on any machine.

    cases: real ones that may be learnt from; without any, generators make every volume.
    """

    def __init__(self, seed: int, volumes: int, settings: ClipSettings, cases: Sequence[TrainingCase] = ()) -> None:
        self.seed, self.volumes, self.settings, self.cases = seed, volumes, settings, tuple(cases)

    def __len__(self) -> int:
        return self.volumes

    def __getitem__(self, index: int) -> list[Clip]:
        rng = np.random.default_rng([self.seed, index])
        settings = self.settings
        shares = Shares(settings.shapes, settings.pictures)
        scene = make_scene(rng, settings.slices, settings.canvas, self.cases, shares)
        clips: list[Clip] = []
        for _ in range(3 * settings.clips_per_volume):
            try:
                clip = cut_clip(rng, scene, settings)
            except PropagationError:
                # What a session would refuse, as a window or volume of one grey value, must not end a run of days.
                continue
            if clip is not None:
                clips.append(clip)
            if len(clips) == settings.clips_per_volume:
                break
        return clips

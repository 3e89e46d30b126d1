"""The synthetic hold-out as whole volumes with targets: a folder of cases that the robot user segments like real ones.

It stands in for real volumes while a network is being made. Volumes, and the targets in them, are chosen by rules from
a seed that training must not use; they are written once, so that a library of worlds that grows does not move the
yardstick under a comparison.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from memseg3d.training.synthetic.appearance import render
from memseg3d.training.synthetic.fields import Stack
from memseg3d.training.synthetic.library import WORLDS
from memseg3d.training.synthetic.worlds import World

SEED = 987_654_321
"""Seed of everything that is held out; training refuses it."""
VOLUMES = 18
CANVAS, DEPTH = 144, 110.0
STEPS = (1.0, 3.0, 1.6, 5.0)
"""Distances of the slices in pixels, taken in turn."""
TARGETS = 4
"""Targets of a volume, at most."""
FEWEST_VOXELS, LARGEST_SHARE = 400, 0.12
FEWEST_ON_SLICE = 60
LEAST_CONTRAST, FAINT_CONTRAST = 0.3, 0.6
RUNS_ON = "runs on"
"""Targets that leave the volume: at most one in a volume, for an object's end is what is hardest to find."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A possible target. mask: (k, j, i) boolean, one connected part. traits: what is hard about it."""

    mask: NDArray[Any]
    traits: frozenset[str]


def make_hold_out(
    folder: Path, volumes: int = VOLUMES, say: Callable[[str], None] = lambda _: None, seed: int = SEED
) -> Path:
    """Write the hold-out into `folder` as a data folder (MANIFEST.json and a folder for each case); returns `folder`.

    A folder that has its manifest is taken as it is. volumes: about so many, the same number of every kind of world.
    seed: another one makes other volumes, to fit rules on.
    """
    manifest = folder / "MANIFEST.json"
    if manifest.is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    words: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for number in range(max(1, round(volumes / len(WORLDS)))):
        for kind in WORLDS:
            name = f"{kind}-{number}"
            stack, image, world = _volume(kind, number, seed)
            chosen = _choose(candidates(image, world), seen)
            if not chosen:
                continue
            labels = np.zeros(image.shape, np.uint8)
            for label, each in enumerate(chosen, 1):
                labels[each.mask] = label
            voxels = np.rint(image * 1000).clip(-32768, 32767).astype(np.int16)
            _save(folder / name, voxels, labels, stack.step)
            traits = {str(label): sorted(each.traits) for label, each in enumerate(chosen, 1)}
            words[name] = {"modality": kind, "traits": traits, "sha256": _hash(voxels, labels)}
            say(f"{name}: {image.shape}, {'; '.join(', '.join(each) for each in traits.values())}")
    # The manifest comes last: a folder without it is unfinished and made again.
    manifest.write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
    return folder


def _volume(kind: str, number: int, seed: int) -> tuple[Stack, NDArray[Any], World]:
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
    step = STEPS[(number + zlib.crc32(kind.encode())) % len(STEPS)]
    stack = Stack(round(DEPTH / step), CANVAS, step)
    world = WORLDS[kind][0](rng, stack)
    return stack, render(rng, world).numpy(), world


def candidates(image: NDArray[Any], world: World) -> list[Candidate]:
    """Every structure that is large enough and can be told from what is around it on its largest slice."""
    labels = world.labels.numpy()
    found = []
    for value in np.unique(labels):
        parts, count = ndimage.label(np.isin(labels, world.whole(int(value))))
        if count == 0:
            continue
        sizes = np.bincount(parts.ravel())[1:]
        part = parts == 1 + int(sizes.argmax())
        if not FEWEST_VOXELS <= sizes.max() <= LARGEST_SHARE * part.size:
            continue
        areas = part.sum((1, 2))
        largest = int(areas.argmax())
        contrast, alike = _surroundings(image[largest], part[largest])
        if areas[largest] >= FEWEST_ON_SLICE and contrast >= LEAST_CONTRAST:
            found.append(Candidate(part, _traits(part, largest, contrast, alike)))
    return found


def _surroundings(image: NDArray[Any], mask: NDArray[Any]) -> tuple[float, float]:
    """Contrast to the three pixels around (difference of means over spreads), and the share that looks alike."""
    around = ndimage.binary_dilation(mask, iterations=3) & ~mask
    inside, outside = image[mask], image[around]
    if not len(outside):
        return 0.0, 0.0
    spread = float(inside.std())
    contrast = abs(float(inside.mean() - outside.mean())) / (spread + float(outside.std()) + 1e-3)
    alike = float(np.mean(np.abs(outside - inside.mean()) < spread + 1e-3))
    return contrast, alike


def _traits(part: NDArray[Any], largest: int, contrast: float, alike: float) -> frozenset[str]:
    """Words for what makes a target hard: how it ends, shape on its largest slice, how it shows."""
    plane = part[largest]
    area = int(plane.sum())
    filled = int(ndimage.binary_fill_holes(plane).sum())
    depth = float(ndimage.distance_transform_edt(np.pad(plane, 1)).max())
    shown = np.flatnonzero(part.any((1, 2)))
    several = [_comes_apart(part[index]) for index in shown]
    tests = {
        RUNS_ON: bool(part[0].any() or part[-1].any()),
        "ends": not (part[0].any() or part[-1].any()),
        "hollow": filled > 1.15 * area,
        # A disc is 1.13 by this measure, a long rectangle of one to four 0.5.
        "thin": 2 * depth / np.sqrt(area) < 0.5,
        "splits": float(np.mean(several)) > 0.15,
        "faint": contrast < FAINT_CONTRAST,
        "look-alikes": alike > 0.35,
        "small": int(part.sum()) < 2500,
    }
    return frozenset(name for name, holds in tests.items() if holds)


def _comes_apart(plane: NDArray[Any]) -> bool:
    """Whether a slice shows the target in parts, a second one holding a tenth of it or more."""
    parts, count = ndimage.label(plane)
    return count > 1 and int(np.sort(np.bincount(parts.ravel())[1:])[-2]) >= 0.1 * int(plane.sum())


def _choose(candidates: list[Candidate], seen: Counter[str]) -> list[Candidate]:
    """Up to `TARGETS` candidates that do not overlap, the rarest traits so far first; counts them in `seen`."""
    chosen: list[Candidate] = []
    left = list(candidates)
    while left and len(chosen) < TARGETS:
        best = max(left, key=lambda each: sum(1 / (1 + seen[trait]) for trait in each.traits))
        chosen.append(best)
        seen.update(best.traits)
        ran_on = any(RUNS_ON in each.traits for each in chosen)
        left = [
            each
            for each in left
            if each is not best and not (each.mask & best.mask).any() and not (ran_on and RUNS_ON in each.traits)
        ]
    return chosen


def _save(folder: Path, voxels: NDArray[Any], labels: NDArray[Any], step: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("image", voxels), ("label", labels)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((1.0, 1.0, step))
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"), useCompression=True)


def _hash(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

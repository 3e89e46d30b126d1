"""Objects as real sessions leave them between two rounds: previous masks with the errors that propagation makes.

A job of its own makes them with a run's current weights (`memseg3d train states`); the run cuts clips from what lies
there. Without states a network's previous masks are its own on a few slices, which err far less.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from memseg3d.datasets.training_data import TrainingCase
from memseg3d.network.seam import Network
from memseg3d.training.clips.clips import FEWEST, POINTS, Clip, ClipSettings, least_contrast
from memseg3d.training.clips.corrections import error_click
from memseg3d.training.clips.scenes import Scene, Shares, make_scene
from memseg3d.training.clips.serving import (
    OBJECT,
    BoxPrompt,
    Camera,
    Extent,
    PointPrompt,
    Prompt,
    SessionRounds,
    Volume,
    Window,
)
from memseg3d.training.clips.users import draw_box

SLICES, CANVAS = 28, 112
"""Size of the volumes that sessions are played on."""
MOST_ROUNDS = 4
"""Clicks after the box at most, before the state is taken."""
GOOD = 0.97
"""A state of more Dice has too little left to correct."""
ABOUT = 2
"""Slices on either side of a corrected one in a clip of a state."""
LENGTH, AT = 2 + 2 * ABOUT, 1 + ABOUT
"""Slices of such a clip: the prompted one, and those about the corrected one, which has this place."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class State:
    """voxels: (T, rows, columns) float32; truth, mask: bool, the object and what the session has of it; spacing: mm.

    prompted: index of the boxed slice. windows: (2, 2), low and high of the volume's window and of the object's own.
    """

    voxels: NDArray[np.float32]
    spacing: tuple[float, float, float]
    truth: Mask
    mask: Mask
    prompted: int
    windows: NDArray[np.float64]


def play(rng: np.random.Generator, network: Network, cases: Sequence[TrainingCase], shares: Shares) -> State | None:
    """A box and some clicks in a session on a scene of chance; None where it leaves nothing to correct."""
    scene = make_scene(rng, SLICES, CANVAS, cases, shares)
    truth = whole_target(rng, scene)
    if truth is None:
        return None
    voxels = np.ascontiguousarray(scene.image.numpy()[:, : truth.shape[1], : truth.shape[2]])
    volume = Volume(voxels, scene.spacing)
    areas = truth.sum((1, 2))
    prompted = int(areas.argmax()) if rng.random() < 0.7 else int(rng.choice(np.flatnonzero(areas > 0.4 * areas.max())))
    if least_contrast(voxels[prompted], truth[prompted]):
        return None
    rounds = SessionRounds(volume, network)
    mask = rounds.answer([_moved(each, prompted) for each in draw_box(rng, truth[prompted : prompted + 1])])
    for _ in range(int(rng.integers(0, MOST_ROUNDS + 1))):
        errors = (mask != truth).sum((1, 2))
        if not errors.any():
            return None
        at = int(errors.argmax()) if rng.random() < 0.7 else int(rng.choice(np.flatnonzero(errors)))
        row, column, positive = error_click(rng, mask[at], truth[at])
        mask = rounds.answer([PointPrompt(OBJECT, (float(at), float(row), float(column)), positive)])
    overlap = 2 * (mask & truth).sum() / max(1, mask.sum() + truth.sum())
    if overlap > GOOD:
        return None
    windows = np.array([[each.low, each.high] for each in rounds.windows])
    return State(voxels, scene.spacing, truth, mask, prompted, windows)


def whole_target(rng: np.random.Generator, scene: Scene) -> Mask | None:
    """A connected structure through all slices: (T, rows, columns)."""
    labels = scene.world.labels.numpy()
    values, sizes = np.unique(labels, return_counts=True)
    fits = (sizes >= 8 * FEWEST) & (sizes < 0.2 * labels.size)
    if scene.targets is not None:
        fits &= np.isin(values, sorted(scene.targets))
    if not fits.any():
        return None
    parts, count = ndimage.label(np.isin(labels, scene.world.whole(int(rng.choice(values[fits])))))
    part = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax()) if count else None
    return part if part is not None and part.sum((1, 2)).max() >= 2 * FEWEST else None


def _moved(prompt: Prompt, index: int) -> Prompt:
    """A box or click of slice 0 on another slice."""
    if isinstance(prompt, PointPrompt):
        return replace(prompt, position=(float(index), *prompt.position[1:]))
    assert isinstance(prompt, BoxPrompt)
    return replace(prompt, lower=(float(index), *prompt.lower[1:]), upper=(float(index), *prompt.upper[1:]))


def write_state(path: Path, state: State) -> None:
    """Write a state, whole or not at all."""
    partial = path.with_name(f"{path.stem}-{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez_compressed(
            file,
            voxels=state.voxels,
            spacing=state.spacing,
            truth=np.packbits(state.truth, axis=-1),
            mask=np.packbits(state.mask, axis=-1),
            prompted=state.prompted,
            windows=state.windows,
        )
    os.replace(partial, path)


def read_state(path: Path) -> State | None:
    """The state in a file; None where it is none or is being replaced."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        width = arrays["voxels"].shape[-1]
        truth, mask = (np.unpackbits(arrays[n], axis=-1, count=width).astype(bool) for n in ("truth", "mask"))
        k, j, i = (float(step) for step in arrays["spacing"])
        return State(arrays["voxels"], (k, j, i), truth, mask, int(arrays["prompted"]), arrays["windows"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def cut_state(rng: np.random.Generator, state: State, settings: ClipSettings) -> Clip | None:
    """A clip about a slice with an error: the prompted slice, then `ABOUT` slices on either side of the corrected one.

    None where no slice with an error lies far enough from the prompted one and from the volume's ends.
    """
    errors = (state.mask != state.truth).sum((1, 2))
    places = np.arange(len(errors))
    fits = (errors >= 4) & (np.abs(places - state.prompted) > ABOUT)
    fits &= (places >= ABOUT) & (places < len(errors) - ABOUT)
    if not fits.any():
        return None
    errors = np.where(fits, errors, 0)
    at = int(errors.argmax()) if rng.random() < 0.6 else int(rng.choice(places, p=errors / errors.sum()))
    step = 1 if at > state.prompted else -1
    order = np.array([state.prompted, *(at + step * n for n in range(-ABOUT, ABOUT + 1))])
    camera = Camera(Volume(np.ascontiguousarray(state.voxels[order]), state.spacing), settings.image_size)
    shown = state.mask[at] | state.truth[at]
    extent = Extent.of_mask(state.mask[at] if state.mask[at].any() and rng.random() < 0.7 else shown)
    if extent is None:
        return None
    region = camera.framing.around(extent)
    windows = tuple(Window(float(low), float(high)) for low, high in state.windows)
    images = camera.images(range(LENGTH), region, windows).half()
    masks = camera.masks(state.truth[order], region)
    return Clip(
        images,
        masks,
        images[0],
        masks[0],
        torch.zeros(POINTS, 2),
        torch.full((POINTS,), -1),
        torch.zeros_like(masks[0]),
        torch.tensor([1.0, 0.0, 0.0]),
        torch.tensor(settings.image_size / max(region.extent.height, region.extent.width)),
        torch.tensor(0),
        camera.masks(state.mask[order], region),
    )


def clips_of_states(rng: np.random.Generator, folder: Path, count: int, settings: ClipSettings) -> list[Clip]:
    """So many clips of states that lie in `folder`, drawn anew for each; empty where there are too few to draw from."""
    files = sorted(folder.glob("[0-9]*.npz"))
    clips: list[Clip] = []
    for _ in range(6 * count if len(files) >= count else 0):
        state = read_state(files[int(rng.integers(len(files)))])
        clip = None if state is None else cut_state(rng, state, settings)
        if clip is not None:
            clips.append(clip)
        if len(clips) == count:
            return clips
    return []

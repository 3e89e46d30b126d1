"""Mem3D's protocol over the cases of a data set: one resumable result per case, its picture, and its slices."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from memseg3d.datasets.description import Case, DataSet
from memseg3d.datasets.errors import BrokenCase, DataSetError
from memseg3d.datasets.voxel_cache import VoxelCache
from memseg3d.evaluation.mem3d.cases import chosen_cases
from memseg3d.evaluation.mem3d.play import Played, Player
from memseg3d.evaluation.mem3d.protocol import MASK, Mem3dProtocol
from memseg3d.evaluation.metrics import dice, surface_scores
from memseg3d.evaluation.pictures import keep_picture
from memseg3d.evaluation.results import RoundScore, TargetResult, keep, kept, result_file
from memseg3d.evaluation.robot import Box
from memseg3d.evaluation.rounds import iou, largest_part
from memseg3d.evaluation.targets import Target
from memseg3d.network.mem3d import Mem3dNetwork

Say = Callable[[str], None]


def require_parts(network: Mem3dNetwork, protocol: Mem3dProtocol) -> None:
    """Raise `DataSetError` where the model lacks what the protocol needs."""
    if network.memory is None and protocol.prompted == "one":
        raise DataSetError(
            f"{network.info.name} has no memory network: train it by `memseg3d train mem3d --stage memory`, or judge "
            "its interaction networks by --prompted every."
        )
    if protocol.interaction != MASK and protocol.interaction not in network.networks:
        there = ", ".join(sorted(network.networks)) or "none"
        raise DataSetError(
            f"{network.info.name} has no interaction network {protocol.interaction} (it has: {there}). Train it by "
            f"`memseg3d train mem3d --stage interaction --network {protocol.interaction}`, or take the truth of the "
            "prompted slice by --interaction mask."
        )
    head = None if network.memory is None else network.memory.Quality
    if protocol.advice == "quality" and protocol.prompted == "one" and protocol.corrections and head is None:
        raise DataSetError(
            f"{network.info.name} has no quality head, so it cannot advise: train it by `--stage quality`, or choose "
            "--advice truth."
        )


def run_mem3d(
    data: DataSet,
    out: Path,
    network: Mem3dNetwork,
    protocol: Mem3dProtocol,
    names: Iterable[str] | None = None,
    saved: Callable[[Case, NDArray[np.bool_], NDArray[np.float32]], None] | None = None,
    say: Say = lambda _: None,
) -> list[TargetResult]:
    """Play every case; what `out/targets` holds of this protocol is not played again unless its slices are `saved`.

    saved: takes a case with its masks and probabilities (k, rows, columns). Raises `DataSetError`, `UnreadableFile`.
    """
    require_parts(network, protocol)
    cache = VoxelCache(out / "cache")
    results = []
    for case in chosen_cases(data, names):
        assert case.labels is not None
        labels = cache.labels(case.labels, case.slice_axis)
        truth = np.asarray(labels) == protocol.label
        if not truth.any():
            say(f"{case.labels.shown} shows no label {protocol.label}: left out.")
            continue
        target = Target(case.name, protocol.label, case.modality or "unknown", int(np.count_nonzero(truth)))
        file = result_file(out, protocol, target)
        result = kept(file, protocol)
        if result is None or saved is not None:
            voxels = cache.voxels(case.image, case.slice_axis)
            if voxels.shape != truth.shape:
                raise BrokenCase(f"{case.labels.shown} has {truth.shape} voxels and {case.image.shown} {voxels.shape}.")
            images = torch.stack([_image(plane, network.info.image_size) for plane in voxels])
            player = Player(network, images, truth, protocol, zlib.crc32(target.key.encode()))
            result, masks = _played(player, target, truth, _spacing(case), protocol)
            if saved is not None:
                saved(case, masks, player.probabilities())
            keep_picture(file, voxels, truth, masks, 0)
            keep(file, protocol, result)
        scores = " ".join(f"{score.dice:.3f}" for score in result.rounds)
        say(f"{protocol.model} {protocol.interaction} {protocol.advice} {target.key}: Dice {scores}")
        results.append(result)
    if not results:
        raise DataSetError(f"No case of {data.root} shows label {protocol.label}; choose another by --label.")
    return results


def _played(
    player: Player,
    target: Target,
    truth: NDArray[np.bool_],
    spacing: tuple[float, float, float],
    protocol: Mem3dProtocol,
) -> tuple[TargetResult, NDArray[np.bool_]]:
    first = last = player.begin()
    scores = [_score(first, truth, spacing)]
    for _ in range(protocol.corrections):
        corrected = player.correct()
        if corrected is None:
            scores.append(RoundScore(**{**asdict(scores[-1]), "seconds": 0.0, "slices": 0, "first_mask": None}))
            continue
        last = corrected
        scores.append(_score(last, truth, spacing))
    rows, columns = (np.flatnonzero(truth[first.prompted].any(axis)) for axis in (1, 0))
    at = first.prompted
    box = Box(0, (at, int(rows[0]), int(columns[0])), (at, int(rows[-1]), int(columns[-1])))
    return TargetResult(target, 0, box, largest_part(truth), tuple(scores)), last.masks


def _score(played: Played, truth: NDArray[np.bool_], spacing: Sequence[float]) -> RoundScore:
    nsd, hd95 = surface_scores(truth, played.masks, spacing)
    at = played.prompted
    judged = tuple((n, q, iou(played.masks[n], truth[n])) for n, q in sorted(played.qualities.items()))
    return RoundScore(
        dice=dice(truth, played.masks),
        nsd=nsd,
        prompted_dice=dice(truth[at], played.masks[at]),
        seconds=played.seconds,
        first_mask=None,
        slices=played.slices,
        click=None,
        judged=judged,
        hd95=hd95,
    )


def _spacing(case: Case) -> tuple[float, float, float]:
    """(slice, row, column) mm; 1 mm where the layout keeps none."""
    spacing = case.spacing
    first = spacing[case.slice_axis]
    rest = [step for axis, step in enumerate(spacing) if axis != case.slice_axis]
    return (first, rest[0], rest[1])


def _image(plane: NDArray[Any], size: int) -> Tensor:
    """(1, size, size) in [0, 1]: eight bits over 255, else from the slice's lowest value to its highest."""
    values = torch.from_numpy(plane.astype(np.float32))
    low, high = (0.0, 255.0) if plane.dtype == np.uint8 else (float(values.min()), float(values.max()))
    values = ((values - low) / max(high - low, 1e-6))[None, None]
    return F.interpolate(values, size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0].clamp(0, 1)

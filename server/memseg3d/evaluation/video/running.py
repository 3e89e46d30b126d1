"""Runs the protocol on a data set: one prompted slice, both directions, scores per object; a stopped run goes on."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.datasets.checking import grid_difference
from memseg3d.datasets.description import Case, DataSet
from memseg3d.datasets.sources.base import as_labels
from memseg3d.evaluation.metrics import NSD_TOLERANCE_MM, dice, surface_dice
from memseg3d.evaluation.video.clicking import LEAST_PIXELS, next_click
from memseg3d.evaluation.video.protocol import NoTarget, Target, VideoProtocol, target_of
from memseg3d.files import UnreadableFile
from memseg3d.video.predictor import VideoPredictor

RESULTS, TABLE = "video.json", "video.csv"


@dataclass(frozen=True)
class VideoScore:
    """dice: of all frames; nsd_voxels: surface Dice at one voxel without spacing, as published; nsd_mm: at 2 mm with
    it. beyond: share of the predicted voxels on slices without the object. prompts: points given, 0 for a mask.
    """

    case: str
    label: int
    frames: int
    at: int
    prompts: int
    dice: float
    nsd_voxels: float
    nsd_mm: float
    beyond: float
    seconds: float


@dataclass(frozen=True)
class _Object:
    case: Case
    label: int
    image: NDArray[Any]
    truth: NDArray[np.bool_]
    spacing: tuple[float, ...]


def run_video(
    data: DataSet,
    out: Path,
    predictor: VideoPredictor,
    protocol: VideoProtocol,
    model: dict[str, Any],
    say: Callable[[str], None] = print,
) -> Path:
    """Score every object of every case with labels; those in `out`/video.json of the same model and protocol are kept.

    Writes video.json (protocol, scores, means) and video.csv; returns the latter. Raises UnreadableFile where the
    results in `out` are another run's, or no case has labels.
    """
    words = {"protocol": protocol.words(), "model": model, "data": str(data.root)}
    rows = _known(out / RESULTS, words)
    done = {(row["case"], row["label"]) for row in rows}
    found = False
    for each in _objects(data, protocol):
        found = True
        if (each.case.name, each.label) in done:
            continue
        name = f"{each.case.name}/{each.label}"
        try:
            score = _score(predictor, each, protocol)
        except NoTarget as why:
            say(f"{name}: passed over, {why}.")
            continue
        rows.append(asdict(score))
        say(f"{name}: Dice {score.dice:.3f}, {score.seconds:.1f} s")
        _write(out, words, rows)
    if not found:
        raise UnreadableFile(f"{data.root} holds no case with labels to be judged by.")
    return _write(out, words, rows)


def segment(predictor: VideoPredictor, target: Target, protocol: VideoProtocol) -> tuple[NDArray[np.bool_], int]:
    """Masks (N, rows, columns) of all frames and the number of points given. Raises NoTarget."""
    state = predictor.init_state(target.frames)
    truth = target.truth[target.at]
    masks = np.zeros(target.truth.shape, bool)
    given = 0
    if protocol.prompt == "mask":
        predictor.add_new_mask(state, target.at, 1, truth)
    elif protocol.prompt == "box":
        rows, columns = np.nonzero(truth)
        box = [columns.min(), rows.min(), columns.max(), rows.max()]
        predictor.add_new_points_or_box(state, target.at, 1, box=np.asarray(box, np.float32))
        given = 2
    else:
        given = _click(predictor, state, target.at, truth, protocol.clicks)
    for frame, _, logits in predictor.propagate_in_video(state):
        masks[frame] = (logits[0, 0] > 0).cpu().numpy()
    if target.at > 0:
        for frame, _, logits in predictor.propagate_in_video(state, start_frame_idx=target.at - 1, reverse=True):
            masks[frame] = (logits[0, 0] > 0).cpu().numpy()
    return masks, given


def _click(predictor: VideoPredictor, state: Any, at: int, truth: NDArray[np.bool_], most: int) -> int:
    if truth.sum() <= LEAST_PIXELS:
        raise NoTarget(f"the prompted slice shows no more than {LEAST_PIXELS} pixels of it")
    shown = np.zeros(truth.shape, bool)
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    for _ in range(most):
        click = next_click(truth, shown)
        if click is None:
            break
        points.append((float(click.x), float(click.y)))
        labels.append(int(click.positive))
        _, _, logits = predictor.add_new_points_or_box(state, at, 1, points=np.array(points), labels=np.array(labels))
        shown = (logits[0, 0] > 0).cpu().numpy()
    if not points:
        raise NoTarget("the prompted slice shows too little of it for a click")
    return len(points)


def _score(predictor: VideoPredictor, each: _Object, protocol: VideoProtocol) -> VideoScore:
    target = target_of(each.image, each.truth, protocol)
    began = time.perf_counter()
    masks, given = segment(predictor, target, protocol)
    seconds = time.perf_counter() - began
    empty = ~target.truth.any((1, 2))
    return VideoScore(
        each.case.name,
        each.label,
        len(target.frames),
        target.first + target.at,
        given,
        dice(target.truth, masks),
        surface_dice(target.truth, masks, (1.0, 1.0, 1.0), 1.0),
        surface_dice(target.truth, masks, each.spacing, NSD_TOLERANCE_MM),
        float(masks[empty].sum() / max(1, masks.sum())),
        seconds,
    )


def _objects(data: DataSet, protocol: VideoProtocol) -> Iterator[_Object]:
    """Cases are read one by one. Raises UnreadableFile, naming the file."""
    for case in data.cases:
        if case.labels is None:
            continue
        image, truth = case.image.read(), case.labels.read()
        if image.voxels.shape != truth.voxels.shape:
            raise UnreadableFile(f"{case.labels.shown} lies on another grid than {case.image.shown}.")
        if apart := grid_difference(case.image.header(), case.labels.header()):
            raise UnreadableFile(f"{case.labels.shown} {apart[1]}, as {case.image.shown} does; resample it onto that.")
        voxels = np.moveaxis(image.voxels, case.slice_axis, 0)
        labels = np.moveaxis(as_labels(truth, case.labels.shown), case.slice_axis, 0)
        order = [case.slice_axis, *(axis for axis in range(3) if axis != case.slice_axis)]
        spacing = tuple(image.spacing[axis] for axis in order)
        values = [0] if protocol.merged else [int(value) for value in np.unique(labels) if value]
        for value in values:
            yield _Object(case, value, voxels, labels > 0 if protocol.merged else labels == value, spacing)


def _known(path: Path, words: dict[str, Any]) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
        rows: list[dict[str, Any]] = told["scores"]
        same = {key: told[key] for key in words} == words
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise UnreadableFile(f"{path} is damaged: move it away to begin anew.") from error
    if not same:
        raise UnreadableFile(f"{path} holds results of another model, set or protocol: name another folder by --out.")
    return rows


def _write(out: Path, words: dict[str, Any], rows: list[dict[str, Any]]) -> Path:
    scores = ("dice", "nsd_voxels", "nsd_mm", "beyond", "seconds")
    means = {name: fmean(row[name] for row in rows) for name in scores} if rows else {}
    text = json.dumps({**words, "objects": len(rows), "means": means, "scores": rows}, indent=1) + "\n"
    partial = out / f"{RESULTS}.partial"
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, out / RESULTS)
    partial = out / f"{TABLE}.partial"
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(VideoScore.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(rows)
    os.replace(partial, out / TABLE)
    return out / TABLE

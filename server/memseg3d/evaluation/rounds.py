"""The protocol `rounds`: a box, then corrective clicks, answered by a real session; one resumable result per target."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.evaluation.metrics import dice, surface_scores, tolerance_for
from memseg3d.evaluation.pictures import keep_picture
from memseg3d.evaluation.results import Protocol, RoundScore, TargetResult, keep, kept, result_file
from memseg3d.evaluation.robot import Click, choose_axis, choose_click, choose_slice, draw_box
from memseg3d.evaluation.segmenters import Answer, Segmenter, SessionSegmenter
from memseg3d.evaluation.targets import Case, Target, find_cases, read_case
from memseg3d.files import UnreadableFile
from memseg3d.network.seam import Network
from memseg3d.propagation.volume.volume import Volume

Start = Callable[[Volume], Segmenter]
"""Begins one object of a volume."""


def run_rounds(
    data: Path,
    out: Path,
    network: Network,
    protocol: Protocol,
    cases: Iterable[str] | None = None,
    targets: Iterable[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[TargetResult]:
    """`run_robot` against sessions with a network."""
    options = protocol.options

    def start(volume: Volume) -> Segmenter:
        return SessionSegmenter(volume, network, options)

    return run_robot(data, out, start, protocol, cases, targets, say)


def run_robot(
    data: Path,
    out: Path,
    start: Start,
    protocol: Protocol,
    cases: Iterable[str] | None = None,
    targets: Iterable[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[TargetResult]:
    """Run the robot over the targets of a data folder; what `out/targets` holds of this protocol is not run again.

    cases: only these, whole. targets: only these, as "case/label". say: told one line a target.
    Raises `UnreadableFile`: no data folder, an unknown case or target.
    """
    wanted = set(targets) if targets is not None else None
    if wanted is not None:
        cases = {*(cases or ()), *(key.partition("/")[0] for key in wanted)}
    chosen = find_cases(data, cases)
    read = (read_case(data, name, modality) for name, modality in chosen.items())
    return run_cases(((case, _selected(case, wanted)) for case in read), out, start, protocol, say)


def run_cases(
    cases: Iterable[tuple[Case, Sequence[Target]]],
    out: Path,
    start: Start,
    protocol: Protocol,
    say: Callable[[str], None] = lambda _: None,
) -> list[TargetResult]:
    """Run the robot over targets of cases; what `out/targets` holds of this protocol is not run again."""
    results = []
    for case, targets in cases:
        volume = Volume(case.image.voxels, case.image.spacing)
        for target in targets:
            file = result_file(out, protocol, target)
            result = kept(file, protocol)
            if result is None:
                result, mask = play_target(case, target, start(volume), protocol)
                keep_picture(file, case.image.voxels, case.labels == target.label, mask, result.axis)
                keep(file, protocol, result)
            say(_line(protocol, result))
            results.append(result)
    return results


def _selected(case: Case, wanted: set[str] | None) -> list[Target]:
    """The targets of a case that are wanted; one that it lacks is an error before the case is run."""
    known = case.targets
    asked = {key for key in wanted or () if key.partition("/")[0] == case.name}
    missing = asked - {target.key for target in known}
    if missing:
        there = ", ".join(target.key for target in known)
        raise UnreadableFile(f"There is no target {', '.join(sorted(missing))}; {case.name} has: {there}.")
    return [target for target in known if target.key in asked] if asked else known


def _line(protocol: Protocol, result: TargetResult) -> str:
    scores = " ".join(f"{score.dice:.3f}" for score in result.rounds)
    seconds = sum(score.seconds for score in result.rounds)
    return f"{protocol.model} {protocol.advice} {result.target.key}: Dice {scores}; {seconds:.1f} s"


def run_target(case: Case, target: Target, segmenter: Segmenter, protocol: Protocol) -> TargetResult:
    """The box and the corrections of one target, each scored after its round."""
    return play_target(case, target, segmenter, protocol)[0]


def play_target(
    case: Case, target: Target, segmenter: Segmenter, protocol: Protocol
) -> tuple[TargetResult, NDArray[Any]]:
    """The same, and the mask (k, j, i) that the last round has left."""
    truth = case.labels == target.label
    spacing = case.image.spacing
    axis = choose_axis(spacing)
    box = draw_box(truth, axis, target.key)
    in_plane = [step for each, step in enumerate(spacing) if each != axis]
    tolerance = tolerance_for(target.modality, in_plane)
    rng = np.random.default_rng(zlib.crc32(f"{target.key}/{protocol.advice}".encode()))
    answer = segmenter.answer(box)
    rounds = [_scored(answer, None, truth, spacing, tolerance, axis, box.index)]
    for _ in range(protocol.corrections):
        index = choose_slice(protocol.advice, truth != answer.mask, axis, answer.expected, rng)
        click = choose_click(truth, answer.mask, spacing, axis, index)
        if click is None:
            rounds.append(
                replace(rounds[-1], seconds=0.0, first_mask=None, slices=0, click=None, clicked=None, near=None)
            )
            continue
        before, answer = answer.mask, segmenter.answer(click)
        scored = _scored(answer, click, truth, spacing, tolerance, axis, box.index)
        rounds.append(_about_click(scored, click, truth, before, answer.mask))
    return TargetResult(target, axis, box, largest_part(truth), tuple(rounds)), answer.mask


def _scored(
    answer: Answer,
    click: Click | None,
    truth: NDArray[Any],
    spacing: tuple[float, float, float],
    tolerance: float,
    axis: int,
    prompted: int,
) -> RoundScore:
    mask = answer.mask
    judged = tuple(
        (index, predicted, iou(mask.take(index, axis), truth.take(index, axis)))
        for index, predicted in answer.qualities.items()
    )
    nsd, hd95 = surface_scores(truth, mask, spacing, tolerance)
    return RoundScore(
        dice=dice(truth, mask),
        nsd=nsd,
        prompted_dice=dice(truth.take(prompted, axis), mask.take(prompted, axis)),
        seconds=answer.seconds,
        first_mask=answer.first_mask,
        slices=answer.slices,
        click=(*click.position, click.positive) if click else None,
        judged=judged,
        hd95=hd95,
    )


NEAR = 3
"""Slices on either side of a clicked one on which it is told what the click did there."""


def _about_click(
    score: RoundScore, click: Click, truth: NDArray[Any], before: NDArray[Any], after: NDArray[Any]
) -> RoundScore:
    """The score with what the click did on its own slice, and on those near it."""
    at, total = click.index, truth.shape[click.axis]
    beside = [n for n in range(max(0, at - NEAR), min(total, at + NEAR + 1)) if n != at]
    planes = [[each.take(index, click.axis) for each in (truth, before, after)] for index in ([at], beside)]
    clicked, near = ((dice(t, b), dice(t, a)) for t, b, a in planes)
    shown = any(each.any() for each in planes[1])
    return replace(score, clicked=clicked, near=near if shown else None)


def iou(mask: NDArray[Any], truth: NDArray[Any]) -> float:
    """Intersection over union of two boolean masks, 1 where both are empty: the soft IoU of masks without doubt."""
    union = int(np.count_nonzero(mask | truth))
    return int(np.count_nonzero(mask & truth)) / union if union else 1.0


def largest_part(truth: NDArray[Any]) -> float:
    """Share of the voxels in the largest part, parts touching by a corner being one."""
    from scipy import ndimage

    parts, _ = ndimage.label(truth, structure=np.ones((3, 3, 3)))
    return float(np.bincount(parts.ravel())[1:].max() / np.count_nonzero(truth))

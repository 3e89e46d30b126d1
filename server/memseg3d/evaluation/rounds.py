"""The protocol `rounds`: a box, then corrective clicks, through a real session; one resumable result per target."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from memseg3d.evaluation.metrics import dice, surface_dice, tolerance_for
from memseg3d.evaluation.robot import Advice, Box, Click, choose_axis, choose_click, choose_slice, draw_box
from memseg3d.evaluation.targets import Case, Target, find_cases, read_case
from memseg3d.files import UnreadableFile
from memseg3d.network.seam import Network
from memseg3d.propagation.events import RoundDone, SliceDone
from memseg3d.propagation.options import Options
from memseg3d.propagation.prompts import BoxPrompt, PointPrompt, Prompt
from memseg3d.propagation.session import Session
from memseg3d.propagation.volume import Volume

OBJECT = 1
MOST_CORRECTIONS = 50


@dataclass(frozen=True)
class Protocol:
    """What a result depends on besides the data: results of another protocol are not taken over when resuming."""

    corrections: int
    advice: Advice
    model: str
    model_sha256: str
    reach: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.corrections <= MOST_CORRECTIONS:
            raise ValueError(f"Corrections run from 0 to {MOST_CORRECTIONS}; {self.corrections} were asked for.")
        if self.advice not in get_args(Advice):
            raise ValueError(f"Advice is one of {', '.join(get_args(Advice))}, not {self.advice}.")


@dataclass(frozen=True)
class RoundScore:
    """One round.

    seconds: of the session alone; first_mask: until its first slice.
    click: (k, j, i, positive), None where there was none.
    """

    dice: float
    nsd: float
    seconds: float
    first_mask: float | None
    slices: int
    click: tuple[int, int, int, bool] | None


@dataclass(frozen=True)
class TargetResult:
    """All rounds of one target; axis, slice and box in (k, j, i). largest_part: share of its largest connected part."""

    target: Target
    axis: int
    box: Box
    largest_part: float
    rounds: tuple[RoundScore, ...]

    @classmethod
    def from_json(cls, words: dict[str, Any]) -> TargetResult:
        """From the words of `dataclasses.asdict`. Raises KeyError or TypeError where they are something else."""
        box = Box(words["box"]["axis"], tuple(words["box"]["lower"]), tuple(words["box"]["upper"]))
        rounds = tuple(
            RoundScore(**{**score, "click": tuple(score["click"]) if score["click"] else None})
            for score in words["rounds"]
        )
        return cls(Target(**words["target"]), words["axis"], box, words["largest_part"], rounds)


def run_rounds(
    data: Path,
    out: Path,
    network: Network,
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
    results = []
    for name, modality in find_cases(data, cases).items():
        case = read_case(data, name, modality)
        volume = Volume(case.image.voxels, case.image.spacing)
        for target in _selected(case, wanted):
            file = out / "targets" / f"{target.case}-{target.label}.json"
            result = _kept(file, protocol)
            if result is None:
                result = run_target(case, target, volume, network, protocol)
                _keep(file, protocol, result)
            say(_line(result))
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


def _keep(file: Path, protocol: Protocol, result: TargetResult) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    words = {"protocol": asdict(protocol), "result": asdict(result)}
    unfinished.write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(file)


def _line(result: TargetResult) -> str:
    scores = " ".join(f"{score.dice:.3f}" for score in result.rounds)
    return f"{result.target.key}: Dice {scores}; {sum(score.seconds for score in result.rounds):.1f} s"


def _kept(file: Path, protocol: Protocol) -> TargetResult | None:
    if not file.is_file():
        return None
    try:
        words = json.loads(file.read_text(encoding="utf-8"))
        return TargetResult.from_json(words["result"]) if words["protocol"] == asdict(protocol) else None
    except (ValueError, KeyError, TypeError):
        return None  # written by another version: run again


def run_target(case: Case, target: Target, volume: Volume, network: Network, protocol: Protocol) -> TargetResult:
    """The box and the corrections of one target, each scored after its round."""
    truth = case.labels == target.label
    spacing = volume.spacing
    axis = choose_axis(spacing)
    box = draw_box(truth, axis, target.key)
    tolerance = tolerance_for(target.modality, volume.slice_spacing(axis))
    session = Session(volume, network, Options(reach=protocol.reach))
    rng = np.random.default_rng(zlib.crc32(f"{target.key}/{protocol.advice}".encode()))
    prediction = np.zeros(truth.shape, bool)
    rounds: list[RoundScore] = []
    for number in range(protocol.corrections + 1):
        click = None
        if number:
            _, qualities = session.qualities(OBJECT)
            index = choose_slice(protocol.advice, truth != prediction, axis, qualities, rng)
            click = choose_click(truth, prediction, spacing, axis, index)
        if number and click is None:
            rounds.append(_repeated(rounds[-1]))
            continue
        prompt = _box_prompt(box) if click is None else _point_prompt(click)
        slices = list(_run_round(session, f"{target.key}/{number}", prompt))
        prediction = session.labelmap(OBJECT)
        rounds.append(
            RoundScore(
                dice=dice(truth, prediction),
                nsd=surface_dice(truth, prediction, spacing, tolerance),
                seconds=slices[-1],
                first_mask=slices[0] if len(slices) > 1 else None,
                slices=len(slices) - 1,
                click=(*click.position, click.positive) if click else None,
            )
        )
    return TargetResult(target, axis, box, _largest_part(truth), tuple(rounds))


def _run_round(session: Session, round_id: str, prompt: Prompt) -> Iterator[float]:
    """Seconds from the start of the round to each of its slices, and last to its end."""
    started = time.perf_counter()
    for event in session.begin(round_id, [prompt]):
        if isinstance(event, SliceDone | RoundDone):
            yield time.perf_counter() - started


def _box_prompt(box: Box) -> BoxPrompt:
    return BoxPrompt(OBJECT, box.axis, box.lower, box.upper)


def _point_prompt(click: Click) -> PointPrompt:
    return PointPrompt(OBJECT, click.position, click.positive, click.axis)


def _repeated(last: RoundScore) -> RoundScore:
    return RoundScore(last.dice, last.nsd, 0.0, None, 0, None)


def _largest_part(truth: NDArray[Any]) -> float:
    """Share of the voxels in the largest part, parts touching by a corner being one."""
    from scipy import ndimage

    parts, _ = ndimage.label(truth, structure=np.ones((3, 3, 3)))
    return float(np.bincount(parts.ravel())[1:].max() / np.count_nonzero(truth))

"""What a run of the robot leaves: the protocol it followed, scores of every round, and files to resume from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from memseg3d.evaluation.robot import Advice, Box
from memseg3d.evaluation.targets import Target
from memseg3d.network.precision import precision_of
from memseg3d.propagation.prompts.options import Options

MOST_CORRECTIONS = 50


@dataclass(frozen=True)
class Protocol:
    """What a result depends on besides the data: results of another protocol are not taken over when resuming.

    precision: what the network is computed in where that is not fp32 (`precision_told`), else "".
    """

    corrections: int
    advice: Advice
    model: str
    model_sha256: str
    reach: float | None = None
    memory: str = "default"
    bidirectional: str = "independent"
    consensus: bool = False
    key_slices: bool = False
    region: str = "auto"
    precision: str = ""

    @property
    def options(self) -> Options:
        """The session's. Raises OptionsError for an unknown memory policy."""
        names = ("reach", "memory", "bidirectional", "consensus", "key_slices", "region")
        return Options.from_json({name: getattr(self, name) for name in names})

    @property
    def title(self) -> str:
        """Heading of a report."""
        return "A box, then corrective clicks"

    @property
    def story(self) -> str:
        """What is done, in a sentence."""
        return f"A box, then {self.corrections} corrections; the slice to correct is chosen by {self.advice}."

    @property
    def ways(self) -> list[str]:
        """The words by which results of this protocol are kept apart from others."""
        ways = [self.model, self.advice]
        ways += [self.memory] if self.memory != "default" else []
        ways += [self.bidirectional] if self.bidirectional != "independent" else []
        ways += ["consensus"] if self.consensus else []
        ways += ["key slices"] if self.key_slices else []
        ways += [self.region] if self.region != "auto" else []
        return [*ways, self.precision] if self.precision else ways

    def __post_init__(self) -> None:
        if not 0 <= self.corrections <= MOST_CORRECTIONS:
            raise ValueError(f"Corrections run from 0 to {MOST_CORRECTIONS}; {self.corrections} were asked for.")
        if self.advice not in get_args(Advice):
            raise ValueError(f"Advice is one of {', '.join(get_args(Advice))}, not {self.advice}.")


def precision_told(network: object) -> str:
    """Of a network, as a protocol tells it."""
    precision = precision_of(network)
    return "" if precision == "fp32" else precision


@dataclass(frozen=True)
class RoundScore:
    """One round.

    prompted_dice: Dice on the slice of the box alone. seconds: of the segmentation alone; first_mask: until its first
    slice, None where there was none or the method shows none before its end. click: (k, j, i, positive), None where
    there was none. judged: (slice, predicted quality, IoU with the truth) of the slices that the round left a
    predicted quality for. clicked: Dice of the clicked slice before and after the click. near: the same of the slices
    at distance 1 to 3 from it together, None where these hold neither truth nor mask. hd95: mm, None where one of
    truth and mask is empty, and in results of older versions.
    """

    dice: float
    nsd: float
    prompted_dice: float
    seconds: float
    first_mask: float | None
    slices: int
    click: tuple[int, int, int, bool] | None
    judged: tuple[tuple[int, float, float], ...] = ()
    clicked: tuple[float, float] | None = None
    near: tuple[float, float] | None = None
    hd95: float | None = None


@dataclass(frozen=True)
class TargetResult:
    """All rounds of one target; axis, slice and box in (k, j, i). largest_part: share of its largest connected part."""

    target: Target
    axis: int
    box: Box
    largest_part: float
    rounds: tuple[RoundScore, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything, in plain words."""
        return asdict(self)

    @classmethod
    def from_json(cls, words: dict[str, Any]) -> TargetResult:
        """From the words of `to_json`. Raises KeyError or TypeError where they are something else."""
        box = Box(words["box"]["axis"], tuple(words["box"]["lower"]), tuple(words["box"]["upper"]))
        rounds = tuple(_round_score(score) for score in words["rounds"])
        return cls(Target(**words["target"]), words["axis"], box, words["largest_part"], rounds)


def _round_score(words: dict[str, Any]) -> RoundScore:
    click = tuple(words["click"]) if words["click"] else None
    judged = tuple((int(n), float(predicted), float(iou)) for n, predicted, iou in words["judged"])
    # A result of an older version has no such figures.
    pairs = {name: tuple(words[name]) if words.get(name) else None for name in ("clicked", "near")}
    return RoundScore(**{**words, "click": click, "judged": judged, **pairs})


def result_file(out: Path, protocol: Protocol, target: Target) -> Path:
    """Where the result of one target is kept: apart for every method, memory and way to choose slices."""
    return out / "targets" / "-".join(protocol.ways) / f"{target.case}-{target.label}.json"


def keep(file: Path, protocol: Protocol, result: TargetResult) -> None:
    """Write a result, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    words = {"protocol": asdict(protocol), "result": result.to_json()}
    unfinished.write_text(json.dumps(words) + "\n", encoding="utf-8")
    unfinished.replace(file)


def kept(file: Path, protocol: Protocol) -> TargetResult | None:
    """The result in `file`; None where there is none, or one of another protocol or version."""
    if not file.is_file():
        return None
    try:
        words = json.loads(file.read_text(encoding="utf-8-sig"))
        # An older result lacks what was not a choice then: it was made with what is left out.
        return TargetResult.from_json(words["result"]) if type(protocol)(**words["protocol"]) == protocol else None
    except (ValueError, RecursionError, KeyError, TypeError):
        return None

"""What the model in the box is asked to reach on real volumes, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CLICKS = 5
"""Corrections after which the bars are read."""
ADVICE_CLICKS = 3


@dataclass(frozen=True)
class Bar:
    """One thing asked for. aim: beyond what is asked. holds: None where this run did not measure it."""

    what: str
    wanted: str
    reached: str
    holds: bool | None
    aim: bool = False


def bars(
    figures: Mapping[str, Any], best: Mapping[str, Mapping[str, Any]], advice: Mapping[str, Mapping[str, Any]]
) -> list[Bar]:
    """Hold the figures of a run against what is asked.

    figures: of `summarise`; best: of `best_baselines`; advice: figures of all targets by how slices were chosen.
    """
    found = [*_gains(figures["all"]["against_baseline"]), *_compact(figures.get("compact"))]
    for name, words in best.items():
        found += [_not_worse(name, words[when]) for when in ("box", "clicks")]
    return [*found, *_advice(advice), *_speed(figures["all"]), *_aims(figures["all"])]


def _at_least(what: str, value: float | None, wanted: float, aim: bool = False, sign: str = "") -> Bar:
    if value is None:
        return Bar(what, f">= {wanted:{sign}.2f}", "not measured", None, aim)
    return Bar(what, f">= {wanted:{sign}.2f}", f"{value:{sign}.3f}", value >= wanted, aim)


def _at_most(what: str, value: float | None, wanted: str, limit: float, shown: str, aim: bool = False) -> Bar:
    if value is None:
        return Bar(what, f"<= {wanted}", "not measured", None, aim)
    return Bar(what, f"<= {wanted}", shown, value <= limit, aim)


def _at(values: list[float] | None, n: int) -> float | None:
    return values[n] if values is not None and n < len(values) else None


def _gains(gains: Mapping[str, Any] | None) -> list[Bar]:
    dice = gains["dice_gain"] if gains else None
    better = _at(gains["dice_better"], CLICKS) if gains else None
    share = "not measured" if better is None else f"{100 * better:.0f} %"
    return [
        _at_least("gain of Dice over grow-cut after the box, in pairs", _at(dice, 0), 0.15, sign="+"),
        _at_least(f"the same after {CLICKS} clicks", _at(dice, CLICKS), 0.12, sign="+"),
        Bar(
            f"better than grow-cut after {CLICKS} clicks",
            ">= 85 % of targets",
            share,
            None if better is None else better >= 0.85,
        ),
    ]


def _compact(figures: Mapping[str, Any] | None) -> list[Bar]:
    dice = figures["dice"] if figures else None
    return [
        _at_least("Dice of compact targets after the box", _at(dice, 0), 0.72),
        _at_least(f"the same after {CLICKS} clicks", _at(dice, CLICKS), 0.85),
    ]


def _not_worse(modality: str, words: Mapping[str, Any]) -> Bar:
    when = "after the box" if words["round"] == 0 else f"after {words['round']} clicks"
    wanted = f">= {words['best']:.3f} ({words['method']})"
    return Bar(f"{modality}: Dice {when}", wanted, f"{words['ours']:.3f}", words["ours"] >= words["best"])


def _advice(advice: Mapping[str, Mapping[str, Any]]) -> list[Bar]:
    dice = {name: _at(figures["dice"], ADVICE_CLICKS) for name, figures in advice.items()}
    truth, quality, chance = (dice.get(name) for name in ("truth", "quality", "random"))
    share = None if truth is None or quality is None else quality / truth
    above = None if quality is None or chance is None else quality > chance
    return [
        _at_least(f"Dice after {ADVICE_CLICKS} clicks, slice by predicted quality over slice by truth", share, 0.95),
        Bar(
            "the same above a slice drawn by chance",
            "above" if chance is None else f"> {chance:.3f}",
            "not measured" if quality is None else f"{quality:.3f}",
            above,
        ),
    ]


def _speed(figures: Mapping[str, Any]) -> list[Bar]:
    box, click = figures["median_seconds_box"], figures["median_seconds_correction"]
    pace = 1000 * figures["seconds_per_slice"]
    return [
        _at_most("first round, median", box, "3 s", 3.0, f"{box:.2f} s"),
        _at_most("correction, median", click, "1 s", 1.0, f"{click:.2f} s"),
        _at_most("propagation", pace, "40 ms a slice", 40.0, f"{pace:.0f} ms"),
    ]


def _aims(figures: Mapping[str, Any]) -> list[Bar]:
    clicks = figures["noc85"]["clicks"] if len(figures["dice"]) > CLICKS else None
    return [
        _at_least("Dice of all targets after the box", figures["dice"][0], 0.75, aim=True),
        _at_least(f"the same after {CLICKS} clicks", _at(figures["dice"], CLICKS), 0.88, aim=True),
        _at_least("NSD of all targets after the box", figures["nsd"][0], 0.78, aim=True),
        _at_least(f"the same after {CLICKS} clicks", _at(figures["nsd"], CLICKS), 0.90, aim=True),
        _at_most("clicks to Dice 0.85", clicks, "2.5", 2.5, "" if clicks is None else f"{clicks:.2f}", aim=True),
        _at_least("Dice on the prompted slice after the box", figures["prompted_dice"][0], 0.88, aim=True),
    ]

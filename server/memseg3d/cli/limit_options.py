"""Reads what bounds segments from the command line: --limits, --range, --not, --between, and objects kept apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from memseg3d.files import Geometry
    from memseg3d.propagation.prompts.limits import SliceLimits
    from memseg3d.propagation.prompts.object_limits import ObjectLimits, OtherSegments
    from memseg3d.propagation.prompts.prompts import Prompt

RANGE_FORM = "low,high or NAME:low,high"

RangeOption = Annotated[
    list[str] | None,
    typer.Option("--range", help=f"{RANGE_FORM}: grey values that a segment's voxels have at most (HU in CT)."),
]
NotOption = Annotated[
    list[Path] | None,
    typer.Option("--not", metavar="LABELS", help="Label file on the volume's grid: no segment has a voxel of it."),
]
BetweenOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Fill the segment between its outermost prompted slices, and not beyond."),
]
ApartOption = Annotated[
    bool, typer.Option("--apart", help="Segments one after the other, each outside of those that came before it.")
]


@dataclass(frozen=True)
class LimitTexts:
    """What the command line says of the bounds of segments, apart from --limits."""

    ranges: Sequence[str] = ()
    others: Sequence[Path] = ()
    between: Sequence[str] = ()
    apart: bool = False

    @property
    def is_empty(self) -> bool:
        """True where nothing is bounded."""
        return not (self.ranges or self.others or self.between or self.apart)


@dataclass(frozen=True)
class Step:
    """One round of a command: prompts, and limits by object."""

    prompts: list[Prompt]
    limits: dict[int, ObjectLimits] = field(default_factory=dict)


def steps_of(
    prompts: Sequence[Prompt],
    texts: LimitTexts,
    slices: Mapping[int, SliceLimits],
    numbers: Mapping[str, int],
    geometry: Geometry,
) -> Iterator[Step]:
    """The rounds that the command asks for: one, or with --apart one a segment. Raises BadParameter, CaseError.

    slices: limits of slices by object; numbers: objects by name.
    """
    limits = read_limits(texts, slices, numbers, [prompt.object for prompt in prompts], geometry)
    if not texts.apart:
        yield Step(list(prompts), limits)
        return
    before: tuple[int, ...] = ()
    for number in dict.fromkeys(prompt.object for prompt in prompts):
        yield Step([each for each in prompts if each.object == number], _apart(limits, number, before))
        before = (*before, number)


def _apart(limits: Mapping[int, ObjectLimits], number: int, before: tuple[int, ...]) -> dict[int, ObjectLimits]:
    from memseg3d.propagation.prompts.object_limits import ObjectLimits, OtherSegments

    own = limits.get(number, ObjectLimits())
    if before:
        own = replace(own, others=replace(own.others or OtherSegments(), objects=before))
    return {number: own} if own != ObjectLimits() else {}


def read_limits(
    texts: LimitTexts,
    slices: Mapping[int, SliceLimits],
    numbers: Mapping[str, int],
    objects: Sequence[int],
    geometry: Geometry,
) -> dict[int, ObjectLimits]:
    """Limits by object number. Raises `typer.BadParameter`."""
    from memseg3d.propagation.prompts.object_limits import ObjectLimits

    ranges = dict(part for text in texts.ranges for part in _range(text, numbers, objects).items())
    between = {_number(name, numbers, "--between") for name in texts.between}
    others = _others(texts.others, geometry)
    found = {
        number: ObjectLimits(slices.get(number), number in between, ranges.get(number), others)
        for number in dict.fromkeys(objects)
    }
    return {number: each for number, each in found.items() if each != ObjectLimits()}


def _range(text: str, numbers: Mapping[str, int], objects: Sequence[int]) -> dict[int, tuple[float, float]]:
    name, colon, values = text.rpartition(":")
    try:
        low, high = (float(part) for part in values.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text}: write {RANGE_FORM}.", param_hint="--range") from error
    if not low <= high:
        raise typer.BadParameter(f"{text}: give the lower number first.", param_hint="--range")
    named = [_number(name.strip(), numbers, "--range")] if colon else objects
    return dict.fromkeys(named, (low, high))


def _number(name: str, numbers: Mapping[str, int], option: str) -> int:
    if name not in numbers:
        raise typer.BadParameter(f"No prompt is for '{name}'.", param_hint=option)
    return numbers[name]


def _others(files: Sequence[Path], geometry: Geometry) -> OtherSegments | None:
    """All labels of the files together."""
    import numpy as np

    from memseg3d.cases.prompt_files import labels_on
    from memseg3d.propagation.prompts.object_limits import OtherSegments

    if not files:
        return None
    voxels = np.zeros(geometry.shape, bool)
    for path in files:
        voxels |= labels_on(path, geometry, "--not") != 0
    return OtherSegments.of_voxels(voxels)

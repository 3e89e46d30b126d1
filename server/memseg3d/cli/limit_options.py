"""What bounds segments, as `segment` and `refine` are told it, and the rounds that it makes of their prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from memseg3d.cli.case_options import LIMITS_FORM, RANGE_FORM

if TYPE_CHECKING:
    from memseg3d.files import Geometry
    from memseg3d.propagation.prompts.limits import SliceLimits
    from memseg3d.propagation.prompts.object_limits import ObjectLimits, OtherSegments
    from memseg3d.propagation.prompts.prompts import Prompt


@dataclass(frozen=True)
class LimitTexts:
    """What the command line says of the bounds of segments; None: nothing."""

    slices: Sequence[str] | None = None
    ranges: Sequence[str] | None = None
    others: Sequence[Path] | None = None
    between: Sequence[str] | None = None
    apart: bool = False

    @property
    def is_empty(self) -> bool:
        """True where nothing is bounded."""
        return not (self.slices or self.ranges or self.others or self.between or self.apart)


@dataclass(frozen=True)
class Round:
    """One round of a command: prompts, ids of those taken back, and limits by object."""

    prompts: list[Prompt]
    removed: list[str]
    limits: dict[int, ObjectLimits] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What a command asks for. names: objects by name; removed: objects of the prompts taken back, by their ids;
    axis: that the user names; axes: of the objects that stand.
    """

    prompts: Sequence[Prompt]
    names: Mapping[str, int]
    geometry: Geometry
    axis: int | None = None
    removed: Mapping[str, int] = field(default_factory=dict)
    axes: Mapping[int, int] = field(default_factory=dict)

    @property
    def objects(self) -> list[int]:
        """The objects that it changes, in the order of their numbers."""
        return sorted({prompt.object for prompt in self.prompts} | set(self.removed.values()))

    def number(self, name: str, option: str) -> int:
        """The object of a name. Raises `typer.BadParameter` for one that is not changed."""
        number = self.names.get(name.strip())
        if number not in self.objects or number is None:
            raise typer.BadParameter(f"No prompt of this round is for '{name.strip()}'.", param_hint=option)
        return number


def rounds_of(asked: Asked, texts: LimitTexts) -> Iterator[Round]:
    """The rounds that a command asks for: one, or with --apart one a segment. Raises BadParameter, CaseError."""
    limits = _limits(asked, texts)
    if not texts.apart:
        yield Round(list(asked.prompts), list(asked.removed), limits)
        return
    for number in asked.objects:
        yield Round(
            [prompt for prompt in asked.prompts if prompt.object == number],
            [name for name, each in asked.removed.items() if each == number],
            _apart(limits, number, tuple(sorted(each for each in {*asked.axes, *asked.objects} if each < number))),
        )


def _apart(limits: Mapping[int, ObjectLimits], number: int, before: tuple[int, ...]) -> dict[int, ObjectLimits]:
    from memseg3d.propagation.prompts.object_limits import ObjectLimits, OtherSegments

    own = limits.get(number, ObjectLimits())
    if before:
        own = replace(own, others=replace(own.others or OtherSegments(), objects=before))
    return {number: own} if own != ObjectLimits() else {}


def _limits(asked: Asked, texts: LimitTexts) -> dict[int, ObjectLimits]:
    """Limits by object number."""
    from memseg3d.cases.drafts import SegmentNames
    from memseg3d.propagation.prompts.object_limits import ObjectLimits
    from memseg3d.propagation.volume.errors import PropagationError

    slices = dict(_slices(text, asked) for text in texts.slices or ())
    for number, each in slices.items():
        try:
            each.check(number, asked.geometry.shape, [prompt for prompt in asked.prompts if prompt.object == number])
        except PropagationError as error:
            raise typer.BadParameter(SegmentNames(dict(asked.names)).said(error), param_hint="--limits") from error
    ranges = dict(part for text in texts.ranges or () for part in _range(text, asked).items())
    between = {asked.number(name, "--between") for name in texts.between or ()}
    others = _others(texts.others or (), asked.geometry)
    found = {
        number: ObjectLimits(slices.get(number), number in between, ranges.get(number), others)
        for number in asked.objects
    }
    _check_between(found, asked)
    return {number: each for number, each in found.items() if each != ObjectLimits()}


def _check_between(limits: Mapping[int, ObjectLimits], asked: Asked) -> None:
    """Raise `typer.BadParameter` where a new segment is shown on too few slices to lie between them."""
    from memseg3d.cases.drafts import SegmentNames
    from memseg3d.propagation.prompts.sets import propagation_axis
    from memseg3d.propagation.volume.errors import PropagationError

    for number, each in limits.items():
        # Of one that stands already, the prompts of earlier rounds count too.
        if number not in asked.axes:
            own = [prompt for prompt in asked.prompts if prompt.object == number]
            try:
                each.placed(own, propagation_axis(own, asked.axis), number)
            except PropagationError as error:
                sentence = SegmentNames(dict(asked.names)).said(error)
                raise typer.BadParameter(sentence, param_hint="--between") from error


def _slices(text: str, asked: Asked) -> tuple[int, SliceLimits]:
    """Of one --limits, along the axis of the object's propagation."""
    from memseg3d.propagation.prompts.limits import SliceLimits
    from memseg3d.propagation.prompts.sets import propagation_axis

    name, colon, numbers = text.rpartition(":")
    first, dash, last = numbers.partition("-")
    if not (colon and dash and first.strip().isdecimal() and last.strip().isdecimal()):
        raise typer.BadParameter(f"{text}: write {LIMITS_FORM}, slices from 0.", param_hint="--limits")
    number = asked.number(name, "--limits")
    before = asked.axes.get(number, asked.axis)
    own = [prompt for prompt in asked.prompts if prompt.object == number]
    along = propagation_axis(own, before) if own else before or 0
    return number, SliceLimits(along, int(first), int(last))


def _range(text: str, asked: Asked) -> dict[int, tuple[float, float]]:
    name, colon, values = text.rpartition(":")
    try:
        low, high = (float(part) for part in values.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text}: write {RANGE_FORM}.", param_hint="--range") from error
    if not low <= high:
        raise typer.BadParameter(f"{text}: give the lower number first.", param_hint="--range")
    named = [asked.number(name, "--range")] if colon else asked.objects
    return dict.fromkeys(named, (low, high))


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

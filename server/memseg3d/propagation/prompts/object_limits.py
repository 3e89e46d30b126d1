"""All that bounds one object in a round: slices, grey values, and voxels of other segments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from memseg3d.propagation.masks.labelmaps import Delta, LabelVolume
from memseg3d.propagation.prompts.covered_voxels import Shape3
from memseg3d.propagation.prompts.limits import SliceLimits
from memseg3d.propagation.prompts.prompts import Prompt, PromptError, is_positive
from memseg3d.propagation.prompts.sets import by_slice
from memseg3d.propagation.volume.packed_bits import check_packed

_SLICES = ("axis", "first", "last")


@dataclass(frozen=True)
class OtherSegments:
    """What other segments hold, and the object therefore does not.

    objects: of the same session, as they stand when the round begins. voxels: further ones, as a change of an empty
    labelmap.
    """

    objects: tuple[int, ...] = ()
    voxels: Delta = field(default_factory=partial(Delta, None))

    @classmethod
    def of_voxels(cls, voxels: np.ndarray, objects: Sequence[int] = ()) -> OtherSegments:
        """Those of a boolean (k, j, i) array of the whole volume."""
        masks = {index: np.packbits(mask, axis=1) for index, mask in enumerate(voxels) if mask.any()}
        k, j, i = voxels.shape
        return cls(tuple(objects), LabelVolume((k, j, i)).delta_to(0, masks))

    def check(self, shape: Shape3) -> None:
        """Raise `PromptError` unless the voxels lie in a volume of (k, j, i) `shape`."""
        if self.voxels.extent is None:
            return
        for (low, high), size in zip(self.voxels.extent, shape, strict=True):
            if not 0 <= low < high <= size:
                raise PromptError(
                    f"The voxels of other segments lie in {[list(pair) for pair in self.voxels.extent]}, outside the "
                    f"volume of {' x '.join(map(str, shape))}: send them on the volume's own grid."
                )
        (k0, k1), (j0, j1), (i0, i1) = self.voxels.extent
        try:
            check_packed(self.voxels.bits, (k1 - k0, j1 - j0, i1 - i0))
        except ValueError as error:
            raise PromptError(f"The voxels of other segments cannot be read: {error}") from error


@dataclass(frozen=True)
class ObjectLimits:
    """Every part may be missing.

    slices: outside of them the round changes no voxel. between: nor outside the outermost slices with a prompt that
    shows the object. grey_values: (low, high) in the volume's own unit, both included: no other voxel is the object's.
    others: no voxel of theirs is.
    """

    slices: SliceLimits | None = None
    between: bool = False
    grey_values: tuple[float, float] | None = None
    others: OtherSegments | None = None

    def check(self, number: int, shape: Shape3, added: Sequence[Prompt]) -> None:
        """Raise `PromptError` unless the limits fit a volume of (k, j, i) `shape` and the object's new prompts."""
        if self.slices is not None:
            self.slices.check(number, shape, added)
        if self.grey_values is not None:
            low, high = self.grey_values
            if not (math.isfinite(low) and math.isfinite(high)) or low > high:
                raise PromptError(
                    f"The intensity range of object {number} is {low:g} to {high:g}: give the lower number first."
                )
        if self.others is not None:
            if number in self.others.objects:
                raise PromptError(f"Object {number} cannot lie outside of itself: leave it out of its `outside`.")
            self.others.check(shape)

    def placed(self, prompts: Sequence[Prompt], axis: int, number: int) -> ObjectLimits:
        """The limits with `between` as slices, for an object whose prompts then are `prompts`, propagated along `axis`.

        Raises `PromptError` where fewer than two slices show it.
        """
        if not self.between:
            return self
        shown = [index for index, each in by_slice(prompts, axis).items() if any(is_positive(one) for one in each)]
        if len(set(shown)) < 2:
            raise PromptError(
                f"Between two slices needs two: object {number} is shown on {len(set(shown))} along axis {axis}. "
                "Prompt or draw it on another slice as well."
            )
        first, last = min(shown), max(shown)
        if self.slices is not None and self.slices.axis == axis:
            first, last = max(first, self.slices.first), min(last, self.slices.last)
        return replace(self, slices=SliceLimits(axis, first, last), between=False)

    def to_json(self) -> dict[str, Any]:
        """The wire's JSON object."""
        words: dict[str, Any] = {} if self.slices is None else dict(self.slices.to_json())
        if self.between:
            words["between"] = True
        if self.grey_values is not None:
            words["range"] = list(self.grey_values)
        if self.others is not None:
            words["outside"] = {"objects": list(self.others.objects), **self.others.voxels.to_json()}
        return words


def limits_of(given: Mapping[int, SliceLimits | ObjectLimits]) -> dict[int, ObjectLimits]:
    """Limits by object, slices alone among them."""
    return {
        number: ObjectLimits(slices=each) if isinstance(each, SliceLimits) else each for number, each in given.items()
    }


def limits_from_json(data: Mapping[str, Mapping[str, Any]]) -> dict[int, ObjectLimits]:
    """Limits by object from the wire's JSON object. Raises `PromptError`."""
    try:
        return {int(number): _limits(words) for number, words in data.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PromptError(
            f"Limits are axis, first and last (whole numbers), between, range and outside by object; {error} is not."
        ) from error


def _limits(words: Mapping[str, Any]) -> ObjectLimits:
    slices, grey_values, others = None, None, None
    # Clients may write out what they leave open.
    if any(words.get(name) is not None for name in _SLICES):
        slices = SliceLimits(*(_whole(words[name]) for name in _SLICES))
    if words.get("range") is not None:
        low, high = words["range"]
        grey_values = float(low), float(high)
    if words.get("outside") is not None:
        given = words["outside"]
        objects = tuple(_whole(each) for each in given.get("objects") or ())
        others = OtherSegments(objects, Delta.from_json({"extent": given.get("extent"), "bits": given.get("bits")}))
    return ObjectLimits(slices, bool(words.get("between", False)), grey_values, others)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(repr(value))
    return value

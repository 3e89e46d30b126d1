"""The session options of the wire protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.propagation.volume.window import Window

RegionMode = Literal["auto", "crop", "whole"]
BankMode = Literal["independent", "shared"]

POLICIES = ("default", "stm", "self_sorting", "quality", "distractor", "motion", "tree")
"""Names of the memory policies (`propagation/memory/policies`); "default" is what the network was trained with."""

DEFAULT_TOLERANCE = 0.05


class OptionsError(PropagationError):
    """An option is unknown or has a value that it cannot have."""

    def __init__(self, message: str) -> None:
        super().__init__("bad_options", message)


@dataclass(frozen=True)
class Options:
    """How a session segments.

    window: (low, high) grey values, None: automatic. axis: propagation axis of objects that only have points, None:
    that of the first point. region: "whole" slices, a "crop" that follows the object, or "auto": what the network
    prefers; a network that takes smaller images (SAM 2) sees crops with as few pixels as leave them as sharp as the
    whole slice. first, last: limits along the propagation axis, inclusive. reach: propagation goes no further from a
    drawn slice than so many times the larger side of its box (in mm), and a quarter of that from clicks elsewhere;
    None: as far as the object seems to go. bidirectional: "independent" directions, or one
    "shared" memory bank (backward reads what forward has stored, as the official SAM 2 predictor does).
    consensus: propagate along the two other axes as well, and let the three vote on every voxel.
    memory: name of the memory policy (`propagation/memory/policies`), "default": what the network was trained with.
    tolerance: a correction goes no further than to where the masks of a few slices in a row differ from the last
    round's by no more than so much (1 - intersection over union); 0: always on to the next prompted slice or the
    object's end.
    key_slices: the network computes every other slice, and one between two that agree is interpolated from both.
    """

    window: tuple[float, float] | None = None
    axis: int | None = None
    region: RegionMode = "auto"
    first: int | None = None
    last: int | None = None
    reach: float | None = None
    bidirectional: BankMode = "independent"
    memory: str = "default"
    consensus: bool = False
    tolerance: float = DEFAULT_TOLERANCE
    key_slices: bool = False

    def __post_init__(self) -> None:
        if self.window is not None:
            Window(*self.window)
        if self.axis not in (None, 0, 1, 2) or isinstance(self.axis, bool | float):
            raise OptionsError(f"Option axis must be 0, 1 or 2; it is {self.axis!r}.")
        if self.region not in get_args(RegionMode):
            raise OptionsError(
                f"Option region must be one of {', '.join(get_args(RegionMode))}; it is {self.region!r}."
            )
        if self.bidirectional not in get_args(BankMode):
            raise OptionsError(f"Option bidirectional must be independent or shared; it is {self.bidirectional!r}.")
        if not isinstance(self.consensus, bool):
            raise OptionsError(f"Option consensus must be true or false; it is {self.consensus!r}.")
        if not isinstance(self.key_slices, bool):
            raise OptionsError(f"Option key_slices must be true or false; it is {self.key_slices!r}.")
        if self.memory not in POLICIES:
            raise OptionsError(f"Option memory must be one of {', '.join(POLICIES)}; it is {self.memory!r}.")
        if self.reach is not None and not (_is_number(self.reach) and 0 < self.reach < float("inf")):
            raise OptionsError(f"Option reach must be a number above 0; it is {self.reach!r}.")
        if not _is_number(self.tolerance) or not 0 <= self.tolerance < 1:
            raise OptionsError(f"Option tolerance must be a number from 0 to below 1; it is {self.tolerance!r}.")
        for name in ("first", "last"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise OptionsError(f"Option {name} must be a slice index from 0; it is {value!r}.")
        if self.first is not None and self.last is not None and self.first > self.last:
            raise OptionsError(f"Option first ({self.first}) must not lie beyond last ({self.last}).")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Options:
        """Options from a JSON object; unknown names raise `OptionsError`."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise OptionsError(f"Unknown option {unknown[0]!r}; known are {', '.join(sorted(known))}.")
        values = dict(data)
        if values.get("window") is not None:
            values["window"] = _window(values["window"])
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """JSON object that `from_json` reads."""
        data = asdict(self)
        if self.window is not None:
            data["window"] = list(self.window)
        return data

    def limits(self, slice_count: int) -> tuple[int, int]:
        """First and last slice (inclusive) that may be segmented along an axis of `slice_count` slices."""
        first = 0 if self.first is None else min(self.first, slice_count - 1)
        last = slice_count - 1 if self.last is None else min(self.last, slice_count - 1)
        return first, last


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _window(value: Any) -> tuple[float, float]:
    if (
        not isinstance(value, list | tuple)
        or len(value) != 2
        or not all(isinstance(edge, int | float) for edge in value)
    ):
        raise OptionsError(f"Option window must be two numbers [low, high]; it is {value!r}.")
    return float(value[0]), float(value[1])

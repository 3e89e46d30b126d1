"""What a run of Mem3D's protocol depends on; results of another protocol are not taken over when it is resumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from memseg3d.evaluation.results import Protocol
from memseg3d.network.mem3d.shapes import KINDS

CAP = 5
"""Slices that a round of the release corrects at most, the prompted one among them."""
Small = Literal["judged", "fine"]
Extent = Literal["object", "whole"]
Prompted = Literal["one", "every"]
MASK = "mask"
"""Instead of an interaction network: the truth of the prompted slice, for models of a memory network alone."""


@dataclass(frozen=True)
class Mem3dProtocol(Protocol):
    """`corrections` is the release's refine_time; `advice` chooses the slice of a round.

    interaction: the network that answers the prompts, or `mask`. cap: slices a round corrects at most, 0: all between
    the neighbouring annotated ones. small: slices of 100 sure pixels or fewer count as fine (as in the release), or as
    they were judged. extent: of the slices that are segmented: those of the object, as the release has it, or all.
    every: a slice of so many stays in memory. shaken: as in the release the prompted slice is the middle one, give or
    take 2. prompted: one slice, or every slice that shows the object, which judges an interaction network alone.
    """

    interaction: str = "dextr"
    cap: int = CAP
    small: Small = "judged"
    extent: Extent = "object"
    every: int = 5
    shaken: bool = True
    label: int = 1
    prompted: Prompted = "one"

    @property
    def title(self) -> str:
        """Heading of a report."""
        return "Mem3D: one prompted slice, then rounds on advised slices"

    @property
    def story(self) -> str:
        """What is done, in a sentence."""
        reach = f"at most {self.cap} slices a round" if self.cap else "as far as the neighbouring annotated slices"
        if self.prompted == "every":
            return f"Every slice of the object is prompted ({self.interaction})."
        slices = "of the object's slices" if self.extent == "object" else "of all slices"
        return (
            f"One slice in the middle {slices} is prompted ({self.interaction}), then {self.corrections} rounds; the "
            f"slice of a round is chosen by {self.advice}, {reach}."
        )

    @property
    def ways(self) -> list[str]:
        """Model, advice, interaction, and what is not as by default."""
        ways = [*super().ways, self.interaction]
        ways += [f"cap{self.cap}"] if self.cap != CAP else []
        usual = ("judged", "object", "one")
        return ways + [word for word in (self.small, self.extent, self.prompted) if word not in usual]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.interaction not in (*KINDS, MASK):
            raise ValueError(f"Interaction is one of {', '.join((*KINDS, MASK))}, not {self.interaction}.")
        if self.small not in get_args(Small) or self.extent not in get_args(Extent):
            raise ValueError("Small slices are judged or fine; the extent is object or whole.")
        if self.cap < 0 or self.every < 1:
            raise ValueError("The cap is 0 (none) or more, and one slice of 1 or more stays in memory.")

"""The prompts of wire protocol 1 and the limits of a round, as requests write them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, model_validator

PROMPTS = ["point", "box", "mask", "box3d", "scribble", "lasso", "extreme_points", "voxels"]
"""Every type of prompt that this worker takes."""


def _whole(value: Any) -> Any:
    """JSON has one kind of numbers: 7.0 is the whole number 7."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Axis = Annotated[Literal[0, 1, 2], BeforeValidator(_whole)]
# The validator comes last: bounds behind it are lost to the schema.
ObjectId = Annotated[
    int,
    Field(ge=1, le=65535, strict=True, description="Chosen by the client; no name ever travels."),
    BeforeValidator(_whole),
]
Position = Annotated[
    tuple[FiniteFloat, FiniteFloat, FiniteFloat], Field(description="(k, j, i), voxel centres at integers.")
]
Line = Annotated[list[Position], Field(min_length=1, max_length=4000)]
Voxel = Annotated[int, Field(strict=True, ge=-(2**31), le=2**31), BeforeValidator(_whole)]
Range = Annotated[tuple[Voxel, Voxel], Field(description="Half-open: first voxel, voxel after the last.")]
Extent = tuple[Range, Range, Range]
Bits = Annotated[str, Field(description="numpy.packbits of the extent, zlib, base64.")]
PromptId = Annotated[str, Field(min_length=1, max_length=200)]
SliceIndex = Annotated[int, Field(ge=0, le=2**31, strict=True), BeforeValidator(_whole)]


class Request(BaseModel):
    """A request body: unknown names are errors, so that a misspelt option is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class PointPromptWords(Request):
    """A click. `axis`: the axis of the slice it was made on."""

    type: Literal["point"]
    object: ObjectId
    position: Position
    positive: bool = True
    axis: Axis = 0
    id: PromptId | None = None


class BoxPromptWords(Request):
    """A box on one slice: lower and upper corner (inclusive) agree along `axis`."""

    type: Literal["box"]
    object: ObjectId
    axis: Axis
    lower: Position
    upper: Position
    id: PromptId | None = None


class Box3DPromptWords(Request):
    """A box in space, corners inclusive; the object ends where it ends. `axis`: along which it is propagated."""

    type: Literal["box3d"]
    object: ObjectId
    axis: Axis
    lower: Position
    upper: Position
    id: PromptId | None = None


class ExtremePointsPromptWords(Request):
    """Four points on the object's edge on one slice across `axis`, and up to two on the slices where it ends."""

    type: Literal["extreme_points"]
    object: ObjectId
    axis: Axis
    points: Annotated[list[Position], Field(min_length=4, max_length=6)]
    id: PromptId | None = None


class ScribblePromptWords(Request):
    """A stroke on one slice across `axis`. `radii`: (k, j, i) half its width in voxels along each axis."""

    type: Literal["scribble"]
    object: ObjectId
    axis: Axis
    points: Line
    radii: Position
    positive: bool = True
    id: PromptId | None = None


class LassoPromptWords(Request):
    """A closed line on one slice across `axis`: the object is what is inside, or (negative) has no part of it."""

    type: Literal["lasso"]
    object: ObjectId
    axis: Axis
    points: Line
    positive: bool = True
    id: PromptId | None = None


class VoxelsPromptWords(Request):
    """Voxels that belong to the object, or (negative) do not; nothing is said about those without a bit.

    `axis`: across which they were drawn.
    """

    type: Literal["voxels"]
    object: ObjectId
    axis: Axis
    extent: Extent
    bits: Bits
    positive: bool = True
    id: PromptId | None = None


class MaskPromptWords(Request):
    """The user's own mask of one slice; empty outside `extent`. Without a bit: the object is not on this slice."""

    type: Literal["mask"]
    object: ObjectId
    axis: Axis
    extent: Extent
    bits: Bits
    id: PromptId | None = None


PromptWords = Annotated[
    PointPromptWords
    | BoxPromptWords
    | MaskPromptWords
    | Box3DPromptWords
    | ScribblePromptWords
    | LassoPromptWords
    | ExtremePointsPromptWords
    | VoxelsPromptWords,
    Field(discriminator="type"),
]


class OutsideWords(Request):
    """What other segments hold: objects of the session as they stand when the round begins, and voxels besides."""

    objects: Annotated[list[ObjectId], Field(max_length=1000)] = Field(default_factory=list)
    extent: Extent | None = None
    bits: Bits | None = None

    @model_validator(mode="after")
    def _are_together(self) -> OutsideWords:
        if (self.extent is None) != (self.bits is None):
            raise ValueError("extent and bits belong together: give both or neither")
        return self


class LimitsWords(Request):
    """What bounds an object in a round; axis, first and last come together, everything may be left out.

    first, last: the slices (inclusive) across `axis` between which the round may change it. between: nor does it change
    anything beyond the outermost slices with a prompt that shows the object. range: grey values (low, high, inclusive)
    of the volume that its voxels have. outside: voxels that it does not have.
    """

    axis: Axis | None = None
    first: SliceIndex | None = None
    last: SliceIndex | None = None
    between: bool = False
    range: tuple[FiniteFloat, FiniteFloat] | None = None
    outside: OutsideWords | None = None

    @model_validator(mode="after")
    def _are_together(self) -> LimitsWords:
        if len({each is None for each in (self.axis, self.first, self.last)}) > 1:
            raise ValueError("axis, first and last belong together: give all three or none")
        return self

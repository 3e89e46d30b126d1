"""The words of wire protocol 1: what requests and answers look like; OpenAPI is made from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from memseg3d.propagation.prompts.options import DEFAULT_TOLERANCE
from memseg3d.service.prompt_words import (
    PROMPTS,
    Axis,
    Extent,
    LimitsWords,
    ObjectId,
    PromptId,
    PromptWords,
    Request,
    SliceIndex,
)

PROTOCOLS = [1]
FEATURES = [
    *("limits", "empty_mask", "hints", "memory", "consensus", "tolerance", "full"),
    *("between", "range", "outside", "weak_prompts", "key_slices"),
]
"""What a worker of protocol 1 may lack where it is older: a client looks here before it asks for it."""

MemoryName = Literal["default", "stm", "self_sorting", "quality", "distractor", "motion", "tree"]
ObjectKey = Annotated[str, Field(pattern=r"^[1-9]\d{0,4}$", description="An object's number as text.")]


class OptionsWords(Request):
    """How a session segments; everything may be left out."""

    window: tuple[FiniteFloat, FiniteFloat] | None = None
    axis: Axis | None = None
    region: Literal["auto", "crop", "whole"] = "auto"
    first: SliceIndex | None = None
    last: SliceIndex | None = None
    reach: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    bidirectional: Literal["independent", "shared"] = "independent"
    memory: MemoryName = "default"
    consensus: bool = False
    tolerance: Annotated[float, Field(ge=0, lt=1)] = DEFAULT_TOLERANCE
    key_slices: bool = False


class SessionRequest(Request):
    """Opens a session on a volume."""

    volume: str
    options: OptionsWords = OptionsWords()
    id: UUID | None = None
    geometry: Annotated[
        str | None,
        Field(max_length=64, description="Of the uploaded file whose grid downloads get; default: the last one's."),
    ] = None


class RoundRequest(Request):
    """A round: new prompts, the ids of older ones that no longer hold, and what bounds the objects.

    full: objects that are computed anew from all their prompts.
    """

    # One without anything to do is refused as bad_prompt.
    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"minItems": 1}}} for name in ("prompts", "removed", "full")
            ]
        }
    )

    id: UUID
    prompts: list[PromptWords] = Field(default_factory=list)
    removed: Annotated[list[PromptId], Field(max_length=20_000)] = Field(default_factory=list)
    # A pattern of names alone would let others pass for described.
    limits: Annotated[
        dict[ObjectKey, LimitsWords], Field(max_length=1000, json_schema_extra={"additionalProperties": False})
    ] = Field(default_factory=dict)
    full: Annotated[list[ObjectId], Field(max_length=1000)] = Field(default_factory=list)


class HintRequest(Request):
    """Prompts that are being drawn and may still change; none: they are no longer."""

    prompts: list[PromptWords] = Field(default_factory=list)


class ErrorWords(BaseModel):
    """`code` for programs, `message` for people."""

    code: str
    message: str


class ErrorAnswer(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorWords


class Health(BaseModel):
    """The worker is up and speaks these protocols."""

    status: Literal["ok"] = "ok"
    protocols: list[int] = PROTOCOLS


class Ready(BaseModel):
    """New work is taken."""

    status: Literal["ready"] = "ready"


class ModelWords(BaseModel):
    """The network that the worker has loaded."""

    name: str
    sha256: str
    licence: str
    image_size: int
    precision: Annotated[str, Field(description="Of the network's numbers: fp32, bf16 or int8.")]
    backend: Annotated[str, Field(description="What computes it: torch, or another library with its version.")]


class Info(BaseModel):
    """What this worker is and what it allows."""

    name: Literal["memseg3d"] = "memseg3d"
    version: str
    protocols: list[int] = PROTOCOLS
    device: str
    device_name: str
    device_memory_bytes: int
    """0 where it is not known."""
    model: ModelWords
    prompts: list[str] = PROMPTS
    features: list[str] = FEATURES
    limits: dict[str, int]
    retention_hours: float


class UserCounts(BaseModel):
    """How much a user has on the worker. bytes: volumes and sessions on the disk, as if nobody else had the same."""

    user: str
    volumes: int
    sessions: int
    bytes: int


class Usage(UserCounts):
    """What the caller has and may have; null: no limit. users: of all, for administrators."""

    role: Literal["user", "administrator"]
    limits: dict[str, float | None]
    users: list[UserCounts] | None


class VolumeWords(BaseModel):
    """A volume that the worker keeps. shape: (k, j, i); spacing: (k, j, i) mm."""

    id: str
    shape: tuple[int, int, int]
    dtype: str
    spacing: tuple[float, float, float]
    geometry: Annotated[str | None, Field(description="Names the grid of the file that was uploaded last.")] = None


class ObjectWords(BaseModel):
    """An object's labelmap in two numbers."""

    voxels: int
    checksum: Annotated[str, Field(description="SHA-256 of numpy.packbits of the object over the whole volume.")]


class SuggestionWords(BaseModel):
    """The slice to look at next: where the network trusts its mask least."""

    axis: Axis
    index: int
    quality: float


RoundStatus = Literal["running", "closed", "undone", "dropped", "cancelled", "failed"]


class RoundWords(BaseModel):
    """A round of a session. `prompts`: how many it brought.

    closed: in the labelmaps. undone: can be redone. dropped: undone and then overtaken by another round.
    """

    id: str
    status: RoundStatus
    prompts: int


class SessionState(BaseModel):
    """A session: its rounds in order and its objects' labelmaps. `applied`: rounds that are in the labelmaps."""

    id: str
    volume: str
    options: dict[str, Any]
    running: str | None
    rounds: list[RoundWords]
    applied: int
    objects: dict[str, ObjectWords]
    suggested: dict[str, SuggestionWords]
    lost: Annotated[list[str], Field(description="What a damaged disk took of this session, a sentence each.")]


class SessionWords(BaseModel):
    """A session in the list. `volume` is empty where its files are damaged; `damaged` then says how."""

    id: str
    volume: str
    running: Annotated[str | None, Field(description="The round that runs.")]
    idle_seconds: Annotated[float, Field(description="Since it was used last.")]
    damaged: str | None


class SessionList(BaseModel):
    """The sessions that the caller may see, the one used last first."""

    sessions: list[SessionWords]


class SliceLine(BaseModel):
    """Replaces the object's whole mask on one slice; `extent` and `bits` null: now empty."""

    seq: int
    type: Literal["slice"]
    round: str
    object: int
    axis: Axis
    index: int
    extent: Extent | None
    bits: str | None
    quality: float
    prompted: bool


class QueueWords(BaseModel):
    """How a round stands among the others. ahead: rounds whose step comes before its next; rounds: all of them.

    seconds: an estimate, until the first mask while `phase` is queued or prompted, else until the end.
    """

    ahead: Annotated[int, Field(ge=0)]
    rounds: Annotated[int, Field(ge=2)]
    seconds: Annotated[float, Field(ge=0)] | None


class ProgressLine(BaseModel):
    """How far the round is; `total` may change. queue: while others are computed too."""

    seq: int
    type: Literal["progress"]
    round: str
    phase: Literal["queued", "prompted", "propagating"]
    done: int
    total: int
    queue: QueueWords | None = None


class ConsensusWords(BaseModel):
    """What the two other axes of a consensus took: slices decoded or tracked there, and seconds."""

    slices: int
    seconds: float


class WeakWords(BaseModel):
    """Prompts that were too weak for their slice: the mask there is not to be trusted. message: what to do."""

    axis: Axis
    index: int
    prompt: Literal["click", "clicks", "stroke", "box"]
    message: str


class RoundLine(BaseModel):
    """The round has ended."""

    seq: int
    type: Literal["round"]
    round: str
    status: Literal["closed", "cancelled"]
    objects: dict[str, ObjectWords]
    suggested: dict[str, SuggestionWords]
    seconds: float
    consensus: ConsensusWords | None = None
    weak: dict[str, WeakWords] | None = None


class ErrorLine(BaseModel):
    """The round has failed; the labelmaps are as they were before it."""

    seq: int
    type: Literal["error"]
    round: str
    code: str
    message: str


StreamLine = Annotated[SliceLine | ProgressLine | RoundLine | ErrorLine, Field(discriminator="type")]


class ChangedSlice(BaseModel):
    """A slice that an undo or a redo changed, as a `slice` line without `seq` and `round`."""

    type: Literal["slice"]
    object: int
    axis: Axis
    index: int
    extent: Extent | None
    bits: str | None
    quality: float | None
    prompted: bool


class ChangedState(SessionState):
    """A session's state after undo or redo, with the slices that changed."""

    changes: list[ChangedSlice]


class Deleted(BaseModel):
    """The thing is gone."""

    deleted: Literal[True] = True


class Cancelled(BaseModel):
    """No further `slice` line of the round is sent."""

    cancelled: Literal[True] = True


class Hinted(BaseModel):
    """accepted: False while a round of the session runs, which comes first."""

    accepted: bool

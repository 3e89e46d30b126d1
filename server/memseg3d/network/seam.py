"""The seam between propagation and networks: four calls (encode, attend, decode, remember) and their typed results.

Every tensor carries a leading batch axis B. Images and masks are (B, C, rows, columns) in network pixels: a square of
`NetworkInfo.image_size` S. Prompt coordinates are (x, y) = (column, row), pixel centres at integers, in that square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

POSITIVE, NEGATIVE, BOX_START, BOX_END = 1, 0, 2, 3
"""Point labels as SAM 2 numbers them; a box is the two points `BOX_START` (top left) and `BOX_END` (bottom right)."""


@dataclass(frozen=True)
class NetworkInfo:
    """What propagation must know of a network before it calls it."""

    name: str
    image_size: int
    """S, the side of the square input in pixels."""
    logit_size: int
    """Side of the low-resolution mask logits that `decode` returns."""
    memory_slots: int
    """How many memories `attend` reads at most besides the conditioning ones, plus one (7 for SAM 2)."""
    pointer_slots: int
    """How many object pointers `attend` reads at most (16 for SAM 2); 0 where the network has none."""
    prefers_crop: bool
    """True where the network was trained on regions around the object, False for whole slices."""
    coarse_size: int | None = None
    """Side of a smaller square that `encode` and an initial `decode` take as well, for looks that compare many crops.
    """
    smaller_sides: tuple[int, ...] = ()
    """Sides below `image_size`, ascending, that all four calls take as well, each with results in proportion: for crops
    that are as sharp with fewer pixels.
    """
    channels: int = 1
    """1: the slice in the session's window. 2: that, and the slice in a window centred on the object's intensities."""
    tracks_with_prior: bool = False
    """True where `decode` uses the last round's logits on slices without a prompt (SAM 2 was not trained so)."""
    corrects_with_prior: bool = True
    """False where clicks on a tracked slice are better decoded from memory alone than from the slice's last logits."""
    ending: tuple[float, float, float, float] | None = None
    """Weights of grey values' distance, of predicted quality, of the share within the mask before, and the constant, of
    the rule that says where an object ends (`propagation/rules/object_end.py`); None: no rule fits its quality head.
    """
    calibration: tuple[float, float, float] | None = None
    """Weights of predicted quality's logit, of the way from the nearest prompted slice, and the constant, of the rule
    that says what a predicted quality is worth (`propagation/rules/quality_calibration.py`); None: taken as it is.
    """
    clicks: tuple[float, ...] | None = None
    """Weights of the small network that says what a click means for the voxels about it
    (`propagation/rules/verdicts/verdict.py`); None: clicks say no more than the network makes of them.
    """
    tracked: tuple[float, ...] | None = None
    """Weights of the small network that says which voxels of a tracked slice are the object's, by what a prompted slice
    shows of it (`propagation/rules/verdicts/tracked.py`); None: what propagation finds stands.
    """
    boxes: tuple[float, ...] | None = None
    """Weights of the small network that says how likely a box leaves room about its object
    (`propagation/rules/verdicts/boxes.py`), of networks whose `decode` takes boxes for such ones where that is asked
    (`Prompts.roomy`); None: every box is taken as the network was taught.
    """
    memory_rule: str = ""
    """Name of the memory policy that the network was trained with, where its slots do not tell it (`stm`)."""
    reads_drawings: bool = False
    """True where `decode` takes strokes and extreme points as they were drawn, besides the clicks that stand for them.
    """
    sha256: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Features:
    """Image features of a batch of slices; depends on the image alone, so it can be cached.

    levels: tensors (B, C_l, S/s_l, S/s_l), finest first. What they mean is the network's own affair.
    """

    levels: tuple[Tensor, ...]


@dataclass(frozen=True)
class Prompts:
    """Prompts of one slice in network pixels.

    points: (B, N, 2) float, (x, y); labels: (B, N) int with the constants above, -1 pads.
    mask: (B, 1, S, S) float in [0, 1] or None: the user's own mask, taken over as it is.
    Only for networks that read drawings: extremes: (B, 4, 2) float, (x, y) of the object's extreme points as they were
    clicked; strokes: (B, 2, S, S) float in [0, 1], what positive and negative strokes cover.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    mask: Tensor | None = None
    extremes: Tensor | None = None
    strokes: Tensor | None = None
    roomy: bool = False

    @property
    def count(self) -> int:
        """Number of point tokens N (a box counts two)."""
        return 0 if self.points is None else int(self.points.shape[1])


@dataclass(frozen=True)
class Memory:
    """What the network keeps of one finished slice. Opaque to propagation.

    tensors: the network's own, each with batch axis B. pointer: (B, D) object pointer or None.
    """

    tensors: dict[str, Tensor]
    pointer: Tensor | None = None


@dataclass(frozen=True)
class MemoryRead:
    """One memory as a memory policy hands it to `attend`.

    slot: temporal slot of the spatial memory: 0 for a conditioning slice, 1 for the adjacent slice, 2 for the one
    beyond, ...; None where only the pointer is read. pointer_offset: signed distance in slices in the direction of
    propagation (positive: the memory lies behind), None where the pointer is not read.
    """

    memory: Memory
    slot: int | None
    pointer_offset: int | None = None


@dataclass(frozen=True)
class Conditioned:
    """Features after they have read the memories. `tensors` is the network's own."""

    features: Features
    tensors: dict[str, Tensor] = field(default_factory=dict)
    is_initial: bool = False
    """True where no memory was read (a conditioning slice that was never tracked)."""


@dataclass(frozen=True)
class Decoded:
    """Masks of one slice.

    logits: (B, M, h, w) low-resolution mask logits of the M candidates, h = w = `NetworkInfo.logit_size`.
    quality: (B, M) predicted IoU in [0, 1]. object_score: (B, 1) logit, > 0 where the object is present.
    chosen: (B,) index of the candidate that the network itself would take. pointers: (B, M, D) or None.
    Where the object is absent, `logits` already are strongly negative.
    """

    logits: Tensor
    quality: Tensor
    object_score: Tensor
    chosen: Tensor
    pointers: Tensor | None = None
    extras: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Network(Protocol):
    """A segmentation network as propagation sees it. Implementations are stateless between calls."""

    info: NetworkInfo

    def encode(self, images: Tensor) -> Features:
        """Features of images (B, `info.channels`, S, S) in [0, 1]; SAM 2 takes 1 channel (repeated) or 3 (RGB)."""
        ...

    def attend(self, features: Features, reads: Sequence[MemoryRead], slice_count: int) -> Conditioned:
        """Let `features` read the memories; no reads: an initial conditioning slice.

        slice_count: slices along the propagation axis (normalises SAM 2's pointer offsets).
        """
        ...

    def decode(self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None = None) -> Decoded:
        """Masks of the slice. prior: (B, 1, logit_size, logit_size) logits of the same object on the same slice, from
        the last click or the last round, or None.
        """
        ...

    def remember(
        self, features: Features, logits: Tensor, object_score: Tensor, pointer: Tensor | None, prompted: bool
    ) -> Memory:
        """Memory of a finished slice from raw features and chosen logits (B, 1, h, w), at low or image resolution."""
        ...

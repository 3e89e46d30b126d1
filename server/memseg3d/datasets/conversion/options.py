"""What can be asked of a conversion, and what each target makes of what was not asked."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from memseg3d.datasets.errors import DataSetError

PUBLISHED_THRESHOLD = 256


class Frames(StrEnum):
    """How 2D images are kept."""

    PNG = "png"
    JPEG = "jpeg"


class Scaling(StrEnum):
    """How grey values become those of 2D images. EXACT: as they are, in 8 or 16 bits, and told in the record.
    WINDOW: one window for the volume, 8 bits. SLICE: each slice from its own least to its own most, 8 bits.
    """

    EXACT = "exact"
    WINDOW = "window"
    SLICE = "slice"


@dataclass(frozen=True)
class Options:
    """What was asked. None: as the target has it.

    window: (low, high) grey values. threshold: of nii2video: only the slices from the first to the last with more
    labelled pixels. merge_labels: all labels become 1. labels: keep these alone, numbered anew from 1 in this order.
    channel: name or number of the one image to be taken. published: what the release of the target's method does, its
    quirks included. task: number of Mem3D's TaskNN. seed: of what the release draws at random.
    """

    frames: Frames | None = None
    scaling: Scaling | None = None
    window: tuple[float, float] | None = None
    threshold: int | None = None
    merge_labels: bool = False
    labels: tuple[int, ...] = ()
    published: bool = False
    task: int = 1
    seed: int = 0
    channel: str = ""

    @property
    def is_nii2video_release(self) -> bool:
        """Settled for a video as the release writes it; no other release merges labels."""
        return self.published and self.merge_labels

    def to_json(self) -> dict[str, Any]:
        """Plain values, by which a conversion is told from another one."""
        return asdict(self)


DEFAULTS: dict[str, tuple[Frames | None, Scaling | None]] = {
    "video": (Frames.PNG, Scaling.EXACT),
    "mem3d": (Frames.PNG, Scaling.WINDOW),
    "medical-sam2": (Frames.JPEG, Scaling.WINDOW),
    "cvpr25": (None, Scaling.WINDOW),
}
"""Frames and scaling of targets that keep less than a volume's grey values."""
PUBLISHED: dict[str, tuple[Frames, Scaling]] = {
    "video": (Frames.JPEG, Scaling.SLICE),
    "mem3d": (Frames.PNG, Scaling.SLICE),
}
"""What the releases write."""


def settle(target: str, asked: Options) -> Options:
    """The options, and the target's own where nothing was asked. Raises `DataSetError` for a contradiction."""
    if asked.published and target not in PUBLISHED:
        raise DataSetError(f"No release has a way of its own to write {target}; leave --published out.")
    if (asked.threshold is not None or asked.merge_labels) and target != "video":
        raise DataSetError(f"--threshold and --merge-labels belong to --to video, not to {target}.")
    frames, scaling = (PUBLISHED if asked.published else DEFAULTS).get(target, (None, None))
    if scaling is None and (asked.scaling or asked.window):
        raise DataSetError(f"{target} keeps volumes as they are; leave --scaling and --window out.")
    if frames is None and asked.frames:
        raise DataSetError(f"{target} keeps no 2D images; leave --frames out.")
    if target == "mem3d" and asked.frames is Frames.JPEG:
        raise DataSetError("Mem3D reads PNG alone; leave --frames out.")
    chosen_frames = asked.frames or frames
    chosen = asked.scaling or (Scaling.WINDOW if asked.window and not asked.published else scaling)
    if chosen_frames is Frames.JPEG and chosen is Scaling.EXACT:
        if asked.scaling is Scaling.EXACT:
            raise DataSetError("JPEG keeps 8 bits and changes them; choose --frames png, or another --scaling.")
        chosen = Scaling.SLICE
    if chosen is Scaling.EXACT and (target != "video" or asked.window):
        raise DataSetError(f"Exact grey values go to video frames as PNG, without a window; not to {target}.")
    if asked.window and not (asked.window[0] < asked.window[1] and all(map(math.isfinite, asked.window))):
        raise DataSetError("A window runs from its lower to its higher grey value, such as --window -160 240.")
    if len(set(asked.labels)) != len(asked.labels) or any(not 0 < label <= 65535 for label in asked.labels):
        raise DataSetError("Labels to keep are numbers from 1 to 65535, each named once.")
    threshold = PUBLISHED_THRESHOLD if asked.published and target == "video" else None
    return Options(
        chosen_frames,
        chosen,
        asked.window,
        asked.threshold if asked.threshold is not None else threshold,
        asked.merge_labels or (asked.published and target == "video"),
        asked.labels,
        asked.published,
        asked.task,
        asked.seed,
        asked.channel,
    )

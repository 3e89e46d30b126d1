"""The embedded network's configuration; it travels in the checkpoint's metadata."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

ENDING_WEIGHTS, CALIBRATION_WEIGHTS, CLICK_WEIGHTS, TRACKED_WEIGHTS, BOX_WEIGHTS = 4, 3, 593, 673, 753
"""Numbers in the five fitted rules."""
FIRST_MAPS, MAPS = 7, 9
"""Guidance maps of the first releases, whose configurations do not tell their number, and of networks trained now."""


@dataclass(frozen=True)
class NanoConfig:
    """Sizes of the embedded network. Widths are channels at strides 2, 4, 8 and 16 of the input square."""

    name: str = "memseg3d-nano"
    image_size: int = 128
    """S, side of the region in network pixels; a multiple of 16."""
    widths: tuple[int, int, int, int] = (32, 64, 96, 128)
    key_width: int = 64
    """Channels of memory keys and queries, over all heads."""
    heads: int = 4
    memory_slots: int = 4
    """Conditioning slot plus three recent slices: the adjacent one carries most, and each one read costs time."""
    maps: int = FIRST_MAPS
    """Guidance maps: 7 without those of clicks that contradict the prior, 9 with them."""

    ending: tuple[float, float, float, float] | None = None
    """The rule for an object's end that was fitted to the trained quality head (`NetworkInfo.ending`)."""
    calibration: tuple[float, float, float] | None = None
    """What the trained quality head's predictions are worth (`NetworkInfo.calibration`)."""
    clicks: tuple[float, ...] | None = None
    """What clicks mean for the voxels about them, after this network's rounds (`NetworkInfo.clicks`)."""
    tracked: tuple[float, ...] | None = None
    """Which voxels of this network's tracked slices are the object's (`NetworkInfo.tracked`)."""
    boxes: tuple[float, ...] | None = None
    """How likely a box leaves room, after this network's two looks at it (`NetworkInfo.boxes`); None: it has no decoder
    for such boxes.
    """

    def __post_init__(self) -> None:
        if self.image_size % 16:
            raise ValueError(f"image_size must be a multiple of 16, not {self.image_size}.")
        if self.maps not in (FIRST_MAPS, MAPS):
            raise ValueError(f"maps must be {FIRST_MAPS} or {MAPS}, not {self.maps}.")
        if self.key_width % self.heads or self.widths[2] % self.heads:
            raise ValueError("key_width and the stride 8 width must be multiples of the number of heads.")

    @property
    def unfitted(self) -> NanoConfig:
        """The network without what was fitted to it."""
        return dataclasses.replace(self, ending=None, calibration=None, clicks=None, tracked=None, boxes=None)

    def to_json(self) -> str:
        """One line of JSON for the checkpoint's metadata."""
        return json.dumps({"kind": "nano", **dataclasses.asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> NanoConfig:
        """The configuration in a checkpoint's metadata; raises ValueError where it is none of this network's."""
        values = json.loads(text)
        if values.pop("kind", None) != "nano":
            raise ValueError("This checkpoint's configuration is not that of the embedded network.")
        values["widths"] = tuple(values["widths"])
        rules = {
            "ending": ENDING_WEIGHTS,
            "calibration": CALIBRATION_WEIGHTS,
            "clicks": CLICK_WEIGHTS,
            "tracked": TRACKED_WEIGHTS,
            "boxes": BOX_WEIGHTS,
        }
        for name, count in rules.items():
            rule = values.get(name)
            # A rule of another length is another version's: the network works without it until it is fitted anew.
            values[name] = tuple(rule) if isinstance(rule, list) and len(rule) == count else None
        if unknown := sorted(values.keys() - {each.name for each in dataclasses.fields(cls)}):
            # What a later version adds may change what the weights mean.
            raise ValueError(f"its configuration has {', '.join(unknown)}, which a later MemSeg3D knows: update.")
        return cls(**values)

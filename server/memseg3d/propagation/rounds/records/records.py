"""Closed rounds as records that can be written to a journal and read again without computing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from memseg3d.propagation.masks.labelmaps import Delta
from memseg3d.propagation.masks.soft_slices import SoftSlice
from memseg3d.propagation.memory.stored_slices import StoredSlice
from memseg3d.propagation.prompts.as_json import prompt_from_json, prompt_to_json
from memseg3d.propagation.prompts.object_limits import ObjectLimits, limits_from_json
from memseg3d.propagation.prompts.prompts import Prompt
from memseg3d.propagation.volume.errors import SessionError
from memseg3d.propagation.volume.window import Window


@dataclass(frozen=True)
class ObjectChange:
    """What a round changed of one object.

    qualities: predicted quality of the slices across `axis` that were computed, None where the slice is empty now.
    voxels, checksum: of the labelmap after the round. window: the object's own window, where the network takes one.
    window_from: ids of the prompts that told it.
    stored: what memory holds of the conditioning slices that the round decoded, None for those that are none any more.
    soft: how sure the pixels of the computed slices are, None where that is not known.
    """

    axis: int
    delta: Delta
    qualities: dict[int, float | None]
    voxels: int
    checksum: str
    window: Window | None = None
    window_from: tuple[str, ...] = ()
    stored: dict[int, StoredSlice | None] = field(default_factory=dict)
    soft: dict[int, SoftSlice | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON object that `from_json` reads."""
        return {
            "axis": self.axis,
            "delta": self.delta.to_json(),
            "qualities": {str(index): quality for index, quality in self.qualities.items()},
            "voxels": self.voxels,
            "checksum": self.checksum,
            "window": None if self.window is None else [self.window.low, self.window.high],
            "window_from": list(self.window_from),
            "kept": {str(index): None if each is None else each.to_json() for index, each in self.stored.items()},
            "soft": {str(index): None if each is None else each.to_json() for index, each in self.soft.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ObjectChange:
        """Raises KeyError, TypeError or ValueError where the JSON is no change."""
        if data["axis"] not in (0, 1, 2):
            raise ValueError(f"axis {data['axis']!r}")
        return cls(
            axis=data["axis"],
            delta=Delta.from_json(data["delta"]),
            qualities={
                int(index): None if value is None else float(value) for index, value in data["qualities"].items()
            },
            voxels=int(data["voxels"]),
            checksum=str(data["checksum"]),
            window=None if data["window"] is None else Window(*data["window"]),
            # Older workers did not say: their windows stand as long as the object has prompts.
            window_from=tuple(str(name) for name in data.get("window_from", ())),
            # Older workers kept nothing: their conditioning slices are remembered from the labelmap.
            stored={
                int(index): None if each is None else StoredSlice.from_json(each)
                for index, each in data.get("kept", {}).items()
            },
            # Nor did they keep how sure a pixel was: their masks count as drawn ones.
            soft={
                int(index): None if each is None else SoftSlice.from_json(each)
                for index, each in data.get("soft", {}).items()
            },
        )


@dataclass(frozen=True)
class RoundRecord:
    """A closed round. prompts: those it added, with ids; removed: ids; options: JSON of the session's options.

    started, finished: seconds since the epoch. limits: by object. full: objects that it computed anew.
    """

    id: str
    prompts: tuple[Prompt, ...]
    removed: tuple[str, ...]
    options: dict[str, Any]
    started: float
    finished: float
    objects: dict[int, ObjectChange]
    limits: dict[int, ObjectLimits] = field(default_factory=dict)
    full: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON object that `from_json` reads."""
        return {
            "id": self.id,
            "prompts": [prompt_to_json(prompt) for prompt in self.prompts],
            "removed": list(self.removed),
            "limits": {str(number): limits.to_json() for number, limits in self.limits.items()},
            "full": list(self.full),
            "options": self.options,
            "started": self.started,
            "finished": self.finished,
            "objects": {str(number): change.to_json() for number, change in self.objects.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], shape: tuple[int, int, int]) -> RoundRecord:
        """The record of a volume of (k, j, i) `shape`; raises `SessionError` (bad_record)."""
        try:
            return cls(
                id=str(data["id"]),
                prompts=tuple(prompt_from_json(prompt, shape) for prompt in data["prompts"]),
                removed=tuple(str(each) for each in data["removed"]),
                options=dict(data["options"]),
                started=float(data["started"]),
                finished=float(data["finished"]),
                objects={int(number): ObjectChange.from_json(change) for number, change in data["objects"].items()},
                # Journals of the first workers know no limits.
                limits=limits_from_json(data.get("limits", {})),
                full=tuple(int(number) for number in data.get("full", ())),
            )
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
            raise SessionError(
                "bad_record", f"A stored round cannot be read ({error!r}); delete the session."
            ) from error

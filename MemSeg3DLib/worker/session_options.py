"""The session options that a user may choose: how they are kept, and what a worker has to know for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.worker.choice import SettingsStore

MEMORIES = ("default", "stm", "self_sorting", "quality", "distractor", "motion", "tree")
"""The memory policies of the wire protocol, in the order in which they are offered."""

_MEMORY, _CONSENSUS, _KEY_SLICES = "Advanced/Memory", "Advanced/Consensus", "Advanced/KeySlices"
_CROPS = "Advanced/Crops"

_WORDS = {
    "memory": "other memories",
    "consensus": "the vote of three axes",
    "tolerance": "where a correction ends",
    "key_slices": "key slices",
    "full": "computing a segment anew",
    "between": "filling between slices",
}


@dataclass(frozen=True)
class SessionChoice:
    """What the user has chosen for rounds to come. memory: one of MEMORIES; consensus: the three axes vote; key_slices:
    what lies between slices that agree is interpolated; crops: a model that was trained on whole slices sees a crop
    that follows the segment, too.
    """

    memory: str = MEMORIES[0]
    consensus: bool = False
    key_slices: bool = False
    crops: bool = False

    @classmethod
    def read(cls, settings: SettingsStore) -> SessionChoice:
        """As it was kept; what another version has kept and this one does not know is the default."""
        memory = settings.get(_MEMORY, MEMORIES[0])
        known = memory if memory in MEMORIES else MEMORIES[0]
        return cls(known, *(settings.get(each, "") == "1" for each in (_CONSENSUS, _KEY_SLICES, _CROPS)))

    def keep(self, settings: SettingsStore) -> None:
        """Keep it for the next time."""
        settings.set(_MEMORY, self.memory)
        settings.set(_CONSENSUS, "1" if self.consensus else "")
        settings.set(_KEY_SLICES, "1" if self.key_slices else "")
        settings.set(_CROPS, "1" if self.crops else "")

    def put_into(self, options: dict[str, Any]) -> None:
        """Into session options. Defaults are left out: an older worker refuses names that it does not know."""
        default = SessionChoice()
        for name in ("memory", "consensus", "key_slices"):
            options.pop(name, None)
            if getattr(self, name) != getattr(default, name):
                options[name] = getattr(self, name)
        options.pop("region", None)
        if self.crops:
            options["region"] = "crop"


def needed_features(
    options: Mapping[str, Any], full: Collection[int] = (), limits: Mapping[str, Mapping[str, Any]] | None = None
) -> list[str]:
    """Features of /v1/info that a worker must have for a round with these options. full: objects computed anew; limits:
    as they travel.
    """
    needed = []
    if options.get("memory", MEMORIES[0]) != MEMORIES[0]:
        needed.append("memory")
    if options.get("consensus"):
        needed.append("consensus")
    if options.get("key_slices"):
        needed.append("key_slices")
    if options.get("tolerance") is not None:
        needed.append("tolerance")
    if any(words.get("between") for words in (limits or {}).values()):
        needed.append("between")
    return [*needed, "full"] if full else needed


def check_features(told: Mapping[str, Any], needed: Collection[str]) -> None:
    """Raise WorkerError (not_supported) where a worker lacks some. told: what its /v1/info says."""
    features = told.get("features")
    missing = [name for name in needed if not isinstance(features, list) or name not in features]
    if missing:
        words = " and ".join(_WORDS[name] for name in missing)
        raise WorkerError(
            "not_supported",
            f"MemSeg3D is older where it runs and does not know {words}: update it there, or choose the default.",
        )

"""The rooms of the house, lowest first, and which of the others each may use. Tests and pictures read this table.

A new folder needs a row here; a package's own floor stands above the folders in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from Testing.house.imports import ROOT, Import, imports_under, python_files


@dataclass(frozen=True)
class House:
    """A package with rooms. folder: its path seen from `above`; rooms: folders under it ("" is its own floor), lowest
    first, with the rooms that each may use besides itself.
    """

    name: str
    folder: str
    above: str
    rooms: dict[str, tuple[str, ...]]
    has_inner_rooms: bool = False
    """Folders inside of a room are its own affair."""

    def path(self, root: Path = ROOT) -> Path:
        """The package's folder."""
        return root / self.above / self.folder

    def room_of(self, module: Path) -> str:
        """The room of a file or dotted module that lies at `module` under the package."""
        parts = module.parts
        for length in range(len(parts), 0, -1):
            if "/".join(parts[:length]) in self.rooms:
                return "/".join(parts[:length])
        return ""

    def arrows(self, root: Path = ROOT) -> list[tuple[str, str, Import]]:
        """(room, used room, import) of every import between two rooms."""
        found = []
        package = tuple(Path(self.folder).parts)
        for each in imports_under(self.path(root), root / self.above):
            parts = tuple(each.name.split("."))
            rest = parts[len(package) :]
            if parts[: len(package)] != package or not rest or not self._is_file(root, rest[0]):
                continue
            own = self.room_of(Path(*each.file.parts[len(package) : -1]))
            used = self.room_of(Path(*rest))
            if own != used:
                found.append((own, used, each))
        return found

    def wrong_arrows(self, root: Path = ROOT) -> list[str]:
        """Imports that run against the table."""
        return [str(each) for own, used, each in self.arrows(root) if used not in self.rooms.get(own, ())]

    def strangers(self, root: Path = ROOT) -> set[str]:
        """Folders with Python files that stand in no row."""
        base = self.path(root)
        folders = {file.parent.relative_to(base).as_posix() for file in python_files(base)}
        loose = {folder for folder in folders - {"."} if folder not in self.rooms}
        return {folder for folder in loose if not (self.has_inner_rooms and self.room_of(Path(folder)))}

    def _is_file(self, root: Path, name: str) -> bool:
        """True where a name is a file or folder of the package, and not a word of its __init__."""
        base = self.path(root) / name
        return base.is_dir() or base.with_suffix(".py").is_file()


def _upwards(*rooms: str) -> dict[str, tuple[str, ...]]:
    """Rooms of which each may use all before it."""
    return {room: rooms[:place] for place, room in enumerate(rooms)}


_SCENE = ("base", "scene")
_DRAWN = (*_SCENE, "prompts", "segments")
_WORKER = ("worker/connection", "worker/installation", "worker")
_EXPORT = ("export/labelmaps", "export/dicom/sources", "export/dicom", "export")
_ROUNDS = ("rounds/history", "rounds/running", "rounds")

LIBRARY = House(
    "MemSeg3DLib",
    "MemSeg3DLib",
    ".",
    {
        **_upwards("base", "scene", "prompts", "segments", *_WORKER),
        "export/labelmaps": _SCENE,
        "export/dicom/sources": _SCENE,
        "export/dicom": (*_SCENE, "export/labelmaps", "export/dicom/sources"),
        "export": (*_SCENE, "segments", "export/labelmaps", "export/dicom/sources", "export/dicom"),
        "rounds/history": (*_DRAWN, *_WORKER),
        "rounds/running": (*_DRAWN, *_WORKER, "rounds/history"),
        "rounds": (*_DRAWN, *_WORKER, "rounds/history", "rounds/running"),
        "cases": (*_DRAWN, *_WORKER, *_EXPORT, *_ROUNDS),
    },
)

PROPAGATION = House(
    "propagation",
    "memseg3d/propagation",
    "server",
    _upwards(
        "volume",
        "masks",
        "prompts",
        "sight",
        "memory/bank",
        "memory/policies",
        "memory",
        "rules",
        "rules/verdicts",
        "rounds/records",
        "rounds/planning",
        "rounds/walks",
        "rounds/objects",
        "rounds",
    ),
)

TRAINING = House(
    "training",
    "memseg3d/training",
    "server",
    {
        "running": (),
        "synthetic": ("running",),
        "clips": ("running", "synthetic"),
        "nano": ("running", "synthetic", "clips"),
        "cases": ("running",),
        "sam2": ("running", "cases"),
        "mem3d": ("running", "synthetic", "clips", "cases"),
        "experts": ("running", "synthetic", "clips", "cases"),
    },
)
"""cases: people's own sets as clips; above it the published methods, none of which needs another."""

_LOW = ("network", "files", "datasets", "experts", "propagation")

WORKER = House(
    "memseg3d",
    "memseg3d",
    "server",
    {
        "network": (),
        "files": (),
        "datasets": ("files",),
        "experts": ("network", "datasets"),
        "catalogue": ("network",),
        "pages": (),
        "propagation": ("experts", "network"),
        "video": ("propagation", "network", "files"),
        "service/users": (),
        "service/web": (),
        "service/storage": (),
        "service": ("service/users", "service/web", "service/storage", "propagation", "experts", "network", "files"),
        "training": (*_LOW, "video"),
        "evaluation": (*_LOW, "video", "pages"),
        "published": (*_LOW, "video", "training", "evaluation"),
        "cases": (*_LOW, "pages"),
        "": (*_LOW, "video", "service", "training", "evaluation", "cases"),
        "napari_plugin": ("", "files"),
        "cli": (
            "",
            *_LOW,
            "catalogue",
            "video",
            "service/users",
            "service/web",
            "service/storage",
            "service",
            "training",
            "evaluation",
            "published",
            "cases",
        ),
    },
    has_inner_rooms=True,
)

HOUSES = (LIBRARY, PROPAGATION, TRAINING, WORKER)
"""Every package with rooms; the worker's own table takes propagation and training as one."""

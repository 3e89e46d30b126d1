"""How a kept volume lies on the disk: a folder named by its key, in it the voxels and a file of words."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from memseg3d.service.errors import ServiceError
from memseg3d.service.storage.voxel_file import NAME, VoxelFile
from memseg3d.service.users.account import is_scoped
from memseg3d.service.volume_entry import VolumeEntry, hash_start

if TYPE_CHECKING:
    from memseg3d.service.storage.vault import Vault

VOXELS, WORDS = NAME, "volume.json"
Signature = tuple[tuple[int, int], ...]
"""Which files a volume has: they are never written anew, but put in the place of others."""


class VolumeShelf:
    """Reads and writes the folders of volumes; keeps nothing in the memory."""

    def __init__(self, folder: Path, vault: Vault | None = None) -> None:
        """vault: voxels are sealed with it."""
        self.folder = folder
        self._vault = vault

    def path(self, volume_id: str) -> Path:
        """The folder of a volume. Raises ServiceError `unknown_volume` for what can be no key."""
        # The id becomes a folder's name, so it must not be able to be a path.
        if not is_scoped(volume_id) and (len(volume_id) != 64 or not set(volume_id) <= set("0123456789abcdef")):
            raise ServiceError("unknown_volume", "A volume's id is 64 hexadecimal digits (SHA-256, in lower case).")
        return self.folder / volume_id

    def words(self, volume_id: str) -> Path:
        """The file of its words, which carries when it was used last."""
        return self.path(volume_id) / WORDS

    def keys(self) -> list[str]:
        """All kept volumes, damaged ones too."""
        return [path.name for path in self.folder.iterdir() if path.is_dir() and has_words(path)]

    def entry(self, volume_id: str) -> VolumeEntry | None:
        """What its words say, which does not count as a use; None where they are damaged or gone."""
        try:
            return VolumeEntry.from_json(json.loads(self.words(volume_id).read_text("utf-8")))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None

    def voxels(self, folder: Path) -> VoxelFile:
        """The voxels in a folder, its own or one of what is coming."""
        return VoxelFile(folder / VOXELS, self._vault)

    def digest(self, entry: VolumeEntry) -> str:
        """What the id of the voxels on the disk is; all of them are read. Raises OSError, ValueError."""
        digest = hashlib.sha256(hash_start(entry.shape, entry.dtype, entry.spacing))
        for block in self.voxels(self.path(entry.key)).blocks():
            digest.update(block)
        return digest.hexdigest()

    def signature(self, volume_id: str) -> Signature:
        """Changes when a file of the volume is another one."""
        found = []
        for name in (VOXELS, WORDS):
            try:
                stat = (self.path(volume_id) / name).stat()
                # The time of words is that of their last use.
                found.append((stat.st_ino, stat.st_mtime_ns if name == VOXELS else 0))
            except OSError:
                found.append((0, 0))
        return tuple(found)


def write_words(folder: Path, entry: VolumeEntry) -> None:
    """Put the words into a folder, for good. Raises OSError."""
    with (folder / WORDS).open("w", encoding="utf-8") as file:
        json.dump(entry.to_json(), file)
        file.flush()
        os.fsync(file.fileno())


def has_words(path: Path) -> bool:
    """Whether a folder is a volume's; one that cannot be looked into may be."""
    try:
        return (path / WORDS).is_file()
    except OSError:
        return True

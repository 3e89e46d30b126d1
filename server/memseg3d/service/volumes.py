"""The volumes that the worker keeps: one folder each, named by its key, memory-mapped when used.

The key is that of `users/account.py`: of the shared account the hash of the content, of others one that only they can
name. Equal voxels of several accounts are one file, once `share` has been called, and nothing else is shared.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import numpy as np
from anyio import to_thread

from memseg3d.propagation.volume.volume import Volume, VolumeError
from memseg3d.service.errors import ServiceError
from memseg3d.service.folders import DataFolder
from memseg3d.service.journal import sync_folder
from memseg3d.service.known_volumes import KnownVolumes
from memseg3d.service.limits.disk_room import Reservation
from memseg3d.service.limits.use_clock import UseClock
from memseg3d.service.settings import Limits
from memseg3d.service.storage.voxel_file import VoxelFile
from memseg3d.service.uploads import FileSink, Gunzip, VoxelSink, incoming_folder, receive, too_large
from memseg3d.service.volume_entry import VolumeEntry, hash_start
from memseg3d.service.volume_files import keep_voxels
from memseg3d.service.volume_shelf import VOXELS, WORDS, Signature, VolumeShelf, has_words, write_words

if TYPE_CHECKING:
    from memseg3d.service.storage.vault import Vault

log = logging.getLogger(__name__)


class VolumeStore:
    """Adds, finds and deletes volumes. Safe to use from several threads."""

    def __init__(
        self,
        folder: DataFolder,
        limits: Limits,
        clock: UseClock,
        vault: Vault | None = None,
        is_shared: bool = False,
    ) -> None:
        """vault: voxels are sealed with it. is_shared: other workers use the folder, too."""
        self._folder = folder
        self._shelf = VolumeShelf(folder.volumes, vault)
        self._limits = limits
        self._lock = threading.Lock()
        self._openings: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        """One of each volume that is being opened."""
        self._opened: WeakValueDictionary[str, Volume] = WeakValueDictionary()
        self._damaged: dict[str, Signature] = {}
        self._clock = clock
        self.on_replaced: Callable[[str], None] = lambda _: None
        """Told the id of a damaged volume that an upload has put right; on the upload's thread."""
        # A folder without its words is one whose deletion was cut short.
        unusable = [path for path in folder.volumes.iterdir() if path.is_dir() and not has_words(path)]
        for leftover in [*folder.incoming.iterdir(), *folder.volumes.glob("*.deleted"), *unusable]:
            shutil.rmtree(leftover, ignore_errors=True)
        self.known = KnownVolumes(self._shelf, clock, self._lock, self._is_damaged, is_shared)

    def find(self, volume_id: str) -> VolumeEntry:
        """The entry of a kept volume, which now counts as used. Raises ServiceError `unknown_volume`."""
        words = self._shelf.words(volume_id)
        try:
            if self._is_damaged(volume_id):
                raise _damaged()
            entry = VolumeEntry.from_json(json.loads(words.read_text("utf-8")))
        except FileNotFoundError as error:
            raise ServiceError(
                "unknown_volume", "The worker does not hold this volume (any more): upload it."
            ) from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            _pass_on(error)
            raise self._found_damaged(volume_id, error) from error
        if entry.key != volume_id:
            raise self._found_damaged(volume_id, "another volume's words")
        self._clock.mark(words)
        return entry

    def holds(self, volume_id: str) -> bool:
        """Whether the volume is there, as far as is known whole."""
        try:
            return not self._is_damaged(volume_id) and has_words(self._shelf.path(volume_id))
        except ServiceError:
            return False

    def is_there(self, volume_id: str) -> bool:
        """Whether something lies there that can be deleted, whole or damaged."""
        try:
            return has_words(self._shelf.path(volume_id))
        except ServiceError:
            return False

    def is_sound(self, volume_id: str) -> bool:
        """Whether what lies on the disk is what the volume's id says; all of it is read. False is told in the log."""
        try:
            entry = self.find(volume_id)
            digest = self._shelf.digest(entry)
        except (ServiceError, OSError, ValueError) as error:
            _pass_on(error)
            self._found_damaged(volume_id, error)
            return False
        if digest != entry.id:
            self._found_damaged(volume_id, "its content is not what its id says")
            return False
        return True

    def ids(self) -> list[str]:
        """All kept volumes, damaged ones too."""
        return self._shelf.keys()

    def idle_seconds(self, volume_id: str) -> float:
        """Seconds since the volume was last used; 0 where there is none."""
        return self._clock.idle_seconds(self._shelf.words(volume_id))

    def open(self, volume_id: str) -> Volume:
        """The voxels, memory-mapped and shared by all who have them open; checked against the id when they are mapped.

        Raises ServiceError `unknown_volume`, also where they are damaged: an upload puts that right.
        """
        entry = self.find(volume_id)
        # Who asks for one that is open waits for nobody: the compute thread would wait until another's is hashed.
        volume = self._opened.get(volume_id)
        if volume is not None:
            return volume
        with self._lock:
            opening = self._openings.setdefault(volume_id, threading.Lock())
        with opening:
            volume = self._opened.get(volume_id)
            if volume is None:
                try:
                    volume = _map(entry, self._shelf.voxels(self._shelf.path(volume_id)))
                except (OSError, ValueError, ServiceError) as error:
                    _pass_on(error)
                    raise self._found_damaged(volume_id, error) from error
                if volume.id != entry.id:
                    raise self._found_damaged(volume_id, "its content is not what its id says")
                # Opened again, it is the same to caches; to those of another account it is another one.
                volume.key = volume_id
                self._opened[volume_id] = volume
            return volume

    def _is_damaged(self, volume_id: str) -> bool:
        found = self._damaged.get(volume_id)
        # Another worker may have put it right.
        return found is not None and found == self._shelf.signature(volume_id)

    def _found_damaged(self, volume_id: str, reason: object) -> ServiceError:
        """Note that a volume is damaged: it counts as not there until it is uploaded again."""
        if not self._is_damaged(volume_id):
            log.error("a volume is damaged on the disk and has to be uploaded again: %s", reason)
            self._damaged[volume_id] = self._shelf.signature(volume_id)
        return _damaged()

    def check_words(self, entry: VolumeEntry) -> None:
        """Refuse what cannot be a volume, or is too large, before a byte of it is received. Raises ServiceError."""
        if 0 in entry.shape or not all(0 < step < math.inf for step in entry.spacing):
            raise ServiceError("bad_volume", "There are no voxels, or no size of them: check shape and spacing (mm).")
        if entry.voxel_bytes > self._limits.volume_bytes:
            raise too_large(self._limits.volume_bytes)

    async def add_voxels(self, entry: VolumeEntry, body: AsyncIterator[bytes], packed: bool) -> VolumeEntry:
        """Keep raw voxels (C order, little-endian; gzip where `packed`) under the id that the client computed.

        Raises ServiceError: hash_mismatch, bad_volume, disk_full.
        """
        with incoming_folder(self._folder.incoming) as folder:
            with self._shelf.voxels(folder).created() as file:
                sink = VoxelSink(file, hash_start(entry.shape, entry.dtype, entry.spacing), entry.voxel_bytes)
                unpacking = Gunzip(sink) if packed else None
                await receive(body, unpacking or sink)
                if unpacking is not None:
                    unpacking.finish()
                if sink.finish() != entry.id:
                    raise ServiceError(
                        "hash_mismatch",
                        "The content has not the hash in the address: check shape, dtype, spacing and byte order.",
                    )
            kept, _ = await to_thread.run_sync(self._keep, folder, entry)
        return kept

    async def add_file(
        self, suffix: str, body: AsyncIterator[bytes], room: Reservation, owner: str = ""
    ) -> tuple[VolumeEntry, bool]:
        """Keep the volume of a NIfTI or NRRD file, of its header only the grid. Returns the entry; True where new.

        suffix: one of FILE_SUFFIXES. room: grows with what comes. owner: an account's key.
        Raises ServiceError: bad_file, bad_volume, too_large, disk_full.
        """
        with incoming_folder(self._folder.incoming) as folder:
            path = folder / f"upload{suffix}"
            with path.open("wb") as file:
                await receive(body, FileSink(file, self._limits.volume_bytes, room.grow))
            return await to_thread.run_sync(self._keep_file, folder, path, room, owner)

    def delete(self, volume_id: str) -> None:
        """Forget a volume. Raises ServiceError `unknown_volume`."""
        path = self._shelf.path(volume_id)
        if not has_words(path):
            self.find(volume_id)
        gone = path.with_suffix(".deleted")
        (path / WORDS).unlink()
        with self._lock:
            self._opened.pop(volume_id, None)
            self.known.forget(volume_id)
            self._damaged.pop(volume_id, None)
        try:
            path.rename(gone)
            shutil.rmtree(gone)
        except OSError as error:
            # Windows keeps mapped files; without its words the folder is no volume any more.
            log.warning("voxels of a deleted volume are still in use: %s", error.strerror)

    def _keep_file(self, folder: Path, path: Path, room: Reservation, owner: str) -> tuple[VolumeEntry, bool]:
        scratch = folder / "scratch"
        scratch.mkdir()
        received = path.stat().st_size
        entry = keep_voxels(
            path,
            self._shelf.voxels(folder),
            scratch,
            self._limits.volume_bytes,
            lambda size: room.cover(received + size),
        )
        # Whatever was mapped has been let go of, so Windows deletes it as well.
        path.unlink()
        shutil.rmtree(scratch)
        return self._keep(folder, replace(entry, owner=owner))

    def _keep(self, folder: Path, entry: VolumeEntry) -> tuple[VolumeEntry, bool]:
        """Check the voxels and move the folder to its place; False where the volume is there already, and whole."""
        try:
            _map(entry, self._shelf.voxels(folder))
        except (ValueError, OverflowError) as error:
            raise ServiceError("bad_volume", "There are no voxels: check how the volume was exported.") from error
        if self.holds(entry.key) and self.is_sound(entry.key):
            with self._lock:
                entry = self.find(entry.key).with_geometries(entry.geometries)
                write_words(folder, entry)
                # Same voxels, perhaps with another grid in the patient: sessions choose theirs when they are opened.
                (folder / WORDS).replace(self._shelf.words(entry.key))
            self._clock.mark(self._shelf.words(entry.key))
            return entry, False
        # A volume that was answered for must be whole after a power cut.
        with (folder / VOXELS).open("rb+") as file:
            os.fsync(file.fileno())
        entry = replace(entry, since=self._clock.now())
        write_words(folder, entry)
        sync_folder(folder)
        target = self._shelf.path(entry.key)
        with self._lock:
            self._damaged.pop(entry.key, None)
            self._opened.pop(entry.key, None)
            was_damaged = target.exists()
            shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)
            self.known.add(entry)
        if was_damaged:
            self.on_replaced(entry.key)
        self._clock.mark(target / WORDS)
        sync_folder(target.parent)
        return entry, True


def _map(entry: VolumeEntry, file: VoxelFile) -> Volume:
    """Raises ServiceError `bad_volume`, OSError or ValueError where the file does not hold the voxels."""
    voxels = file.voxels(np.dtype(entry.dtype).newbyteorder("<"), entry.shape)
    try:
        return Volume(voxels, entry.spacing)
    except VolumeError as error:
        raise ServiceError("bad_volume", str(error)) from error


def _pass_on(error: Exception) -> None:
    """Raise what says nothing of the file, but of the moment: too many open files, no memory, no permission."""
    if isinstance(error, OSError) and error.errno in _OF_THE_MOMENT:
        raise error


_OF_THE_MOMENT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EBUSY}


def _damaged() -> ServiceError:
    return ServiceError(
        "unknown_volume",
        "The worker's copy of this volume was damaged on its disk: upload it again, and its sessions go on.",
    )

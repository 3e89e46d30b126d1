"""Whose the kept volumes are: counts by account, what is too old, and equal voxels of several kept as one file."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from memseg3d.service.folders import folder_bytes
from memseg3d.service.limits.use_clock import UseClock
from memseg3d.service.users.account import Account
from memseg3d.service.volume_entry import VolumeEntry
from memseg3d.service.volume_shelf import VOXELS, VolumeShelf

log = logging.getLogger(__name__)


class KnownVolumes:
    """The words of all volumes. Any thread may use it."""

    def __init__(
        self,
        shelf: VolumeShelf,
        clock: UseClock,
        lock: threading.Lock,
        is_damaged: Callable[[str], bool],
        is_shared: bool,
    ) -> None:
        """lock: held while a file takes the place of another. is_shared: other workers add and delete volumes, too."""
        self._shelf = shelf
        self._clock = clock
        self._lock = lock
        self._is_damaged = is_damaged
        self._is_shared = is_shared
        self._entries: dict[str, VolumeEntry] = {}
        self._look()

    def add(self, entry: VolumeEntry) -> None:
        """One more, or one anew."""
        self._entries[entry.key] = entry

    def forget(self, key: str) -> None:
        """It is deleted."""
        self._entries.pop(key, None)

    def _present(self) -> list[tuple[str, VolumeEntry]]:
        if self._is_shared:
            self._look()
        return list(self._entries.items())

    def _look(self) -> None:
        keys = set(self._shelf.keys())
        for gone in set(self._entries) - keys:
            self.forget(gone)
        for key in keys - set(self._entries):
            entry = self._shelf.entry(key)
            if entry is not None:
                self.add(entry)

    def of(self, account: Account) -> list[str]:
        """The keys of an account's volumes."""
        return [key for key, entry in self._present() if entry.owner == account.key]

    def bytes_of(self, account: Account) -> int:
        """What they take on the disk, each as if nobody else had it."""
        return sum(folder_bytes(self._shelf.folder / key) for key in self.of(account))

    def owners(self) -> set[str]:
        """The keys of the accounts that have one."""
        return {entry.owner for _, entry in self._present()}

    def older_than(self, seconds: float) -> list[str]:
        """Keys of users' volumes that came so long ago."""
        now = self._clock.now()
        return [
            key
            for key, entry in self._present()
            if entry.owner and entry.since is not None and now - entry.since >= seconds
        ]

    def share(self) -> None:
        """Let equal voxels of several accounts be one file. Done apart from any request, none of which then takes
        longer or shorter by what another account has.
        """
        by_content: dict[str, list[str]] = {}
        for key, entry in self._present():
            if not self._is_damaged(key):
                by_content.setdefault(entry.id, []).append(key)
        for keys in by_content.values():
            if len(keys) > 1:
                self._share(keys)

    def _share(self, keys: list[str]) -> None:
        try:
            if len({(self._shelf.path(key) / VOXELS).stat().st_ino for key in keys}) == 1:
                return
            first, *others = keys
            entry = self._shelf.entry(first)
            if entry is None or self._shelf.digest(entry) != entry.id:
                return
            for key in others:
                fresh = self._shelf.path(key) / "voxels.new"
                fresh.unlink(missing_ok=True)
                # What is mapped stays as it is: it is the same.
                os.link(self._shelf.path(first) / VOXELS, fresh)
                with self._lock:
                    fresh.replace(self._shelf.path(key) / VOXELS)
        except OSError as error:
            # Windows replaces no mapped file, and some file systems know no links; then there are two.
            log.debug("equal voxels are kept twice: %s", error.strerror)

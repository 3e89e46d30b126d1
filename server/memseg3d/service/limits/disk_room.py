"""The cap on the data folder, held also while many write at once: who will write reserves the room first."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from memseg3d.service.errors import disk_full
from memseg3d.service.folders import folder_bytes

STEP = 16 << 20
"""Bytes by which a reservation of unknown length grows."""


class DiskRoom:
    """Reservations count as if they were written; what lies in `incoming` is theirs. Any thread may use it."""

    def __init__(self, folder: Path, incoming: Path, limit: int, clear: Callable[[int], None]) -> None:
        """clear: is asked to make the folder so small, where that can be; not called under the lock."""
        self._folder = folder
        self._incoming = incoming
        self._limit = limit
        self._clear = clear
        self._lock = threading.Lock()
        self._reserved: dict[Reservation, int] = {}

    def reserve(self, size: int = 0, claim: Callable[[int], None] | None = None) -> Reservation:
        """Room for `size` bytes. claim: is told each size first, and may refuse. Raises ServiceError `disk_full`."""
        reservation = Reservation(self, claim)
        reservation.cover(size)
        return reservation

    def take(self, reservation: Reservation, size: int) -> None:
        """Let a reservation be of `size` bytes. Raises ServiceError `disk_full`; it is then as before."""
        if self._taken(reservation, size):
            return
        self._clear(self._limit - size - self._others(reservation))
        if not self._taken(reservation, size):
            raise disk_full()

    def free(self, reservation: Reservation) -> None:
        """Forget a reservation: what was kept of it is counted where it lies now."""
        with self._lock:
            self._reserved.pop(reservation, None)

    def used(self) -> int:
        """Bytes of everything that lies in the folder for good."""
        return folder_bytes(self._folder) - folder_bytes(self._incoming)

    def _taken(self, reservation: Reservation, size: int) -> bool:
        # The folder is walked under the lock: two who look at once would both find the same room.
        with self._lock:
            others = sum(each for other, each in self._reserved.items() if other is not reservation)
            if self.used() + others + size > self._limit:
                return False
            self._reserved[reservation] = size
            return True

    def _others(self, reservation: Reservation) -> int:
        with self._lock:
            return sum(each for other, each in self._reserved.items() if other is not reservation)


class Reservation(contextlib.AbstractContextManager["Reservation"]):
    """Room on the disk until the block ends."""

    def __init__(self, room: DiskRoom, claim: Callable[[int], None] | None = None) -> None:
        self._room = room
        self._claim = claim
        self._size = 0

    def cover(self, size: int) -> None:
        """Hold room for `size` bytes at least. Raises ServiceError `disk_full`."""
        if size > self._size or self._size == 0:
            if self._claim is not None:
                self._claim(size)
            self._room.take(self, size)
            self._size = max(size, 1)

    def grow(self, size: int) -> None:
        """As `cover`, in steps: for who learns how much there is only as it comes."""
        if size > self._size:
            self.cover(-(-size // STEP) * STEP)

    def __exit__(self, *_: object) -> None:
        self._room.free(self)

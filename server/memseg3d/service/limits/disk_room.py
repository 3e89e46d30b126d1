"""The cap on the data folder, held also while many write at once: who will write reserves the room first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from memseg3d.service.errors import disk_full
from memseg3d.service.folders import OTHERS_INCOMING, folder_bytes
from memseg3d.service.limits.claims import Claims

STEP = 16 << 20
"""Bytes by which a reservation of unknown length grows."""
_DISK = "disk"


class DiskRoom:
    """Reservations count as if they were written; what lies in `incoming` is theirs. Any thread may use it."""

    def __init__(
        self,
        folder: Path,
        incoming: Path,
        limit: int,
        clear: Callable[[int], None],
        claims: Claims | None = None,
    ) -> None:
        """incoming: what is being received. clear: is asked to make the folder so small, where that can be.

        claims: shared by several workers; None: one of its own.
        """
        self._folder = folder
        self._incoming = incoming
        self._limit = limit
        self._clear = clear
        self._claims = claims or Claims()

    def reserve(self, size: int = 0, claim: Callable[[int], None] | None = None) -> Reservation:
        """Room for `size` bytes. claim: is told each size first, and may refuse. Raises ServiceError `disk_full`."""
        reservation = Reservation(self, self._claims.new(), claim)
        reservation.cover(size)
        return reservation

    def take(self, reservation: str, size: int) -> None:
        """Let a reservation be of `size` bytes. Raises ServiceError `disk_full`; it is then as before."""
        if self._is_taken(reservation, size):
            return
        with self._claims.counting():
            others = self._claims.of_others(reservation, _DISK)
        self._clear(self._limit - size - others)
        if not self._is_taken(reservation, size):
            raise disk_full()

    def free(self, reservation: str) -> None:
        """Forget a reservation: what was kept of it is counted where it lies now."""
        self._claims.free(reservation, _DISK)

    def used(self) -> int:
        """Bytes of everything that lies in the folder for good."""
        # Left out of one walk: what grows between two of them would be taken off though it was not counted.
        return folder_bytes(self._folder, {self._incoming, *self._folder.glob(OTHERS_INCOMING)})

    def _is_taken(self, reservation: str, size: int) -> bool:
        # The folder is walked within: two who look at once would both find the same room.
        with self._claims.counting():
            if self.used() + self._claims.of_others(reservation, _DISK) + size > self._limit:
                return False
            self._claims.hold(reservation, _DISK, size)
            return True


class Reservation(contextlib.AbstractContextManager["Reservation"]):
    """Room on the disk until the block ends."""

    def __init__(self, room: DiskRoom, name: str, claim: Callable[[int], None] | None = None) -> None:
        self._room = room
        self._name = name
        self._claim = claim
        self._size = 0

    def cover(self, size: int) -> None:
        """Hold room for `size` bytes at least. Raises ServiceError `disk_full`."""
        if size > self._size or self._size == 0:
            if self._claim is not None:
                self._claim(size)
            self._room.take(self._name, size)
            self._size = max(size, 1)

    def grow(self, size: int) -> None:
        """As `cover`, in steps: for who learns how much there is only as it comes."""
        if size > self._size:
            self.cover(-(-size // STEP) * STEP)

    def free(self) -> None:
        """Let others have it, where there is no block that ends."""
        self._room.free(self._name)

    def __exit__(self, *_: object) -> None:
        self.free()

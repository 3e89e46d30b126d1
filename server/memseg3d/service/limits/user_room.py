"""What one user may have and do: bytes on the disk, sessions, rounds a minute. Counts, and refuses with a sentence."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable

from memseg3d.service.errors import ServiceError
from memseg3d.service.settings import UserLimits
from memseg3d.service.users.account import Account

_MINUTE = 60.0
_LONG = 3600
"""Seconds: nothing changes by itself before long, so that no program keeps waiting for it."""


class UserRoom:
    """Any thread may use it."""

    def __init__(self, limits: UserLimits, kept_bytes: Callable[[Account], int]) -> None:
        """kept_bytes: what an account has on the disk."""
        self.limits = limits
        self._kept_bytes = kept_bytes
        self._lock = threading.Lock()
        self._coming: dict[str, dict[Claim, int]] = {}
        self._rounds: dict[str, deque[float]] = {}

    def claim(self, account: Account) -> Claim:
        """Room for something that comes in, until the block ends."""
        return Claim(self, account)

    def cover(self, claim: Claim, account: Account, size: int) -> None:
        """Let a claim be of `size` bytes. Raises ServiceError `over_quota`; it is then as before."""
        most = self._of(account).bytes
        if most is None:
            return
        kept = self._kept_bytes(account)
        with self._lock:
            coming = self._coming.setdefault(account.key, {})
            others = sum(each for other, each in coming.items() if other is not claim)
            if kept + others + size > most:
                raise ServiceError(
                    "over_quota",
                    f"You have {kept / 2**30:.2f} of your {most / 2**30:.2f} GiB on the worker, and this does not fit: "
                    "delete sessions and volumes that you do not need, or ask the administrator for more.",
                )
            coming[claim] = size

    def free(self, claim: Claim, account: Account) -> None:
        """Forget a claim: what was kept of it is counted where it lies now."""
        with self._lock:
            coming = self._coming.get(account.key, {})
            coming.pop(claim, None)
            if not coming:
                self._coming.pop(account.key, None)

    def check_sessions(self, account: Account, has: int) -> None:
        """Raise ServiceError `too_many` where one more is not allowed."""
        most = self._of(account).sessions
        if most is not None and has >= most:
            raise ServiceError(
                "too_many",
                f"You have {has} sessions on the worker, and no more are allowed: delete one that is done.",
                retry=_LONG,
            )

    def count_round(self, account: Account) -> None:
        """One more begins. Raises ServiceError `too_many`, which tells when the next one may."""
        most = self._of(account).rounds_per_minute
        if most is None:
            return
        now = time.monotonic()
        with self._lock:
            begun = self._rounds.setdefault(account.key, deque())
            while begun and now - begun[0] >= _MINUTE:
                begun.popleft()
            if len(begun) >= most:
                wait = math.ceil(begun[0] + _MINUTE - now) if begun else int(_MINUTE)
                raise ServiceError(
                    "too_many",
                    f"You have begun {most} rounds within a minute, and no more are allowed: wait {wait} seconds.",
                    retry=wait,
                )
            begun.append(now)

    def _of(self, account: Account) -> UserLimits:
        return _NONE if account.role == "administrator" else self.limits


_NONE = UserLimits()


class Claim(contextlib.AbstractContextManager["Claim"]):
    """One upload's part of what its user may have."""

    def __init__(self, room: UserRoom, account: Account) -> None:
        self._room = room
        self._account = account

    def cover(self, size: int) -> None:
        """Hold room for `size` bytes. Raises ServiceError `over_quota`."""
        self._room.cover(self, self._account, size)

    def __exit__(self, *_: object) -> None:
        self._room.free(self, self._account)

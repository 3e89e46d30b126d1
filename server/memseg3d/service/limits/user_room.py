"""What one user may have and do: bytes on the disk, sessions, rounds a minute. Counts, and refuses with a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from memseg3d.service.errors import ServiceError
from memseg3d.service.limits.claims import Claims
from memseg3d.service.settings import UserLimits
from memseg3d.service.users.account import Account

_LONG = 3600
"""Seconds: nothing changes by itself before long, so that no program keeps waiting for it."""


class UserRoom:
    """Any thread may use it."""

    def __init__(self, limits: UserLimits, kept_bytes: Callable[[Account], int], claims: Claims | None = None) -> None:
        """kept_bytes: what an account has on the disk. claims: shared by several workers; None: one of its own."""
        self.limits = limits
        self._kept_bytes = kept_bytes
        self._claims = claims or Claims()

    def claim(self, account: Account) -> Claim:
        """Room for something that comes in, until the block ends."""
        return Claim(self, account, self._claims.new())

    def cover(self, claim: str, account: Account, size: int) -> None:
        """Let a claim be of `size` bytes. Raises ServiceError `over_quota`; it is then as before."""
        most = self._of(account).bytes
        if most is None:
            return
        with self._claims.counting():
            kept = self._kept_bytes(account)
            if kept + self._claims.of_others(claim, _subject(account)) + size > most:
                raise ServiceError(
                    "over_quota",
                    f"You have {kept / 2**30:.2f} of your {most / 2**30:.2f} GiB on the worker, and this does not fit: "
                    "delete sessions and volumes that you do not need, or ask the administrator for more.",
                )
            self._claims.hold(claim, _subject(account), size)

    def free(self, claim: str, account: Account) -> None:
        """Forget a claim: what was kept of it is counted where it lies now."""
        if self._of(account).bytes is not None:
            self._claims.free(claim, _subject(account))

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
        wait = self._claims.begin_round(account.key, most)
        if wait is not None:
            raise ServiceError(
                "too_many",
                f"You have begun {most} rounds within a minute, and no more are allowed: wait {wait} seconds.",
                retry=wait,
            )

    def _of(self, account: Account) -> UserLimits:
        return _NONE if account.role == "administrator" else self.limits


_NONE = UserLimits()


def _subject(account: Account) -> str:
    return f"of {account.key}"


class Claim(contextlib.AbstractContextManager["Claim"]):
    """One upload's part of what its user may have."""

    def __init__(self, room: UserRoom, account: Account, name: str) -> None:
        self._room = room
        self._account = account
        self._name = name

    def cover(self, size: int) -> None:
        """Hold room for `size` bytes. Raises ServiceError `over_quota`."""
        self._room.cover(self._name, self._account, size)

    def __exit__(self, *_: object) -> None:
        self._room.free(self._name, self._account)

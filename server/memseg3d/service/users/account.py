"""A person, or program, that uses the worker, and the names under which the worker keeps what is theirs.

Nothing is looked up by an id that came over the wire, but by a key that is made of the account and the id: what another
account has is not refused, it is not there.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

Role = Literal["user", "administrator"]

_NOTHING = "-"
"""A key that nothing has."""
_VOLUME_ID = re.compile(r"[0-9a-f]{64}")
_SCOPED = re.compile(r"u-[0-9a-f]{40}")


@dataclass(frozen=True)
class Account:
    """key: stands in journals, "" for the shared token; name: stands in the audit log and in counts."""

    key: str
    name: str
    role: Role = "user"

    def volume(self, volume_id: str) -> str:
        """The key of this account's volume with this id (64 hexadecimal digits; anything else is no volume's)."""
        return volume_key(self.key, volume_id)

    def session(self, session_id: str) -> str:
        """The key of this account's session with this id (a UUID in any form; anything else is no session's)."""
        try:
            return session_key(self.key, str(UUID(session_id)))
        except ValueError:
            return _NOTHING


SHARED = Account("", "shared", "administrator")
"""Whoever has the one token that all share, or comes to a worker without tokens; also the owner of what workers kept
before there were accounts.
"""


def volume_key(owner: str, volume_id: str) -> str:
    """The folder of an account's volume. owner: an account's key."""
    if not _VOLUME_ID.fullmatch(volume_id):
        return _NOTHING
    return _scoped("volume", owner, volume_id) if owner else volume_id


def session_key(owner: str, session_id: str) -> str:
    """The folder of an account's session. session_id: a UUID in its usual form."""
    return _scoped("session", owner, session_id) if owner else session_id


def is_scoped(key: str) -> bool:
    """Whether a key is one of an account other than the shared one."""
    return _SCOPED.fullmatch(key) is not None


def _scoped(kind: str, owner: str, name: str) -> str:
    # No id on the wire has this form, so that the shared account, whose ids are its keys, cannot name it.
    return "u-" + hashlib.sha256(f"{kind}\0{owner}\0{name}".encode()).hexdigest()[:40]

"""Which worker a session or volume goes to: by its id's hash, so that all agree, or where it was met last."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter, OrderedDict
from collections.abc import Sequence

MOST_REMEMBERED = 4096


class Places:
    """What one door remembers; nothing depends on it, for workers themselves know what is theirs."""

    def __init__(self) -> None:
        self._met: OrderedDict[str, str] = OrderedDict()

    def of(self, names: Sequence[str], key: str | None, turn: int) -> str:
        """One of the workers for a key; for none the next one in turn. Without names: IndexError."""
        if key is None:
            return sorted(names)[turn % len(names)]
        met = self._met.get(_plain(key))
        return met if met is not None and met in names else hashed(names, key)

    def fewest(self, names: Sequence[str], session: str, volume: str | None) -> str:
        """The worker for a new session: which has the fewest, of equals that of the volume. A known one stays."""
        met = self._met.get(_plain(session))
        if met is not None and met in names:
            return met
        counts = Counter(self._met.values())
        least = min(counts[name] for name in names)
        return hashed([name for name in names if counts[name] == least], volume or session)

    def note(self, session: str | None, name: str, method: str) -> None:
        """A worker has answered for a session."""
        if session is None:
            return
        self._met.pop(_plain(session), None)
        if method != "DELETE":
            self._met[_plain(session)] = name
            if len(self._met) > MOST_REMEMBERED:
                self._met.popitem(last=False)


def hashed(names: Sequence[str], key: str) -> str:
    """One of the names by rendezvous hashing: where one goes, only its keys move."""
    key = _plain(key)
    return max(names, key=lambda name: hashlib.sha256(f"{name}\0{key}".encode()).digest())


def _plain(key: str) -> str:
    """A UUID in its usual form."""
    try:
        return str(uuid.UUID(key)) if len(key) < 64 else key
    except ValueError:
        return key

"""Which connections are open, and which of them must make room: those that have shown no token, the oldest first."""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

MOST_CONNECTIONS = 1024
"""Open at once, where the system allows so many files."""
KEPT_FILES = 96
"""Files that the worker itself needs."""
LEAST_CONNECTIONS = 32


def allowed_connections() -> int:
    """How many connections this process can have open besides its files; more files are asked for where that helps."""
    try:
        import resource
    except ImportError:  # Windows: no such bound
        return MOST_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + 4 * KEPT_FILES
    endless = resource.RLIM_INFINITY
    if soft != endless and soft < wanted:
        most = wanted if hard == endless else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    files = math.inf if soft == endless else soft
    return int(max(LEAST_CONNECTIONS, min(MOST_CONNECTIONS, files - KEPT_FILES)))


class Connections:
    """All open connections of a server, on its event loop alone: any object, and the call that ends it."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.most_unknown = max(LEAST_CONNECTIONS // 2, most // 4)
        self._unknown: OrderedDict[Any, Callable[[], None]] = OrderedDict()
        self._known: set[Any] = set()

    def __len__(self) -> int:
        return len(self._unknown) + len(self._known)

    def opened(self, connection: Any, end: Callable[[], None]) -> None:
        """One more. Where there are too many that are not known, the one that has been so for longest ends: who has a
        token shows it at once, and is in nobody's way.
        """
        self._unknown[connection] = end
        if len(self._unknown) > self.most_unknown:
            _, end_oldest = self._unknown.popitem(last=False)
            end_oldest()

    def known(self, connection: Any) -> bool:
        """The connection has shown a token. False where there are too many of these: it may be told so, and goes."""
        if connection in self._known:
            return True
        if len(self._known) >= self.most - self.most_unknown:
            return False
        if self._unknown.pop(connection, None) is not None:
            self._known.add(connection)
        return True

    def is_known(self, connection: Any) -> bool:
        """Whether the connection has shown a token."""
        return connection in self._known

    def closed(self, connection: Any) -> None:
        """One less."""
        self._unknown.pop(connection, None)
        self._known.discard(connection)

"""Ends a conversation that takes too long, or that nobody waits for any more, whatever it waits for."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import weakref
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

IDLE_SECONDS = 5.0
"""So long the thread stays for the next request."""


class Watch:
    """A deadline over all sockets of one client. A time-out of a socket starts anew with every byte; this one does not.

    `arm` and `disarm` belong to the client's thread, `abort` to any.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._deadline: float | None = None
        self._waking = 0.0
        self._thread: threading.Thread | None = None
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self.has_fired = False
        """The deadline has passed since `arm`."""
        self.is_aborted = False

    def arm(self, seconds: float) -> None:
        """From now on the conversation has so long."""
        with self._change:
            self.has_fired = False
            self._deadline = time.monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="memseg3d-watch")
                self._thread.start()
            elif self._deadline < self._waking:
                self._change.notify()

    def disarm(self) -> None:
        """It has ended in time, or nobody minds."""
        with self._change:
            self._deadline = None

    def abort(self) -> None:
        """End it now, and every later one at once."""
        self.is_aborted = True
        self._cut()

    def take(self, sock: Any) -> None:
        """Watch over one more socket."""
        with self._change, contextlib.suppress(TypeError):
            self._sockets.add(sock)
        if self.is_aborted:
            self._cut()

    def adapter(self) -> HTTPAdapter:
        """An adapter for a session of requests whose sockets are all watched, also those through a proxy."""
        return _WatchedAdapter(self)

    def _work(self) -> None:
        with self._change:
            while True:
                now = time.monotonic()
                if self._deadline is None:
                    self._waking = now + IDLE_SECONDS
                    if not self._change.wait(IDLE_SECONDS) and self._deadline is None:
                        self._thread = None
                        return
                elif self._deadline <= now:
                    self._deadline, self._thread, self.has_fired = None, None, True
                    break
                else:
                    self._waking = self._deadline
                    self._change.wait(self._deadline - now)
        self._cut()

    def _cut(self) -> None:
        with self._change:
            found = list(self._sockets)
        for one in found:
            # Of the plain socket, since that of TLS lets go of its state first, under the reader's hands.
            with contextlib.suppress(OSError, TypeError, ValueError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)


class _WatchedAdapter(HTTPAdapter):
    def __init__(self, watch: Watch) -> None:
        self._pools = _pools_of(watch)
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pools_of(watch: Watch) -> dict[str, Any]:
    """Pools of connections whose sockets are told to the watch: bare at first, and as they are under TLS."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            watch.take(sock)
            return sock

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            watch.take(sock)
            return sock

        def connect(self) -> None:
            super().connect()
            watch.take(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}

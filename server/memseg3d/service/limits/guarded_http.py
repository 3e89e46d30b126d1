"""uvicorn's HTTP connection with a time for everything: who says nothing, or a byte now and then, is not waited for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from memseg3d.service.limits.connections import Connections

KNOWN = "memseg3d.known"
"""Where a request's scope has the function that says that its token is right."""

END = "memseg3d.end"
"""And the one that breaks the connection off: half an answer must not look like a whole one."""


@dataclass(frozen=True)
class Patience:
    """Seconds. header: for all of a request's header; idle: between two requests of a connection that showed a token;
    body: how often a body is looked at, which must have brought `least_bytes` by then, where the worker itself reads
    on; rest: for what still comes of a refused body, `rest_bytes` at most; unread: for an answer that nobody takes.
    """

    header: float = 10.0
    idle: float = 75.0
    body: float = 20.0
    least_bytes: int = 20 << 10
    rest: float = 5.0
    rest_bytes: int = 4 << 20
    unread: float = 120.0
    handshake: float = 10.0


class GuardedProtocol(H11Protocol):
    """One connection. Its timer always waits for what comes next: a header, more of a body, a reader."""

    guard: Connections
    patience: Patience

    def __init__(self, config: Config, *arguments: Any, **more: Any) -> None:
        super().__init__(config, *arguments, **more)
        self._timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None
        self._got = 0
        self._rest: int | None = None
        self.app_state = {**self.app_state, KNOWN: self._show, END: self._end}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A stranger comes."""
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # asyncio does this only where the listening socket names its protocol; without it, what follows a header
            # waits for the other side's acknowledgement, 40 ms on Linux.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
        self.guard.opened(self, self._end)
        self._wait(self.patience.header, self._end)

    def connection_lost(self, exc: Exception | None) -> None:
        """It goes."""
        self.guard.closed(self)
        for timer in (self._timer, self._reader_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes of a header, of a body, or of the rest of one that nobody wants."""
        self._got += len(data)
        if self._rest is not None:
            self._rest -= len(data)
            if self._rest < 0:
                self._end()
                return
        is_new = self._awaits_header and self._timer is None
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._awaits_header:
            if self._rest is None and self._is_body_open and self._timer is None:
                self._look_at_body()
            elif not self._is_body_open:
                self._rest = None
                self._stop_waiting()
        elif is_new or self._rest is not None:
            self._rest = None
            self._wait(self.patience.header, self._end)

    def handle_events(self) -> None:
        """A header that is complete is waited for no longer."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._stop_waiting()
            self._rest = None
            if self._is_body_open:
                self._look_at_body()

    def on_response_complete(self) -> None:
        """The answer is out: the next request may come, once nothing is left of the last one's body."""
        is_body_open = self._is_body_open
        self.timeout_keep_alive = int(self.patience.idle if self.guard.is_known(self) else self.patience.header)
        self._stop_waiting()
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if is_body_open and self.cycle.response_complete:
            self._rest = self.patience.rest_bytes
            self._unset_keepalive_if_required()
            self._wait(self.patience.rest, self._end)

    def pause_writing(self) -> None:
        """The answer is not taken any more."""
        super().pause_writing()
        if self._reader_timer is None:
            self._reader_timer = self.loop.call_later(self.patience.unread, self._end)

    def resume_writing(self) -> None:
        """It is again."""
        super().resume_writing()
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    @property
    def _awaits_header(self) -> bool:
        return self.cycle is None or (self.cycle.response_complete and not self._is_body_open)

    @property
    def _is_body_open(self) -> bool:
        """Whether more of the present request's body is to come."""
        return bool(self.conn.their_state is h11.SEND_BODY)

    def _show(self) -> bool:
        return self.guard.known(self)

    def _look_at_body(self) -> None:
        """Now and then: a body must have gone on, unless the worker did not read it."""
        self._got = 0
        was_held = self.flow.read_paused

        def look() -> None:
            self._timer = None
            if not self._is_body_open or self.cycle.response_complete:
                return
            if self._got < self.patience.least_bytes and not (was_held or self.flow.read_paused):
                self._end()
            else:
                self._look_at_body()

        self._wait(self.patience.body, look)

    def _wait(self, seconds: float, then: Any) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, then)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        """Close at once: what was not sent yet is for nobody."""
        if self.transport is not None:
            self.transport.abort()


def guarded(connections: Connections, patience: Patience) -> type[GuardedProtocol]:
    """The protocol of one server's connections."""
    return type("ServerProtocol", (GuardedProtocol,), {"guard": connections, "patience": patience})

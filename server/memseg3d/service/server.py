"""Runs the application: binds the port, says on stdout that it is ready, ends with its stdin where it was asked to."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import json
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from memseg3d.service.limits.connections import Connections, allowed_connections
from memseg3d.service.limits.guarded_http import Patience, guarded
from memseg3d.service.protocol import PROTOCOLS
from memseg3d.service.users.token_file import TokenFile, TokenFileError
from memseg3d.service.web.certificate import Certificate, Renewal, ServeError

_STDIN = 0
_QUEUE = 1024
"""Connections that the system holds until they are looked at."""
_RENEWAL_TICKS = 50
"""Between two looks at the certificate: five seconds."""
LEAST_TOKEN = 16
"""Letters: a shorter one could be guessed."""
_LONGEST_TOKEN = 4096


def is_loopback(host: str) -> bool:
    """Whether only programs of this computer reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises ServeError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ServeError(
            f"Cannot listen on {host} port {port} ({error.strerror}): choose another --host or --port."
        ) from error


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """The address that a client on this computer can use."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def read_token_line() -> str:
    """The first line of stdin. Raises ServeError where it is empty."""
    line = b""
    # Read unbuffered: a buffered stdin must not be waited for by a thread when Python ends.
    while not line.endswith(b"\n") and len(line) < _LONGEST_TOKEN:
        byte = os.read(_STDIN, 1)
        if not byte:
            break
        line += byte
    token = line.decode("utf-8", "replace").strip()
    if not token:
        raise ServeError("--token-stdin expects the token as the first line of stdin; nothing came.")
    return token


def check_token(token: str) -> None:
    """Raise ServeError for a token that could be guessed or that no header can carry."""
    if len(token) < LEAST_TOKEN:
        raise ServeError(
            f"The token has {len(token)} letters: take {LEAST_TOKEN} or more, as `openssl rand -hex 32` gives."
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ServeError("The token holds letters that a header cannot carry: take ASCII letters and digits.")


def check_tokens(file: Path) -> None:
    """Raise ServeError for a file of tokens that lets nobody in."""
    if not file.is_file():
        raise ServeError(f"There is no file of tokens {file}: make it with `memseg3d tokens add NAME --tokens {file}`.")
    try:
        TokenFile(file).entries()
    except TokenFileError as error:
        raise ServeError(str(error)) from error


def call_when_stdin_closes(function: Callable[[], None]) -> None:
    """Call `function` once nobody holds the other end of stdin: the program that started the worker has ended."""

    def wait() -> None:
        while os.read(_STDIN, 4096):
            pass
        function()

    threading.Thread(target=wait, name="memseg3d-stdin", daemon=True).start()


class Server(uvicorn.Server):
    """uvicorn with a word when it is ready and one before it stops."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        before_stop: Callable[[], None],
        certificate: Certificate | None = None,
        patience: Patience | None = None,
        drain: Callable[[], Awaitable[None]] | None = None,
        is_announced: bool = True,
    ) -> None:
        """drain: what is waited for before the server ends by a signal. is_announced: by a line on stdout."""
        self._is_announced = is_announced
        self._patience = patience or Patience()
        self._drain, self._is_hurried = drain, False
        self.connections = Connections(allowed_connections())
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            http=guarded(self.connections, self._patience),
            ws="none",
            # Taken off the queue in one go; the queue itself is made longer below.
            backlog=self.connections.most_unknown // 2,
            timeout_keep_alive=int(self._patience.idle),
            timeout_graceful_shutdown=5,
            ssl_certfile=certificate.file if certificate else None,
            ssl_keyfile=certificate.key if certificate else None,
        )
        super().__init__(config)
        self._listener = listener
        self._before_stop = before_stop
        self._scheme = "https" if certificate else "http"
        self._certificate = certificate
        self._renewal: Renewal | None = None

    def stop(self) -> None:
        """Ask the server to end without draining: nobody is there any more. Any thread may."""
        self._is_hurried = True
        self.should_exit = True

    def run_until_stopped(self) -> None:
        """Serve until a signal or `stop`."""
        self.run(sockets=[self._listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print one line of JSON on stdout."""
        loop = asyncio.get_running_loop()
        if self.config.is_ssl:
            # uvicorn has no option for how long a handshake may take.
            made = functools.partial(loop.create_server, ssl_handshake_timeout=self._patience.handshake)
            loop.create_server = made  # type: ignore[method-assign]
        await super().startup(sockets=sockets)
        if self.started:
            self._listener.listen(_QUEUE)
            if not self._is_announced:
                return
            print(json.dumps({"url": url_of(self._listener, self._scheme), "protocols": PROTOCOLS}), flush=True)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: now and then a look at the certificate."""
        if counter % _RENEWAL_TICKS == 0 and self._certificate is not None:
            if self._renewal is None:
                assert self.config.ssl is not None
                self._renewal = Renewal(self._certificate, self.config.ssl)
            if await asyncio.to_thread(self._renewal.look):
                self._renewal.take_up()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the listeners of streams go first: uvicorn waits for every answer that is under way."""
        if self._drain is not None and not self._is_hurried:
            # Whoever follows a round goes on hearing it meanwhile.
            await self._drain()
        self._before_stop()
        await super().shutdown(sockets=sockets)

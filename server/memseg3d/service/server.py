"""Runs the application: binds the port, says on stdout that it is ready, ends with its stdin where it was asked to."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import threading
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from memseg3d.service.protocol import PROTOCOLS

_STDIN = 0
_LONGEST_TOKEN = 4096


class ServeError(Exception):
    """The worker cannot start, with a sentence that says what to do."""


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


def url_of(listener: socket.socket) -> str:
    """The address that a client on this computer can use."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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


def call_when_stdin_closes(function: Callable[[], None]) -> None:
    """Call `function` once nobody holds the other end of stdin: the program that started the worker has ended."""

    def wait() -> None:
        while os.read(_STDIN, 4096):
            pass
        function()

    threading.Thread(target=wait, name="memseg3d-stdin", daemon=True).start()


class Server(uvicorn.Server):
    """uvicorn with a word when it is ready and one before it stops."""

    def __init__(self, app: FastAPI, listener: socket.socket, before_stop: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
        )
        super().__init__(config)
        self._listener = listener
        self._before_stop = before_stop

    def stop(self) -> None:
        """Ask the server to end; any thread may."""
        self.should_exit = True

    def run_until_stopped(self) -> None:
        """Serve until a signal or `stop`."""
        self.run(sockets=[self._listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print one line of JSON on stdout."""
        await super().startup(sockets=sockets)
        if self.started:
            print(json.dumps({"url": url_of(self._listener), "protocols": PROTOCOLS}), flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the listeners of streams go first: uvicorn waits for every answer that is under way."""
        self._before_stop()
        await super().shutdown(sockets=sockets)

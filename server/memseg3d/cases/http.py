"""The wire protocol as a caller sees it, with the standard library alone: uploads, sessions, streams that break."""

from __future__ import annotations

import gzip
import http.client
import ipaddress
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from memseg3d.cases.errors import CaseError

if TYPE_CHECKING:
    from memseg3d.propagation.volume.volume import Volume

PROTOCOL = 1
TRIES = 5
"""A broken stream is re-attached so often."""
PAUSE = 1.0
"""Seconds before the first time that nobody is found there; each time as much longer."""
LONGEST_WAIT = 600.0
"""Seconds that a round waits in all for a worker that asks to come again."""
TIMEOUT = 120.0
"""Seconds of silence; the worker says something every few."""
AGENT = "memseg3d-python"


class Crowded(CaseError):
    """The worker has others to serve and says when to come again."""

    def __init__(self, sentence: str, seconds: float) -> None:
        super().__init__(sentence)
        self.seconds = seconds


NO_TOKEN = "The worker asks for a token: its administrator gives you one."
OTHER_TOKEN = "The worker does not take this token: is it whole, was it revoked, or has it ended?"


class NoWorker(CaseError):
    """Nobody answers at the address."""


class Connection:
    """One worker. The token travels in a header and is shown nowhere."""

    def __init__(self, url: str, token: str | None = None) -> None:
        try:
            parts = urllib.parse.urlsplit(url)
            # Asking for a port that is none raises as well.
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        # A host may be of any letters, what follows it may not.
        if not is_address or not (parts.path + parts.query).isascii() or any(map(str.isspace, url)):
            raise CaseError(f"{url} is no address of a worker: write http://host:port or https://host.")
        if parts.username or parts.password:
            raise CaseError("A token belongs into `token`, not into the address.")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise CaseError("This is no token of a worker: its letters, digits and signs are plain ASCII, on one line.")
        # Every path begins with it, and guides show addresses with it.
        self.url, self._token = url.rstrip("/").removesuffix("/v1"), token
        # A proxy never leads to this computer.
        handlers = [urllib.request.ProxyHandler({})] if _is_loopback(parts.hostname or "") else []
        self._opener = urllib.request.build_opener(*handlers)
        self.software: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Connection({self.url!r})"

    def info(self) -> dict[str, Any]:
        """GET /v1/info. Raises `CaseError` where it is no worker that speaks this protocol."""
        info = self.json("GET", "/v1/info")
        if PROTOCOL not in info.get("protocols", ()):
            raise CaseError(f"The worker at {self.url} speaks other versions of the protocol: update one of the two.")
        self.software = {"memseg3d": str(info.get("version", ""))}
        return info

    def json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON answer of a request with a JSON body. Raises `CaseError` with the worker's own sentence."""
        data = None if body is None else json.dumps(body).encode()
        with self._open(method, path, data) as answer:
            try:
                found: dict[str, Any] = json.loads(self._whole(answer))
            except ValueError as error:
                raise CaseError(f"What answers at {self.url} is no worker, or another one lies before it.") from error
            return found

    def upload(self, volume: Volume) -> None:
        """PUT the voxels where the worker lacks them."""
        try:
            self.json("GET", f"/v1/volumes/{volume.id}")
            return
        except CaseError:
            pass
        query = urllib.parse.urlencode(
            {
                "shape": ",".join(str(n) for n in volume.shape),
                "dtype": volume.voxels.dtype.name,
                "spacing": ",".join(repr(step) for step in volume.spacing),
            }
        )
        little = volume.voxels.dtype.newbyteorder("<")
        data = gzip.compress(np.ascontiguousarray(volume.voxels, little).tobytes(), 1)
        with self._open("PUT", f"/v1/volumes/{volume.id}?{query}", data, {"Content-Encoding": "gzip"}) as answer:
            answer.read()

    def round(self, session: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Post a round and give its lines; a stream that breaks is taken up where it was. Raises `CaseError`."""
        path = f"/v1/sessions/{session}/rounds"
        seen, first, attempt, waited = 0, True, 0, 0.0
        while attempt < TRIES:
            attempt += 1
            try:
                # Posting the same id again never runs it twice, so a lost answer costs nothing.
                method, where, data = ("POST", path, json.dumps(body).encode())
                if not first:
                    method, where, data = "GET", f"{path}/{body['id']}/events?after={seen}", None  # type: ignore[assignment]
                with self._open(method, where, data) as answer:
                    first = False
                    for raw in answer:
                        if not raw.strip():
                            continue
                        line = json.loads(raw)
                        seen = line["seq"]
                        if line["type"] == "error":
                            raise CaseError(line["message"])
                        yield line
                        if line["type"] == "round":
                            return
            except Crowded as error:
                waited += error.seconds
                if waited > LONGEST_WAIT:
                    raise
                attempt -= 1
                note = f"waiting {error.seconds:.0f} s: {error}"
                yield {"seq": seen, "type": "progress", "phase": "queued", "done": 0, "total": 0, "note": note}
                time.sleep(error.seconds)
            except NoWorker:
                # One that starts anew takes the round up where its journal has it.
                if first or attempt == TRIES:
                    raise
                time.sleep(attempt * PAUSE)
            except (http.client.HTTPException, OSError, ValueError) as error:
                if isinstance(error, CaseError) or attempt == TRIES:
                    raise
        raise CaseError(f"The connection to {self.url} breaks again and again; the round may have been closed there.")

    def labelmap(self, session: str, number: int | None = None) -> np.ndarray:
        """(k, j, i) labelmap of all objects, or 0 and 1 of one."""
        which = "" if number is None else f"&object={number}"
        with self._open("GET", f"/v1/sessions/{session}/labelmap?format=raw{which}") as answer:
            shape = tuple(int(n) for n in answer.headers["X-Shape"].split(","))
            dtype = np.dtype(answer.headers["X-Dtype"]).newbyteorder("<")
            return np.frombuffer(self._whole(answer), dtype).reshape(shape)

    def _whole(self, answer: Any) -> bytes:
        """All of an answer. Raises `NoWorker` where the connection breaks within it."""
        try:
            return bytes(answer.read())
        except (http.client.HTTPException, OSError) as error:
            raise NoWorker(f"The connection to {self.url} broke within an answer: is the worker running?") from error

    def _open(self, method: str, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
        request = urllib.request.Request(self.url + path, data, {"User-Agent": AGENT, **(headers or {})}, method=method)
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        if data is not None and not headers:
            request.add_header("Content-Type", "application/json")
        try:
            return self._opener.open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            wait = error.headers.get("Retry-After", "")
            if error.code in (429, 503) and wait.isdecimal() and len(wait) < 4:
                raise Crowded(_sentence(error), max(1.0, float(wait))) from error
            if error.code == 401:
                raise CaseError(NO_TOKEN if self._token is None else OTHER_TOKEN) from error
            raise CaseError(_sentence(error)) from error
        except (http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            raise NoWorker(
                f"There is no worker at {self.url} ({reason}): is it running, is the address right?"
            ) from error


def _sentence(error: urllib.error.HTTPError) -> str:
    """The worker's own sentence, or what the status means."""
    try:
        words = json.loads(error.read(65536))
        return str(words.get("message") or words["error"]["message"])
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        pass
    return f"The worker, or what lies before it, answers with HTTP {error.code}."


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

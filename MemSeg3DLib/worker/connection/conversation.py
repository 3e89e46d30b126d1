"""One conversation with a worker over HTTP: requests out, checked answers in, nothing that takes for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import requests

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.base.hosts import is_loopback
from MemSeg3DLib.worker.connection.answers import (
    BROKEN,
    ERROR_BYTES,
    JSON_BYTES,
    body_of,
    json_of,
    lines_of,
    plain_words,
)
from MemSeg3DLib.worker.connection.errors import explain, gateway_code, gateway_sentence, redirect_sentence, stalled
from MemSeg3DLib.worker.connection.watch import Watch

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
# The worker sends an empty line every few seconds, so a stream that is silent for so long is a dead one.
STREAM_SECONDS = 45.0
# A worker may have others before this round, but one that only says that it is there for so long hangs.
QUIET_SECONDS = 900.0


class Conversation:
    """Requests to one worker, as `WorkerClient` makes them, which says what the arguments are. Raises WorkerError.

    An answer has as long as its time-outs together say, also where it drips; larger ones than agreed are not read.
    """

    def __init__(self, url: str, token: str | None, ca_file: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WorkerError(
                "bad_address", f"{url!r} is no address of a worker: write it as http://host:port or https://host."
            )
        self.url = url.rstrip("/")
        self.is_local = is_loopback(url)
        self._token = token.strip() if token else None
        if self._token and not (self._token.isascii() and self._token.isprintable()):
            raise WorkerError("unauthorised", "The token holds letters that none has: copy it anew, on one line.")
        self._ca_file = ca_file
        self._http = requests.Session()
        # A hospital's proxy must never see, nor break, a conversation of this computer with itself.
        self._http.trust_env = not self.is_local
        # Without an `auth` of its own, requests would send a password of the user's .netrc in the token's place.
        self._http.auth = self._authorise
        # What comes packed may be a bomb, and masks are packed already.
        self._http.headers["Accept-Encoding"] = "identity"
        self.watch = Watch()
        for scheme in ("http://", "https://"):
            self._http.mount(scheme, self.watch.adapter())

    def _authorise(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            return json_of(self.read(method, path, JSON_BYTES, **options))
        except ValueError as error:
            raise self.not_a_worker() from error

    def read(self, method: str, path: str, limit: int, **options: Any) -> bytes:
        """The whole body of an answer, which comes within the time-out of its request, or not at all."""
        answer = self._send(method, path, **options)
        try:
            with answer:
                return body_of(answer, limit)
        except BROKEN as error:
            raise self._broken(error) from error
        finally:
            self.watch.disarm()

    def stream(self, method: str, path: str, **options: Any) -> Iterator[dict[str, Any]]:
        answer = self._send(method, path, timeout=(CONNECT_SECONDS, STREAM_SECONDS), **options)
        self.watch.disarm()
        return self._lines(answer)

    def _lines(self, answer: requests.Response) -> Iterator[dict[str, Any]]:
        """Lines of an NDJSON stream; a connection that drops before its last line is `unreachable`."""
        with answer:
            self.watch.arm(QUIET_SECONDS)
            try:
                for raw in lines_of(answer):
                    # Heartbeats are no news: they come from a worker that hangs as well.
                    if raw.strip():
                        self.watch.arm(QUIET_SECONDS)
                        yield json_of(raw)
            except BROKEN as error:
                raise self._broken(error) from error
            except ValueError as error:
                raise WorkerError("unreachable", "The worker's stream broke off in the middle of a line.") from error
            finally:
                self.watch.disarm()

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("timeout", (CONNECT_SECONDS, ANSWER_SECONDS))
        if self._ca_file:
            # Given with the request: a bundle that the environment names would outrank the session's.
            options["verify"] = self._ca_file
        if self.watch.is_aborted:
            raise self._broken(ConnectionAbortedError())
        self.watch.arm(sum(options["timeout"]))
        try:
            # No redirect is followed: voxels and token go to the address in the settings and nowhere else.
            answer = self._http.request(method, self.url + path, allow_redirects=False, stream=True, **options)
        except BROKEN as error:
            self.watch.disarm()
            raise self._broken(error) from error
        except BaseException:
            # What the giver of a body raises, such as that the user has cancelled.
            self.watch.disarm()
            raise
        if answer.status_code < 300:
            return answer
        try:
            with answer:
                raise self._refused(answer)
        finally:
            self.watch.disarm()

    def _broken(self, error: BaseException) -> WorkerError:
        if self.watch.has_fired and not self.watch.is_aborted:
            return stalled(self.url)
        return explain(self.url, error, self._ca_file)

    def _refused(self, answer: requests.Response) -> WorkerError:
        wait = _seconds(answer.headers.get("Retry-After"))
        try:
            told = json_of(body_of(answer, ERROR_BYTES))["error"]
            code, message = plain_words(str(told["code"]), 40), plain_words(told["message"])
        except (WorkerError, ValueError, KeyError, TypeError, *BROKEN):
            if answer.is_redirect:
                return WorkerError("bad_answer", redirect_sentence(self.url, answer.headers["location"]))
            return self.not_a_worker(answer.status_code, wait)
        if answer.status_code == 401 and code != "token_ended":
            message = f"{self.url} does not accept the token: copy the worker's token into the settings."
        return WorkerError(code, message, wait)

    def not_a_worker(self, status: int | None = None, wait: float | None = None) -> WorkerError:
        if status and (sentence := gateway_sentence(self.url, status)):
            return WorkerError(gateway_code(status), sentence, wait)
        said = f" (HTTP {status})" if status else ""
        return WorkerError(
            "bad_answer",
            f"{self.url} does not answer like a MemSeg3D worker{said}: check the address and any proxy on the way.",
        )


def _seconds(text: str | None) -> float | None:
    """What Retry-After says in seconds; None where it says none, or a date, which no clock here need share."""
    text = (text or "").strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 7 else None

"""The wire protocol, version 1, as blocking calls with `requests`. One thread owns a client."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import requests

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.base.hosts import is_loopback
from MemSeg3DLib.base.packing import volume_header
from MemSeg3DLib.worker.connection.errors import explain, gateway_sentence, protocol_sentence, redirect_sentence

PROTOCOLS = (1,)
"""Versions of the wire protocol that this client speaks, best first."""

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
UPLOAD_SECONDS = 600.0
# A later hint is of more use than one that comes late.
HINT_SECONDS = 3.0
# The worker sends an empty line every few seconds, so a stream that is silent for so long is a dead one.
STREAM_SECONDS = 45.0
# A socket has CONNECT_SECONDS to take one piece of a body: this fits through 0.1 Mbit/s.
CHUNK = 1 << 16


class WorkerClient:
    """Calls of one worker. Every method raises `WorkerError`, whose sentence can be shown to the user.

    url: such as "http://127.0.0.1:8123" or "https://worker.hospital.example/memseg3d". token: bearer token or None.
    ca_file: certificates that vouch for the worker, where the hospital has its own.
    """

    def __init__(self, url: str, token: str | None = None, ca_file: str | None = None) -> None:
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

    def _authorise(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def clone(self) -> WorkerClient:
        """A second client of the same worker, for another thread."""
        return WorkerClient(self.url, self._token, self._ca_file)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def negotiate(self) -> int:
        """The protocol version that both sides speak."""
        spoken = self._json("GET", "/v1/health").get("protocols")
        for version in PROTOCOLS:
            if isinstance(spoken, list) and version in spoken:
                return version
        raise WorkerError("protocol", protocol_sentence(self.url, spoken, PROTOCOLS))

    def info(self) -> dict[str, Any]:
        """Name, version, device, model and limits of the worker; also proves that the token is right."""
        return self._json("GET", "/v1/info")

    def has_volume(self, volume: str) -> bool:
        """True where the worker still keeps the volume with this id."""
        return self._found(f"/v1/volumes/{volume}", "unknown_volume")

    def upload_volume(
        self,
        volume: str,
        voxels: np.ndarray,
        spacing: tuple[float, float, float],
        on_sent: Callable[[int, int], None] | None = None,
        compress: bool | None = None,
    ) -> None:
        """Send a volume. voxels: (k, j, i) as `wire_voxels` gives them; spacing: (k, j, i) in mm; volume: its id.

        on_sent(sent, total) is called with voxel bytes; what it raises ends the upload. compress: gzip on the way; by
        default unless the worker is on this computer, where compressing takes longer than sending.
        """
        header = volume_header(voxels, spacing)
        query = {
            "shape": ",".join(str(n) for n in voxels.shape),
            "dtype": str(header["dtype"]),
            "spacing": ",".join(repr(float(s)) for s in spacing),
        }
        gzip = not self.is_local if compress is None else compress
        headers = {"Content-Type": "application/octet-stream"}
        if gzip:
            headers["Content-Encoding"] = "gzip"
        body = _body(voxels, gzip, on_sent)
        timeout = (CONNECT_SECONDS, UPLOAD_SECONDS)
        self._json("PUT", f"/v1/volumes/{volume}", params=query, data=body, headers=headers, timeout=timeout)

    def delete_volume(self, volume: str) -> None:
        """Delete a volume and its sessions from the worker."""
        self._json("DELETE", f"/v1/volumes/{volume}")

    def create_session(self, volume: str, options: dict[str, Any], session: str) -> dict[str, Any]:
        """Open a session of the client's own id on a volume; the answer is the session's state."""
        return self._json("POST", "/v1/sessions", json={"volume": volume, "options": options, "id": session})

    def has_session(self, session: str) -> bool:
        """True where the worker still keeps the session."""
        return self._found(f"/v1/sessions/{session}", "unknown_session")

    def session(self, session: str) -> dict[str, Any]:
        """The session's state."""
        return self._json("GET", f"/v1/sessions/{session}")

    def delete_session(self, session: str) -> None:
        """Delete a session from the worker."""
        self._json("DELETE", f"/v1/sessions/{session}")

    def post_round(
        self,
        session: str,
        round_id: str,
        prompts: list[dict[str, Any]],
        removed: list[str],
        limits: dict[str, dict[str, int]] | None = None,
        full: list[int] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Start a round and follow it; the same id again never runs twice, its stream is replayed.

        full: objects that are computed anew from all their prompts.
        """
        body: dict[str, Any] = {"id": round_id, "prompts": prompts, "removed": removed}
        if limits:
            # Left out where there are none: an older worker refuses names that it does not know.
            body["limits"] = limits
        if full:
            body["full"] = full
        return self._stream("POST", f"/v1/sessions/{session}/rounds", json=body)

    def hint(self, session: str, prompts: list[dict[str, Any]]) -> bool:
        """Tell what is being drawn, so that the worker computes ahead; no prompts: nothing is any more.

        True where the worker does; it changes nothing. An older worker refuses with `not_found`.
        """
        body, timeout = {"prompts": prompts}, (HINT_SECONDS, HINT_SECONDS)
        return bool(self._json("POST", f"/v1/sessions/{session}/hints", json=body, timeout=timeout).get("accepted"))

    def follow_round(self, session: str, round_id: str, after: int) -> Iterator[dict[str, Any]]:
        """The lines of a round after number `after`, those of the past first."""
        return self._stream("GET", f"/v1/sessions/{session}/rounds/{round_id}/events", params={"after": after})

    def cancel_round(self, session: str, round_id: str) -> None:
        """Cancel a round; once answered, the worker sends no further slice of it."""
        self._json("POST", f"/v1/sessions/{session}/rounds/{round_id}/cancel")

    def undo(self, session: str) -> dict[str, Any]:
        """Take back the last round in the session; state plus `changes`."""
        return self._json("POST", f"/v1/sessions/{session}/undo")

    def redo(self, session: str) -> dict[str, Any]:
        """Bring back the last round that was taken back."""
        return self._json("POST", f"/v1/sessions/{session}/redo")

    def labelmap(self, session: str, label: int, shape: tuple[int, int, int]) -> np.ndarray:
        """The whole mask of one object, boolean (k, j, i), as the worker holds it."""
        query: dict[str, Any] = {"object": label, "format": "raw"}
        answer = self._send(
            "GET", f"/v1/sessions/{session}/labelmap", params=query, timeout=(CONNECT_SECONDS, UPLOAD_SECONDS)
        )
        voxels = np.frombuffer(answer.content, dtype=np.uint8)
        if voxels.size != int(np.prod(shape)):
            raise WorkerError(
                "bad_answer", f"The worker sent {voxels.size} voxels for a labelmap of {shape}: reconnect to it."
            )
        return voxels.reshape(shape) != 0

    def _found(self, path: str, missing: str) -> bool:
        try:
            self._json("GET", path)
        except WorkerError as error:
            if error.code == missing:
                return False
            raise
        return True

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._send(method, path, **options)
        try:
            value = answer.json()
        except requests.exceptions.JSONDecodeError as error:
            raise self._not_a_worker() from error
        if not isinstance(value, dict):
            raise self._not_a_worker()
        return value

    def _stream(self, method: str, path: str, **options: Any) -> Iterator[dict[str, Any]]:
        answer = self._send(method, path, stream=True, timeout=(CONNECT_SECONDS, STREAM_SECONDS), **options)
        return self._lines(answer)

    def _lines(self, answer: requests.Response) -> Iterator[dict[str, Any]]:
        """Lines of an NDJSON stream; a connection that drops before its last line is `unreachable`."""
        with answer:
            try:
                # One byte at a time would be slow and a fixed chunk would hold lines back: take what has arrived.
                for raw in answer.iter_lines(chunk_size=None):  # type: ignore[call-overload]
                    if raw.strip():
                        yield dict(json.loads(raw))
            except requests.exceptions.RequestException as error:
                raise explain(self.url, error) from error
            except ValueError as error:
                raise WorkerError("unreachable", "The worker's stream broke off in the middle of a line.") from error

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("timeout", (CONNECT_SECONDS, ANSWER_SECONDS))
        if self._ca_file:
            # Given with the request: a bundle that the environment names would outrank the session's.
            options["verify"] = self._ca_file
        try:
            # No redirect is followed: voxels and token go to the address in the settings and nowhere else.
            answer = self._http.request(method, self.url + path, allow_redirects=False, **options)
        except OSError as error:
            # Every error of requests is one of these.
            raise explain(self.url, error, self._ca_file) from error
        if answer.status_code < 300:
            return answer
        with answer:
            raise self._refused(answer)

    def _refused(self, answer: requests.Response) -> WorkerError:
        try:
            told = answer.json()["error"]
            code, message = str(told["code"]), str(told["message"])
        except (ValueError, KeyError, TypeError):
            if answer.is_redirect:
                return WorkerError("bad_answer", redirect_sentence(self.url, answer.headers["location"]))
            return self._not_a_worker(answer.status_code)
        if answer.status_code == 401:
            message = f"{self.url} does not accept the token: copy the worker's token into the settings."
        return WorkerError(code, message)

    def _not_a_worker(self, status: int | None = None) -> WorkerError:
        if status and (sentence := gateway_sentence(self.url, status)):
            return WorkerError("unreachable", sentence)
        said = f" (HTTP {status})" if status else ""
        return WorkerError(
            "bad_answer",
            f"{self.url} does not answer like a MemSeg3D worker{said}: check the address and any proxy on the way.",
        )


def _body(voxels: np.ndarray, gzip: bool, on_sent: Callable[[int, int], None] | None) -> Iterator[bytes]:
    """The voxels in chunks, gzipped where asked; progress is told in voxel bytes."""
    view = np.ascontiguousarray(voxels).reshape(-1).view(np.uint8)
    # 31: zlib with a gzip header. Level 1: uploads are bound by the network from there on.
    packer = zlib.compressobj(1, zlib.DEFLATED, 31) if gzip else None
    for start in range(0, len(view), CHUNK):
        chunk = view[start : start + CHUNK]
        if on_sent is not None:
            on_sent(start, len(view))
        data = chunk.tobytes() if packer is None else packer.compress(chunk.tobytes())
        # An empty chunk would end a chunked body.
        if data:
            yield data
    if packer is not None:
        yield packer.flush()
    if on_sent is not None:
        on_sent(len(view), len(view))

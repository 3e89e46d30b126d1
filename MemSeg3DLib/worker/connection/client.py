"""The wire protocol, version 1, as blocking calls with `requests`. One thread owns a client."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.base.packing import volume_header
from MemSeg3DLib.worker.connection.conversation import CONNECT_SECONDS, Conversation
from MemSeg3DLib.worker.connection.errors import protocol_sentence

PROTOCOLS = (1,)
"""Versions of the wire protocol that this client speaks, best first."""

UPLOAD_SECONDS = 600.0
# A later hint is of more use than one that comes late.
HINT_SECONDS = 3.0
# A socket has CONNECT_SECONDS to take one piece of a body: this fits through 0.1 Mbit/s.
CHUNK = 1 << 16


class WorkerClient:
    """Calls of one worker. Every method raises `WorkerError`, whose sentence can be shown to the user.

    url: such as "http://127.0.0.1:8123" or "https://worker.hospital.example/memseg3d". token: bearer token or None.
    ca_file: certificates that vouch for the worker, where the hospital has its own.
    """

    def __init__(self, url: str, token: str | None = None, ca_file: str | None = None) -> None:
        self._talk = Conversation(url, token, ca_file)
        self.url, self.is_local = self._talk.url, self._talk.is_local
        self._arguments = (url, token, ca_file)

    def clone(self) -> WorkerClient:
        """A second client of the same worker, for another thread."""
        return WorkerClient(*self._arguments)

    def close(self) -> None:
        """Close the connections."""
        self._talk.close()

    def abort(self) -> None:
        """End what goes on, from any thread; the client is of no use any more."""
        self._talk.watch.abort()

    @property
    def is_aborted(self) -> bool:
        """True where `abort` was called."""
        return self._talk.watch.is_aborted

    def negotiate(self) -> int:
        """The protocol version that both sides speak."""
        spoken = self._talk.json("GET", "/v1/health").get("protocols")
        for version in PROTOCOLS:
            if isinstance(spoken, list) and version in spoken:
                return version
        raise WorkerError("protocol", protocol_sentence(self.url, spoken, PROTOCOLS))

    def info(self) -> dict[str, Any]:
        """Name, version, device, model and limits of the worker; also proves that the token is right."""
        return self._talk.json("GET", "/v1/info")

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
        body = _body(voxels, gzip, on_sent, lambda: self._talk.watch.arm(UPLOAD_SECONDS))
        timeout = (CONNECT_SECONDS, UPLOAD_SECONDS)
        self._talk.json("PUT", f"/v1/volumes/{volume}", params=query, data=body, headers=headers, timeout=timeout)

    def delete_volume(self, volume: str) -> None:
        """Delete a volume and its sessions from the worker."""
        self._talk.json("DELETE", f"/v1/volumes/{volume}")

    def create_session(self, volume: str, options: dict[str, Any], session: str) -> dict[str, Any]:
        """Open a session of the client's own id on a volume; the answer is the session's state."""
        return self._talk.json("POST", "/v1/sessions", json={"volume": volume, "options": options, "id": session})

    def has_session(self, session: str) -> bool:
        """True where the worker still keeps the session."""
        return self._found(f"/v1/sessions/{session}", "unknown_session")

    def session(self, session: str) -> dict[str, Any]:
        """The session's state."""
        return self._talk.json("GET", f"/v1/sessions/{session}")

    def delete_session(self, session: str) -> None:
        """Delete a session from the worker."""
        self._talk.json("DELETE", f"/v1/sessions/{session}")

    def post_round(
        self,
        session: str,
        round_id: str,
        prompts: list[dict[str, Any]],
        removed: list[str],
        limits: dict[str, dict[str, Any]] | None = None,
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
        return self._talk.stream("POST", f"/v1/sessions/{session}/rounds", json=body)

    def hint(self, session: str, prompts: list[dict[str, Any]]) -> bool:
        """Tell what is being drawn, so that the worker computes ahead; no prompts: nothing is any more.

        True where the worker does; it changes nothing. An older worker refuses with `not_found`.
        """
        body, timeout = {"prompts": prompts}, (HINT_SECONDS, HINT_SECONDS)
        return bool(
            self._talk.json("POST", f"/v1/sessions/{session}/hints", json=body, timeout=timeout).get("accepted")
        )

    def follow_round(self, session: str, round_id: str, after: int) -> Iterator[dict[str, Any]]:
        """The lines of a round after number `after`, those of the past first."""
        return self._talk.stream("GET", f"/v1/sessions/{session}/rounds/{round_id}/events", params={"after": after})

    def cancel_round(self, session: str, round_id: str) -> None:
        """Cancel a round; once answered, the worker sends no further slice of it."""
        self._talk.json("POST", f"/v1/sessions/{session}/rounds/{round_id}/cancel")

    def undo(self, session: str) -> dict[str, Any]:
        """Take back the last round in the session; state plus `changes`."""
        return self._talk.json("POST", f"/v1/sessions/{session}/undo")

    def redo(self, session: str) -> dict[str, Any]:
        """Bring back the last round that was taken back."""
        return self._talk.json("POST", f"/v1/sessions/{session}/redo")

    def labelmap(self, session: str, label: int, shape: tuple[int, int, int]) -> np.ndarray:
        """The whole mask of one object, boolean (k, j, i), as the worker holds it."""
        query: dict[str, Any] = {"object": label, "format": "raw"}
        size = int(np.prod(shape))
        path, timeout = f"/v1/sessions/{session}/labelmap", (CONNECT_SECONDS, UPLOAD_SECONDS)
        voxels = np.frombuffer(self._talk.read("GET", path, size, params=query, timeout=timeout), dtype=np.uint8)
        if voxels.size != size:
            raise WorkerError(
                "bad_answer", f"The worker sent {voxels.size} voxels for a labelmap of {shape}: reconnect to it."
            )
        return voxels.reshape(shape) != 0

    def _found(self, path: str, missing: str) -> bool:
        try:
            self._talk.json("GET", path)
        except WorkerError as error:
            if error.code == missing:
                return False
            raise
        return True


def _body(
    voxels: np.ndarray, gzip: bool, on_sent: Callable[[int, int], None] | None, on_piece: Callable[[], None]
) -> Iterator[bytes]:
    """The voxels in chunks, gzipped where asked; progress is told in voxel bytes, and `on_piece` called for each."""
    view = np.ascontiguousarray(voxels).reshape(-1).view(np.uint8)
    # 31: zlib with a gzip header. Level 1: uploads are bound by the network from there on.
    packer = zlib.compressobj(1, zlib.DEFLATED, 31) if gzip else None
    for start in range(0, len(view), CHUNK):
        chunk = view[start : start + CHUNK]
        on_piece()
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

"""DICOM files as the body of one multipart request: read while they are sent, so that many are never in memory."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

# One write to the socket: so often progress is told and Cancel is heard.
CHUNK = 1 << 16


class MultipartFiles:
    """The body of a request as a file of known length, read piece by piece.

    on_sent(sent, total) is called with bytes before each piece; what it raises ends the upload.
    """

    def __init__(self, files: Sequence[Path], on_sent: Callable[[int, int], None] | None) -> None:
        self.boundary = f"memseg3d-{uuid.uuid4().hex}"
        start = f"--{self.boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
        self._parts: list[bytes | Path] = [part for one in files for part in (start, one, b"\r\n")]
        self._parts.append(f"--{self.boundary}--\r\n".encode("ascii"))
        self._total = sum(len(one) if isinstance(one, bytes) else one.stat().st_size for one in self._parts)
        self._sent = 0
        self._on_sent = on_sent
        self._stream = self._pieces()

    def __len__(self) -> int:
        return self._total

    def read(self, size: int = -1) -> bytes:
        """The next piece, whatever its length; http.client asks until it is empty."""
        if self._on_sent is not None:
            self._on_sent(self._sent, self._total)
        piece = next(self._stream, b"")
        self._sent += len(piece)
        return piece

    def _pieces(self) -> Iterator[bytes]:
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
                continue
            with part.open("rb") as file:
                while piece := file.read(CHUNK):
                    yield piece

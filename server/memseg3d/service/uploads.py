"""Receives a request body into a folder of its own: hashed, unpacked, measured, and gone if anything goes wrong."""

from __future__ import annotations

import hashlib
import shutil
import uuid
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from anyio import to_thread

from memseg3d.service.errors import ServiceError, disk_full, is_disk_full

_BLOCK = 1 << 20
_GZIP = zlib.MAX_WBITS | 16


class Sink(Protocol):
    """Where the bytes of an upload go."""

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises ServiceError where they cannot be right."""
        ...


@contextmanager
def incoming_folder(parent: Path) -> Iterator[Path]:
    """A new folder for one upload. What is still in it at the end is deleted; a full disk becomes `disk_full`."""
    folder = parent / uuid.uuid4().hex
    try:
        folder.mkdir(mode=0o700)
        yield folder
    except OSError as error:
        if is_disk_full(error):
            raise disk_full() from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class VoxelSink:
    """Writes raw voxels and hashes them; knows how many bytes there must be."""

    def __init__(self, file: BinaryIO, hash_start: bytes, expected_bytes: int) -> None:
        self._file = file
        self._hash = hashlib.sha256(hash_start)
        self._expected = expected_bytes
        self._received = 0

    def write(self, data: bytes) -> None:
        """Take the next voxels."""
        self._received += len(data)
        if self._received > self._expected:
            raise ServiceError(
                "bad_volume",
                f"The body holds more than the {self._expected} bytes that shape and dtype promise: check both.",
            )
        self._hash.update(data)
        self._file.write(data)

    def finish(self) -> str:
        """The volume's id (hex). Raises ServiceError where voxels are missing."""
        if self._received < self._expected:
            raise ServiceError(
                "bad_volume",
                f"The body holds {self._received} bytes, but shape and dtype promise {self._expected}: "
                "check both, or send the volume again if the connection broke.",
            )
        return self._hash.hexdigest()


class FileSink:
    """Writes a file as it comes and refuses one that is too large, also once it would be unpacked."""

    def __init__(self, file: BinaryIO, limit_bytes: int) -> None:
        self._file = file
        self._limit = limit_bytes
        self._received = 0
        self._measure: Gunzip | None = None

    def write(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        if self._received == 0 and data.startswith(b"\x1f\x8b"):
            self._measure = Gunzip(_Measure(self._limit), strict=False)
        self._received += len(data)
        if self._received > self._limit:
            raise too_large(self._limit)
        if self._measure is not None:
            self._measure.write(data)
        self._file.write(data)


class _Measure:
    """Counts bytes and keeps none."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._received = 0

    def write(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self._limit:
            raise too_large(self._limit)


class Gunzip:
    """Unpacks gzip block by block into a sink, so that a small body cannot fill the memory."""

    def __init__(self, sink: Sink, strict: bool = True) -> None:
        """strict: damage is an error here; otherwise reading stops quietly and whoever opens the file tells."""
        self._sink = sink
        self._strict = strict
        self._unpack = zlib.decompressobj(_GZIP)
        self._damaged = False

    def write(self, data: bytes) -> None:
        """Unpack the next bytes; a file may hold several gzip members one after the other."""
        while data and not self._damaged:
            if self._unpack.eof:
                self._unpack = zlib.decompressobj(_GZIP)
            data = self._write_member(data)

    def _write_member(self, data: bytes) -> bytes:
        """Unpack until the input or the gzip member ends; returns what belongs to the next member."""
        while True:
            try:
                unpacked = self._unpack.decompress(data, _BLOCK)
            except zlib.error as error:
                if self._strict:
                    raise ServiceError(
                        "bad_request", "The body is no gzip data although its header says so."
                    ) from error
                self._damaged = True
                return b""
            self._sink.write(unpacked)
            data = self._unpack.unconsumed_tail
            # A full block may leave output behind although all input is taken.
            if self._unpack.eof or (not data and len(unpacked) < _BLOCK):
                return self._unpack.unused_data

    def finish(self) -> None:
        """Raises ServiceError where the packed data ended early."""
        if not self._unpack.eof:
            raise ServiceError("bad_request", "The gzip data ends early: send the volume again.")


def too_large(limit_bytes: int) -> ServiceError:
    """The answer to more bytes than the administrator allows."""
    return ServiceError(
        "too_large", f"More than the {limit_bytes} bytes this worker takes: crop or resample, or ask the administrator."
    )


async def receive(stream: AsyncIterator[bytes], sink: Sink) -> None:
    """Hand a request body to a sink in large blocks, off the event loop."""
    waiting = bytearray()
    async for chunk in stream:
        waiting += chunk
        if len(waiting) >= _BLOCK:
            await to_thread.run_sync(sink.write, bytes(waiting))
            waiting.clear()
    if waiting:
        await to_thread.run_sync(sink.write, bytes(waiting))


async def drain(stream: AsyncIterator[bytes], limit_bytes: int) -> None:
    """Read the rest of a body that is not needed, so that the client sees the answer and not a broken connection."""
    received = 0
    async for chunk in stream:
        received += len(chunk)
        if received > limit_bytes:
            return

"""Receives a request body into a folder of its own: hashed, unpacked, measured, and gone if anything goes wrong."""

from __future__ import annotations

import hashlib
import math
import shutil
import struct
import uuid
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from anyio import CapacityLimiter, move_on_after, to_thread

from memseg3d.service.errors import ServiceError, disk_full, is_disk_full

_BLOCK = 1 << 20
_NIFTI_SIZES = 56
"""Bytes of a NIfTI header up to its sizes."""
_MOST_BESIDE = 64 << 20
"""Bytes that a packed file may hold besides its voxels, such as extensions."""
_DRAIN_BYTES, _DRAIN_SECONDS = 512 << 20, 60.0
"""What is read of a body that was refused, so that its sender comes to read why."""
_WRITING = CapacityLimiter(2)
"""Uploads that are unpacked, hashed and written at the same time: others wait for their next block."""
_GZIP = zlib.MAX_WBITS | 16


class Writable(Protocol):
    """A file, or what seals for one."""

    def write(self, data: bytes, /) -> int:
        """Take the next bytes."""
        ...


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

    def __init__(self, file: Writable, hash_start: bytes, expected_bytes: int) -> None:
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

    def __init__(self, file: BinaryIO, limit_bytes: int, grow: Callable[[int], None]) -> None:
        """grow: is told how many bytes have come before they are written, and may refuse."""
        self._file = file
        self._limit = limit_bytes
        self._grow = grow
        self._received = 0
        self._measure: Gunzip | None = None

    def write(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        if self._received == 0 and data.startswith(b"\x1f\x8b"):
            self._measure = Gunzip(_Measure(self._limit), strict=False)
        self._received += len(data)
        if self._received > self._limit:
            raise too_large(self._limit)
        self._grow(self._received)
        if self._measure is not None:
            self._measure.write(data)
        self._file.write(data)


class _Measure:
    """Counts bytes and keeps none but a NIfTI file's first ones."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._received = 0
        self._start = b""

    def write(self, data: bytes) -> None:
        if len(self._start) < _NIFTI_SIZES:
            self._start += data[: _NIFTI_SIZES - len(self._start)]
        self._received += len(data)
        if self._received > self._limit:
            raise too_large(self._limit)
        if self._received > _MOST_BESIDE + self._promised():
            raise ServiceError("bad_file", "The file unpacks to far more than its header promises: save it anew.")

    def _promised(self) -> int:
        """Bytes by the sizes and bits of a NIfTI header, as a bound; of anything else what may come at most."""
        order = {b"\x5c\x01\0\0": "<", b"\0\0\x01\x5c": ">"}.get(self._start[:4])
        if order is None or len(self._start) < _NIFTI_SIZES:
            return self._limit
        _, *sizes = struct.unpack_from(f"{order}8h", self._start, 40)
        return math.prod(max(1, size) for size in sizes) * 16


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
            await to_thread.run_sync(sink.write, bytes(waiting), limiter=_WRITING)
            waiting.clear()
    if waiting:
        await to_thread.run_sync(sink.write, bytes(waiting), limiter=_WRITING)


async def drain(stream: AsyncIterator[bytes]) -> None:
    """Read the rest of a body that is not needed, so that the client sees the answer and not a broken connection; but
    no more of it, and no longer, than a large volume takes.
    """
    received = 0
    with move_on_after(_DRAIN_SECONDS):
        async for chunk in stream:
            received += len(chunk)
            if received > _DRAIN_BYTES:
                return

"""Answers of a worker, read within stated bounds: so many bytes, so long, never unpacked, and words that are plain."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any

import requests
import urllib3

from MemSeg3DLib.base.errors import WorkerError

JSON_BYTES = 16 << 20
"""The largest answer in JSON that is read."""

LINE_BYTES = 8 << 20
"""The longest line of a stream: packed bits of one slice of some 7,000 x 7,000 voxels at worst."""

ERROR_BYTES = 64 << 10

MESSAGE_LETTERS = 400
"""Of a sentence that a worker gives."""

PIECE = 1 << 16

BROKEN = (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException)
"""What reading an answer may raise: those of requests are OSErrors."""


def plain_words(value: object, letters: int = MESSAGE_LETTERS) -> str:
    """What a worker says, as one short line of plain text: no control characters, nothing that Qt takes for HTML."""
    # Cut first: what is looked at is short, whatever came.
    text = (value if isinstance(value, str) else repr(value) if isinstance(value, int | float) else "")[: 4 * letters]
    text = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    text = re.sub(r"<(?=[A-Za-z/!?])", "\u2039", text)
    return text if len(text) <= letters else f"{text[: letters - 1]}\u2026"


def body_of(answer: requests.Response, limit: int) -> bytes:
    """The whole body. Raises WorkerError where it is packed or larger than `limit`, and what BROKEN names."""
    _refuse_packed(answer)
    announced = answer.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise _too_large(limit)
    pieces, total = [], 0
    while piece := answer.raw.read(PIECE, decode_content=False):
        pieces.append(piece)
        total += len(piece)
        if total > limit:
            raise _too_large(limit)
    return b"".join(pieces)


def lines_of(answer: requests.Response) -> Iterator[bytes]:
    """Lines as they arrive, without their ends, heartbeats as empty ones. Raises as `body_of` does."""
    _refuse_packed(answer)
    begun = bytearray()
    for piece in _pieces(answer):
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            begun += piece[start:end]
            yield bytes(begun)
            begun.clear()
            start = end + 1
        begun += piece[start:]
        if len(begun) > LINE_BYTES:
            raise WorkerError("bad_answer", "The worker sends a line without an end: restart it, or ask who runs it.")
    if begun:
        yield bytes(begun)


def json_of(data: bytes) -> dict[str, Any]:
    """An object. Raises ValueError for anything else, also for what is nested too deeply to be read."""
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    raw = answer.raw
    if getattr(raw, "chunked", False):
        yield from raw.read_chunked(PIECE, decode_content=False)
        return
    # A gateway may send the stream in one piece of unknown length; older versions of urllib3 then hold lines back.
    read = getattr(raw, "read1", raw.read)
    while piece := read(PIECE, decode_content=False):
        yield piece


def _refuse_packed(answer: requests.Response) -> None:
    if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        # A small packed answer may hold gigabytes, and none was asked for.
        raise WorkerError(
            "bad_answer", "The worker's answer came compressed, which was not asked for: check any proxy on the way."
        )


def _too_large(limit: int) -> WorkerError:
    words = f"{limit >> 20} MB" if limit >> 20 else f"{limit >> 10} KB"
    return WorkerError("bad_answer", f"The worker's answer is larger than {words} and was not read: ask who runs it.")

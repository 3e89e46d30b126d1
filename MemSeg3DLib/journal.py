"""The recovery journal: closed rounds on disk at once, since a scene is saved only when the user saves it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from MemSeg3DLib.errors import RoundError


def _line(words: dict[str, Any]) -> bytes:
    body = json.dumps(words, separators=(",", ":"))
    return f"{hashlib.sha256(body.encode('utf-8')).hexdigest()} {body}\n".encode()


_CLOSED = _line({"type": "closed"})


class RecoveryJournal:
    """Lines of one segmentation's rounds in a file that its owner alone can read.

    A line is on the disk before `append` returns. The file holds prompts, object numbers, segment ids and voxels of
    segments; no image, no name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: dict[str, Any]) -> None:
        """Add a line and wait until it is on the disk. Raises RoundError where the disk does not take it."""
        data = _line(line)
        try:
            # Made here and not before: without a place for it, work goes on and is told of it after each round.
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "ab") as file:
                # A crash may have torn the last line: the next one must not grow onto it.
                torn = file.tell() > 0 and self._last_byte() != b"\n"
                file.write(b"\n" + data if torn else data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RoundError(
                f"The recovery journal cannot be written ({error.strerror}): save the scene, and free some disk space."
            ) from error

    def close(self) -> None:
        """Say that the scene was closed, or Slicer quit, as the user wished. Raises RoundError as `append` does."""
        if self.path.is_file() and not self.is_closed:
            self.append({"type": "closed"})

    @property
    def is_closed(self) -> bool:
        """True where the last line says so; a crash leaves no such line. Reads the end of the file alone."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - len(_CLOSED)))
                return file.read() == _CLOSED
        except OSError:
            return False

    def lines(self) -> list[dict[str, Any]]:
        """Every whole line; one that a crash tore apart is left out. Raises RoundError where it cannot be read."""
        result: list[dict[str, Any]] = []
        if not self.path.is_file():
            return result
        try:
            text = self.path.read_text("utf-8", errors="replace")
        except OSError as error:
            raise RoundError(
                f"The recovery journal cannot be read ({error.strerror}): see who may read {self.path.parent}."
            ) from error
        for raw in text.splitlines():
            checksum, _, body = raw.partition(" ")
            if hashlib.sha256(body.encode("utf-8")).hexdigest() != checksum:
                continue
            result.append(json.loads(body))
        return result

    def rounds(self) -> list[dict[str, Any]]:
        """The rounds that were applied when the journal ends, oldest first, as `RoundRecord.to_json` gives them."""
        applied: list[dict[str, Any]] = []
        undone: list[dict[str, Any]] = []
        for line in self.lines():
            if line["type"] == "round":
                applied.append(line["round"])
                undone.clear()
            # A step of a round whose own line found no space on the disk must not take another one's place.
            elif line["type"] == "undo" and applied and applied[-1]["id"] == line["round"]:
                undone.append(applied.pop())
            elif line["type"] == "redo" and undone and undone[-1]["id"] == line["round"]:
                applied.append(undone.pop())
        return applied

    def _last_byte(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1)

    def delete(self) -> None:
        """Remove the file. Raises RoundError where it stays."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise RoundError(
                f"The recovery journal cannot be deleted ({error.strerror}): close other Slicers, then try again."
            ) from error

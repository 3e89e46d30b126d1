"""The recovery journal: closed rounds on disk at once, since a scene is saved only when the user saves it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, Literal

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.base.file_lock import FileLock, is_held_elsewhere

End = Literal["closed", "deleted"]


def _line(words: dict[str, Any]) -> bytes:
    body = json.dumps(words, separators=(",", ":"))
    return f"{hashlib.sha256(body.encode('utf-8')).hexdigest()} {body}\n".encode()


_ENDS = {kind: _line({"type": kind}) for kind in ("closed", "deleted")}
"""Last lines that say how a journal ended; a crash leaves none."""

_RESUMED = _line({"type": "resumed"})
"""Before the first line of each later writer: where a crash left no end, rounds of two scenes would look like one's."""


class RecoveryJournal:
    """Lines of one segmentation's rounds in a file that its owner alone can read.

    A line is on the disk before `append` returns. The file holds prompts, object numbers, segment ids and voxels of
    segments; no image, no name. Its writer claims it: a second one at the same time, such as another Slicer with the
    same scene, writes `<name>.<n>.journal` instead.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: FileLock | None = None
        """Of the one that writes it; None for who only reads, or appends to what is nobody's."""
        self._was_held = False
        self._has_written = False

    @property
    def owner(self) -> str:
        """The name of the journal that this is, or that it stands beside."""
        return self.path.stem.partition(".")[0]

    @property
    def order(self) -> tuple[str, int]:
        """Journals of one owner in the order in which they were begun."""
        number = self.path.stem.partition(".")[2]
        return self.owner, int(number) if number.isdecimal() else 1

    @property
    def is_elsewhere(self) -> bool:
        """True while another program writes it: it is neither to be offered nor to be deleted."""
        held_here = self._lock is not None and self._lock.is_held
        return not held_here and is_held_elsewhere(self.path)

    def claim(self) -> None:
        """Be the one that writes it. Makes no file yet; where others write it, another name is taken."""
        self._lock = FileLock(self.path)
        # What cannot be opened is told when a line is to be written.
        with contextlib.suppress(OSError):
            self._was_held = self._lock.take()
            if not self._was_held:
                # Somebody may only have looked whether it is in use.
                time.sleep(0.02)
                self._was_held = self._lock.take()
            if not self._was_held:
                self._step_aside()

    def let_go(self) -> None:
        """Whoever wants to may have it."""
        if self._lock is not None:
            self._lock.release()

    def _hold(self) -> None:
        """Before a line is written. Raises OSError where the file cannot be made."""
        while self._lock is not None and not self._lock.is_held:
            # A file that has come since the claim is somebody else's, whose rounds are not this scene's.
            if self._lock.take(make=self._was_held, exclusive=not self._was_held):
                self._was_held = True
            else:
                self._step_aside()

    def _step_aside(self) -> None:
        """Go to the next name that nobody has used: rounds of two writers make no sense one after the other."""
        number = 2
        while (path := self.path.with_name(f"{self.owner}.{number}.journal")).exists():
            number += 1
        self.path, self._lock, self._was_held = path, FileLock(path), False

    def append(self, line: dict[str, Any]) -> None:
        """Add a line and wait until it is on the disk. Raises RoundError where the disk does not take it."""
        data = _line(line)
        try:
            # Made here and not before: without a place for it, work goes on and is told of it after each round.
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._hold()
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "ab") as file:
                # A crash may have torn the last line: the next one must not grow onto it.
                torn = file.tell() > 0 and self._last_byte() != b"\n"
                is_later = file.tell() > 0 and self._lock is not None and not self._has_written
                file.write((b"\n" if torn else b"") + (_RESUMED if is_later else b"") + data)
                file.flush()
                os.fsync(file.fileno())
            self._has_written = True
        except OSError as error:
            raise RoundError(
                f"The rounds for recovery cannot be written ({error.strerror}): save the scene, free some disk space."
            ) from error

    def close(self, end: End = "closed") -> None:
        """Say how it ended, and let go of it: the scene was closed, or Slicer quit, as the user wished; or deleted.

        deleted: the segmentation, or its rounds. Raises RoundError as `append` does.
        """
        try:
            is_ours = self._lock is None or self._lock.is_held
            if is_ours and self.path.is_file() and self.end is None:
                self.append({"type": end})
        finally:
            self.let_go()

    @property
    def is_closed(self) -> bool:
        """True where the last line says so."""
        return self.end == "closed"

    @property
    def end(self) -> End | None:
        """How it ended; None while it is written, and after a crash. Reads the end of the file alone."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - max(map(len, _ENDS.values()))))
                last = file.read()
        except OSError:
            return None
        if last.endswith(_ENDS["closed"]):
            return "closed"
        return "deleted" if last.endswith(_ENDS["deleted"]) else None

    def lines(self) -> list[dict[str, Any]]:
        """Every whole line; one that a crash tore apart is left out. Raises RoundError where it cannot be read."""
        result: list[dict[str, Any]] = []
        if not self.path.is_file():
            return result
        try:
            text = self.path.read_text("utf-8", errors="replace")
        except OSError as error:
            raise RoundError(
                f"The rounds for recovery cannot be read ({error.strerror}): see who may read {self.path.parent}."
            ) from error
        for raw in text.splitlines():
            checksum, _, body = raw.partition(" ")
            if hashlib.sha256(body.encode("utf-8")).hexdigest() != checksum:
                continue
            try:
                line = json.loads(body)
                _check(line)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                # Whole, and yet none of ours: what comes after it may build on it.
                raise RoundError("Rounds for recovery are of another version of MemSeg3D: update this one.") from error
            result.append(line)
        return result

    def rounds(self) -> list[dict[str, Any]]:
        """The rounds that were applied when the journal ends, oldest first, as `RoundRecord.to_json` gives them."""
        applied: list[dict[str, Any]] = []
        undone: list[dict[str, Any]] = []
        for line in self.lines():
            if line["type"] == "round":
                applied.append(line["round"])
                undone.clear()
            # By id: a round's own line may have found no space on the disk, and after a recovery the scene's last round
            # need not be the file's.
            elif line["type"] == "undo":
                gone = [one for one in applied if one["id"] == line["round"]]
                applied = [one for one in applied if one["id"] != line["round"]]
                undone += gone
            elif line["type"] == "redo" and undone and undone[-1]["id"] == line["round"]:
                applied.append(undone.pop())
        return applied

    def sittings(self) -> list[dict[str, bool]]:
        """What each writer left, oldest first: the ids of rounds that it went over, and whether they were applied then.

        A new writer begins after an end, and after a crash.
        """
        result: list[dict[str, bool]] = [{}]
        for line in self.lines():
            if line["type"] == "round":
                result[-1][str(line["round"]["id"])] = True
            elif line["type"] in ("undo", "redo"):
                result[-1][str(line["round"])] = line["type"] == "redo"
            elif line["type"] in {*_ENDS, "resumed"}:
                result.append({})
        return [one for one in result if one]

    def _last_byte(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1)

    def delete(self) -> None:
        """Remove the file. Raises RoundError where it stays, also because another program writes it."""
        try:
            is_gone = (self._lock or FileLock(self.path)).delete()
        except OSError as error:
            raise RoundError(
                f"The rounds for recovery cannot be deleted ({error.strerror}): close other Slicers, then try again."
            ) from error
        if not is_gone:
            raise RoundError("Another Slicer is keeping these rounds: close that one first.")


def _check(line: dict[str, Any]) -> None:
    """Raises TypeError or KeyError where a line is none that a journal has."""
    names = {"round": lambda: line["round"]["id"], "undo": lambda: line["round"], "redo": lambda: line["round"]}
    if not isinstance(line["type"], str) or (line["type"] in names and not isinstance(names[line["type"]](), str)):
        raise TypeError("a line without its words")

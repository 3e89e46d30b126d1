"""What became of each case of a batch: a table, on the disk after every case, and what need not be done again."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from memseg3d.cases.batch_list import FILES, BatchCase
from memseg3d.cases.prompt_files import name_and_file
from memseg3d.cases.results import SESSION, STEM

REPORT = "report.csv"
MARK = "batch.json"
_HEADERS = (".mhd", ".nhdr")
"""Their voxels lie in other files of the same stem."""


@dataclass(frozen=True)
class CaseLine:
    """One case. millilitres: of all its segments; quality: the least of their means; message: why it failed."""

    case: str
    status: Literal["done", "done before", "kept", "failed"]
    seconds: float = 0.0
    segments: int = 0
    millilitres: float = 0.0
    quality: float | None = None
    message: str = ""


class BatchReport:
    """`report.csv` in the folder of a batch."""

    def __init__(self, folder: Path, cases: Collection[str]) -> None:
        """cases: all names of the batch; what an earlier table says of them stands until they are done."""
        self._path = folder / REPORT
        self.lines: list[CaseLine] = []
        self._before = [row for row in _rows(self._path) if row.get("case") in cases]

    def add(self, line: CaseLine) -> None:
        """Add a case; the table on the disk is whole at every moment."""
        self.lines.append(line)
        names = [each.name for each in fields(CaseLine)]
        done = {each.case for each in self.lines}
        fresh = self._path.with_suffix(".new")
        try:
            with fresh.open("w", encoding="utf-8", newline="") as file:
                table = csv.DictWriter(file, names, extrasaction="ignore")
                table.writeheader()
                table.writerows(asdict(each) for each in self.lines)
                table.writerows(row for row in self._before if row["case"] not in done)
            fresh.replace(self._path)
        finally:
            fresh.unlink(missing_ok=True)

    @property
    def failed(self) -> list[CaseLine]:
        """The cases that have no result."""
        return [line for line in self.lines if line.status == "failed"]


class CaseMark:
    """`batch.json` in a case's folder: what its result was made from, how it was told, and whose session it is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            words = json.loads((folder / MARK).read_text("utf-8"))
            self._words: dict[str, Any] = words if isinstance(words, dict) else {}
        except (OSError, ValueError, RecursionError):
            self._words = {}

    def result_of(self, made_from: str) -> CaseLine | None:
        """What was told of the result that lies there, where it was made from just this; else None."""
        if self._words.get("made_from") != made_from or not (self._folder / f"{STEM}.nii.gz").is_file():
            return None
        try:
            return replace(CaseLine(**self._words["line"]), status="done before", seconds=0.0)
        except (LookupError, TypeError):
            return None

    def is_others(self) -> bool:
        """Whether somebody has worked on since, or no batch was here: its rounds are not to be lost."""
        here = _hash_of(self._folder / SESSION)
        return here is not None and here not in self._words.get("sessions", ())

    def expect(self, session: str) -> None:
        """Before results are written: the session's text that will be theirs, so that a kill between is no riddle."""
        before = _hash_of(self._folder / SESSION)
        self._write({"sessions": [each for each in (before, _hash(session.encode("utf-8"))) if each is not None]})

    def keep(self, made_from: str, line: CaseLine) -> None:
        """Last of all: a case without it is computed anew."""
        self._write({**self._words, "made_from": made_from, "line": asdict(line)})

    def _write(self, words: dict[str, Any]) -> None:
        self._words = words
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f"{MARK}.new"
        fresh.write_text(json.dumps(words), "utf-8")
        fresh.replace(self._folder / MARK)


def made_from(case: BatchCase, settings: Mapping[str, Any]) -> str:
    """What a result depends on: model, options, prompts, and the files, by name, size and time of change.

    Where the files lie plays no part, so that a list may be named in another way, and a folder moved.
    """
    texts: dict[str, list[Any]] = {}
    for option, each in sorted(case.texts.items()):
        named = [name_and_file(text) for text in each] if option in FILES else []
        texts[option] = [[name, positive, _seen(path)] for name, positive, path in named] or list(each)
    words = {"settings": dict(settings), "texts": texts, "image": _seen(case.image)}
    return _hash(json.dumps(words, sort_keys=True).encode())


def _seen(path: Path) -> list[Any]:
    """A file, every file of a folder of DICOM files, or a header with the files beside it that bear its name."""
    try:
        if path.is_dir():
            return [path.name, [_seen(each) for each in sorted(path.iterdir()) if each.is_file()]]
        found = path.stat()
        beside = [each for each in path.parent.glob(f"{path.stem}.*") if each != path]
    except (OSError, ValueError):
        return [path.name, None]
    others = [_seen(each) for each in sorted(beside)] if path.suffix.lower() in _HEADERS else []
    return [path.name, found.st_size, found.st_mtime_ns, others]


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        with file.open(encoding="utf-8", newline="") as text:
            return list(csv.DictReader(text))
    except (OSError, ValueError, csv.Error):
        return []


def _hash_of(file: Path) -> str | None:
    try:
        return _hash(file.read_bytes())
    except OSError:
        return None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

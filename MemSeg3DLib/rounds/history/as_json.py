"""Rounds as a JSON document that `memseg3d segment --rounds` runs again: prompts in (k, j, i), and no name unasked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import ExportError, RoundError
from MemSeg3DLib.base.output_files import FileSet, write_text
from MemSeg3DLib.worker.jobs import PastRound

FORMAT = "memseg3d-rounds"
VERSION = 1


def rounds_to_json(
    rounds: Sequence[PastRound], names: Mapping[int, str] | None = None, spacing: Sequence[float] | None = None
) -> dict[str, Any]:
    """The document of applied rounds, oldest first. names: of segments by object number; None: numbers alone.

    spacing: (k, j, i) in mm as the scene has it: a file may say it with other digits, and is to be known all the same.

    Rounds that the worker computed in different sessions (with other options) stay apart by the number of their
    session. Raises RoundError where there is nothing to write, or where rounds of several volumes are mixed.
    """
    if not rounds:
        raise RoundError("There is no round to export yet: place a prompt first.")
    if len({one.volume for one in rounds}) > 1:
        raise RoundError(
            "These rounds were made on different volumes: undo to those of one volume, or keep one segmentation each."
        )
    sessions = list(dict.fromkeys(one.session for one in rounds))
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "volume": rounds[0].volume,
        "rounds": [
            {
                "id": one.id,
                "session": sessions.index(one.session) + 1,
                "options": one.options,
                "prompts": one.prompts,
                "removed": list(one.removed),
                "limits": one.limits,
                # Only where there are some: documents without them are as they always were.
                **({"full": one.full} if one.full else {}),
                **({"afresh": one.afresh} if one.afresh else {}),
            }
            for one in rounds
        ],
    }
    if spacing is not None:
        document["spacing"] = [float(step) for step in spacing]
    if names is not None:
        used = {int(prompt["object"]) for one in rounds for prompt in one.prompts}
        document["names"] = {str(number): name for number, name in sorted(names.items()) if number in used}
    return document


def write_rounds(
    path: Path,
    rounds: Sequence[PastRound],
    names: Mapping[int, str] | None = None,
    spacing: Sequence[float] | None = None,
) -> None:
    """Write the document of `rounds_to_json` to a file, whole or not at all: an older one stays where it fails.

    Raises RoundError, also where the file cannot be written.
    """
    text = json.dumps(rounds_to_json(rounds, names, spacing), indent=1, ensure_ascii=False) + "\n"
    try:
        with FileSet(overwrite=True) as files:
            write_text(files.add(path), text)
    except ExportError as error:
        raise RoundError(str(error)) from error

"""The text of a segmentation's rounds in the scene: where it lies, how it is kept, and what a copy takes of it."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.rounds.history.record import RoundRecord

ROLE = "MemSeg3D.Rounds"
"""Role of the reference from a segmentation node to the text node with its rounds."""

ASIDE = ".damaged"
"""How the names of files end that hold rounds which could not be read."""


def store_rounds(segmentation_node: Any, text: str) -> None:
    """Keep the rounds of a segmentation in the scene, in the text node that it refers to; made where there is none."""
    text_node = segmentation_node.GetNodeReference(ROLE)
    if text_node is None:
        name = f"{segmentation_node.GetName()} rounds"
        text_node = segmentation_node.GetScene().AddNewNodeByClass("vtkMRMLTextNode", name)
        text_node.SetHideFromEditors(True)
        segmentation_node.SetNodeReferenceID(ROLE, text_node.GetID())
    text_node.SetText(text)


def copied_rounds(text: str) -> str:
    """Rounds of one segmentation for a copy of it: without drawn prompts, which are the original's alone.

    They count in the copy all the same, whatever becomes of them in the scene. What cannot be read stays as it is.
    """
    try:
        stored = json.loads(text)
        if stored.get("version", 1) != 1:
            # Written again by this version it would lose what only the newer one knows.
            return text
        records = [replace(RoundRecord.from_json(one), drawn=[]) for one in stored["rounds"]]
    except (RoundError, ValueError, KeyError, TypeError, AttributeError):
        return text
    return json.dumps({**stored, "rounds": [one.to_json() for one in records]}, separators=(",", ":"))


def write_aside(folder: Path, name: str, text: str) -> Path:
    """Write rounds that cannot be read into a new file, on the disk before this returns. Raises RoundError."""
    # The name comes out of a scene file, which may be somebody else's.
    known = name if name.isalnum() else "rounds"
    path = folder / f"{known}-{uuid.uuid4().hex[:8]}{ASIDE}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RoundError(
            f"The damaged rounds cannot be written to a file ({error.strerror}): free some disk space. They stay."
        ) from error
    return path

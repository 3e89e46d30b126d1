"""What the user has decided about the worker, as plain values that every thread may read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Mode(StrEnum):
    """Where segmentation is computed. Nothing starts and nothing is sent before the user has left NONE."""

    NONE = "none"
    LOCAL = "local"
    REMOTE = "remote"


AUTOMATIC = "auto"
"""The worker chooses the fastest device that it has."""

EMBEDDED_MODEL = "memseg3d-nano"


@dataclass(frozen=True)
class WorkerPlan:
    """One state of the choice.

    url, token, ca_file, allows_plain_text: of a remote worker. device, model, threads, retention_hours,
    deletes_on_close, installed: of a local one; model is a name or the path of a checkpoint, threads 0 leaves them to
    torch, and installed is the `python` or `memseg3d` of an environment that somebody else has made (None: the
    environment of this extension).
    """

    mode: Mode = Mode.NONE
    url: str = ""
    token: str = ""
    ca_file: str = ""
    allows_plain_text: bool = False
    device: str = AUTOMATIC
    model: str = EMBEDDED_MODEL
    threads: int = 0
    retention_hours: float = 24.0
    deletes_on_close: bool = False
    installed: Path | None = None
    withdrawals: int = 0
    """Grows whenever the user withdraws a permission, so that no client from before is taken for this plan's."""

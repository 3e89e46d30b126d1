"""The log of a run: lines of JSON, and TensorBoard's curves where it is installed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LOG = "log.jsonl"
SAY_SECONDS = 30.0


def first_alone(say: Callable[[str], None]) -> Callable[[str], None]:
    """`say` in the first process of a run; torchrun's others say nothing."""
    return say if os.environ.get("RANK", "0") == "0" else lambda _: None


class Told:
    """When a run speaks: after its first step, so that nobody wonders, then twice a minute, and at its end."""

    def __init__(self) -> None:
        self._last: float | None = None

    def is_due(self, is_end: bool = False) -> bool:
        """True where it should speak now; it is taken to do so."""
        now = time.monotonic()
        due = is_end or self._last is None or now - self._last >= SAY_SECONDS
        if due:
            self._last = now
        return due


class RunLog:
    """Appends to `folder`/log.jsonl; with `curves` also to `folder`/tensorboard, silently not where it is missing.

    A process that is not the first of its run writes nothing: `writes` is False there.
    """

    def __init__(self, folder: Path, writes: bool = True, curves: bool = True) -> None:
        self._file = (folder / LOG).open("a", encoding="utf-8") if writes else None
        self._curves: Any = None
        if writes and curves and find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._curves = SummaryWriter(str(folder / "tensorboard"))

    def write(self, line: dict[str, Any]) -> None:
        """Write one line; it has a `step`, and its other numbers become points of curves."""
        if self._file is None:
            return
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._curves is not None:
            for name, value in _numbers(line):
                self._curves.add_scalar(name, value, line["step"])

    def close(self) -> None:
        """Write everything out."""
        if self._file is not None:
            self._file.close()
        if self._curves is not None:
            self._curves.close()


def _numbers(line: dict[str, Any], group: str = "training") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in line.items():
        if isinstance(value, dict):
            found += _numbers(value, name)
        elif isinstance(value, int | float) and not isinstance(value, bool) and name != "step":
            found.append((f"{group}/{name}", float(value)))
    return found

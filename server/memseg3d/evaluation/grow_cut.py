"""Slicer's grow-cut by a program of its own: this package imports neither Slicer nor VTK, whoever has them runs it."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.evaluation.classical import Question

PROGRAM = Path(__file__).resolve().parents[3] / "Testing" / "benchmarks" / "grow_cut.py"
"""Where a checkout has it."""


class ProgramFailed(RuntimeError):
    """The program is not there or ended; the message says what to do."""


class GrowCutProgram:
    """Runs the program while it is open; `with GrowCutProgram() as program: program.segment(question)`."""

    def __init__(self, program: Path | None = None) -> None:
        """program: a Python file that speaks as Testing/benchmarks/grow_cut.py does. Raises `ProgramFailed`."""
        self._program = program or PROGRAM
        if not self._program.is_file():
            raise ProgramFailed(
                f"There is no {self._program}: name Testing/benchmarks/grow_cut.py of a checkout of MemSeg3D."
            )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> GrowCutProgram:
        self._process = subprocess.Popen(
            [sys.executable, str(self._program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the program by ending its stdin."""
        if self._process is not None:
            try:
                self._process.communicate(timeout=10)
            except (subprocess.TimeoutExpired, OSError, ValueError):
                self._process.kill()
                self._process.wait()
            self._process = None

    def segment(self, question: Question) -> NDArray[Any]:
        """The object's mask: boolean, of the image's shape. Raises `ProgramFailed`."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            raise ProgramFailed("The grow-cut program is not open.")
        asked = io.BytesIO()
        np.savez(asked, image=question.image, seeds=question.seeds)
        try:
            self._process.stdin.write(struct.pack("<q", asked.tell()) + asked.getvalue())
            self._process.stdin.flush()
            (size,) = struct.unpack("<q", self._process.stdout.read(8))
            mask = np.load(io.BytesIO(self._process.stdout.read(size)), allow_pickle=False)
        except (OSError, struct.error, ValueError) as error:
            raise ProgramFailed(
                "The grow-cut program ended: it needs Slicer's libraries (pip install slicer-core) in this Python."
            ) from error
        return np.asarray(mask, bool)

"""The seam between parts of a network and a library that computes them: ONNX in, a file on disk, a function out."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from memseg3d.network.parts import Runner


class Library(Protocol):
    """A library for inference on processors. Both calls raise whatever the library raises."""

    name: str
    shares_cores: bool
    """Whether callers at once, of one thread each, are together faster than one caller with all the threads."""

    def prepare(self, model: bytes, file: Path, threads: int) -> None:
        """Compile an ONNX model for this processor and keep the result in `file`."""
        ...

    def load(self, file: Path, threads: int) -> Runner:
        """The function in a file that `prepare` has written. Several threads may call it at once."""
        ...

"""A part of a network as a library computes it, loaded when it is first asked for, for each number of threads anew."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from memseg3d.network.backends.library import Library
from memseg3d.network.parts import Part, Runner

log = logging.getLogger(__name__)

CHOICE = "choice.json"


class LoadedWhenUsed:
    """A `Runner` that takes as many threads as torch would take for whoever calls.

    Most rounds ask for some of the parts alone, and whoever shares the cores asks for one thread.
    """

    def __init__(self, part: Part, library: Library, file: Path) -> None:
        self._name, self._function = part.name, part.function
        self._library, self._file = library, file
        self._runners: dict[int, Runner] = {}
        self._lock = threading.Lock()

    def load(self, threads: int) -> Runner:
        """With so many threads. Raises whatever the library raises."""
        with self._lock:
            if threads not in self._runners:
                self._runners[threads] = self._library.load(self._file, threads)
            return self._runners[threads]

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        threads = torch.get_num_threads()
        runner = self._runners.get(threads)
        if runner is None:
            try:
                runner = self.load(threads)
            except Exception:
                log.warning("%s cannot load %s: torch computes it", self._library.name, self._name, exc_info=True)
                runner = self._runners[threads] = self._by_torch
                # At the next start all are made anew.
                (self._file.parent / CHOICE).unlink(missing_ok=True)
        return runner(inputs)

    def _by_torch(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return self._function(*inputs)

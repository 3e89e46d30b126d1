"""A model of this engine as a player of the challenge, in the evaluator's own process."""

from __future__ import annotations

import time
from pathlib import Path

from memseg3d.evaluation.cvpr25.cases import read_case, save
from memseg3d.evaluation.cvpr25.predict import STATE, Entry
from memseg3d.evaluation.results import precision_told
from memseg3d.network.seam import Network


class EnginePlayer:
    """A model in this process: loaded once, so that seconds are those of the answers."""

    def __init__(self, network: Network) -> None:
        self.name = network.info.name
        # What is computed in another precision has results of its own.
        self.identity = " ".join(filter(None, (network.info.sha256, precision_told(network))))
        self._entry = Entry(network)

    def play(self, case: str, inputs: Path, outputs: Path) -> float:
        """Answer by the engine's own entry, sessions kept between rounds as in the container."""
        begun = time.perf_counter()
        asked = read_case(inputs / case)
        save(outputs / case, {"segs": self._entry.answer(asked, outputs / f"{Path(case).stem}{STATE}")})
        return time.perf_counter() - begun

"""How fast each library computes a part of a network here, and whether it computes the same."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from memseg3d.network.backends.library import Library
from memseg3d.network.parts import Part, Runner

log = logging.getLogger(__name__)

TRIES = 5
MOST_DIFFERENCE = 1e-3
"""Of a part's results, as part of their largest: more is no rounding, and the library is not taken."""


@dataclass(frozen=True)
class Exactness:
    """way: within it a part is exported, and computed by torch to compare with. difference: that its results may have,
    as part of their largest.
    """

    way: Callable[[], AbstractContextManager[None]] = nullcontext
    difference: float = MOST_DIFFERENCE

    def of(self, part: Part) -> Part:
        """The part whose function torch computes that way, where a library fails later on."""

        def computed(*inputs: Tensor) -> tuple[Tensor, ...]:
            with self.way():
                return part.function(*inputs)

        return replace(part, function=computed)


def measured(
    part: Part, name: str, libraries: Sequence[Library], folder: Path, exactness: Exactness = Exactness()
) -> dict[str, float]:
    """Compile a part with each library into `folder`; seconds of one call by torch and by those that can."""
    from memseg3d.network.backends.export import as_onnx

    runners: dict[str, Runner] = {"torch": lambda inputs: part.function(*inputs)}
    try:
        with exactness.way():
            model = as_onnx(part)
    except Exception:
        # Whatever the exporter raises: torch computes the part.
        log.info("%s cannot be exported", name, exc_info=True)
        libraries = []
    with torch.no_grad(), exactness.way():
        expected = part.function(*part.inputs)
    for library in libraries:
        file = folder / library.name / name
        file.parent.mkdir(exist_ok=True)
        try:
            library.prepare(model, file, torch.get_num_threads())
            runner = library.load(file, torch.get_num_threads())
            if _is_equal(expected, runner(part.inputs), exactness.difference):
                runners[library.name] = runner
        except Exception:
            log.info("%s cannot compute %s", library.name, name, exc_info=True)
    return _seconds(part, runners)


def _is_equal(expected: Sequence[Tensor], found: Sequence[Tensor], difference: float) -> bool:
    return all(
        float((one - other).abs().max()) <= difference * max(1.0, float(one.abs().max()))
        for one, other in zip(expected, found, strict=True)
    )


@torch.no_grad()
def _seconds(part: Part, runners: Mapping[str, Runner]) -> dict[str, float]:
    """The best of a few calls each, in turns, after one to warm up."""
    best = dict.fromkeys(runners, float("inf"))
    for attempt in range(TRIES + 1):
        for name, runner in runners.items():
            begun = time.perf_counter()
            runner(part.inputs)
            if attempt:
                best[name] = min(best[name], time.perf_counter() - begun)
    return best

"""Parts of a network that a library may compute instead of torch: tensors in, tensors out, shapes fixed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from memseg3d.network.seam import NetworkInfo

Function = Callable[..., tuple[Tensor, ...]]
Runner = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]
"""What stands for a function at one set of shapes: float32 tensors on the CPU in and out, the same every time."""


@dataclass(frozen=True)
class Part:
    """A function of a network and an example of what it is called with. name and shapes together say which."""

    name: str
    function: Function
    inputs: tuple[Tensor, ...]


class CompiledParts:
    """What computes a network's parts instead of torch; empty at first. Deep copies are empty: their weights change."""

    def __init__(self) -> None:
        self.backend = "torch"
        """Name of the library that computes; of others than torch with its version."""
        self.precision = "fp32"
        """What its products are computed in: fp32, or int8."""
        self.before: Callable[[], None] = _nothing
        """Called before each part: where something else may be done first."""
        self._runners: dict[tuple[str, tuple[torch.Size, ...]], Runner] = {}

    def use(self, backend: str, runners: Iterable[tuple[Part, Runner]], precision: str = "fp32") -> None:
        """From now on have these parts computed so."""
        self.backend, self.precision = backend, precision
        self._runners = {_key(part.name, part.inputs): runner for part, runner in runners}

    def run(self, name: str, function: Function, *inputs: Tensor) -> tuple[Tensor, ...]:
        """`function(*inputs)`, by torch where gradients are wanted or nothing else knows the part at these shapes.

        A batch is computed row by row where single rows are known: on processors it takes no less as a whole.
        """
        self.before()
        if not self._runners or torch.is_grad_enabled() or any(each.dtype != torch.float32 for each in inputs):
            return function(*inputs)
        runner = self._runners.get(_key(name, inputs))
        if runner is not None:
            return runner(inputs)
        runner = self._runners.get(_key(name, [each[:1] for each in inputs]))
        if runner is None or len({each.shape[0] for each in inputs}) > 1:
            return function(*inputs)
        rows = [runner(row) for row in zip(*(each.split(1) for each in inputs), strict=True)]
        return tuple(torch.cat(each) for each in zip(*rows, strict=True))

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledParts:
        return CompiledParts()


@runtime_checkable
class HasParts(Protocol):
    """A network whose parts can be compiled."""

    info: NetworkInfo
    compiled: CompiledParts

    def parts(self) -> list[Part]:
        """All parts, in the shapes that one slice of one object has."""
        ...


@runtime_checkable
class HasRanges(HasParts, Protocol):
    """A network whose parts can be computed in int8 where ranges are known."""

    ranges: Mapping[str, tuple[float, float, float, float]] | None
    """By name of a convolution the least and largest value that it is given and that it gives."""


def _nothing() -> None:
    """Nothing waits."""


def _key(name: str, inputs: Sequence[Tensor]) -> tuple[str, tuple[torch.Size, ...]]:
    return name, tuple(each.shape for each in inputs)

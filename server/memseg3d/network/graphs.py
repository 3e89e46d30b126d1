"""Functions of tensors recorded once a shape and replayed: a CUDA graph launches hundreds of kernels as one."""

from __future__ import annotations

import bisect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

TensorFunction = Callable[..., tuple[Tensor, ...]]
Record = Callable[[TensorFunction, tuple[Tensor, ...]], Callable[[], tuple[Tensor, ...]]]
"""Takes a function and its inputs, which stay where they lie in memory; gives what computes the outputs anew."""

BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Batches are recorded in these sizes; a smaller batch leaves rows unused. Larger ones are not recorded."""
WARM_UPS = 3
"""Runs before recording: what a function prepares at its first call must not be recorded."""


def cuda_graph(function: TensorFunction, inputs: tuple[Tensor, ...]) -> Callable[[], tuple[Tensor, ...]]:
    """Record the kernels that a function launches on the inputs' CUDA device. Raises RuntimeError where it cannot."""
    device = inputs[0].device
    with torch.cuda.device(device):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                function(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # other threads (uploads, say) may use the device meanwhile
        with torch.cuda.graph(graph, pool=_pool(device), capture_error_mode="thread_local"):
            outputs = function(*inputs)

    def replay() -> tuple[Tensor, ...]:
        graph.replay()
        return outputs

    return replay


def without_recording(function: TensorFunction, inputs: tuple[Tensor, ...]) -> Callable[[], tuple[Tensor, ...]]:
    """Run the function itself each time: the same buffers without a device's graphs, for tests on any computer."""
    return lambda: function(*inputs)


@dataclass(frozen=True)
class _Recorded:
    """inputs: the buffers that the recording reads."""

    inputs: tuple[Tensor, ...]
    replay: Callable[[], tuple[Tensor, ...]]


class Recorded:
    """A function whose rows do not depend on each other, recorded for each shape at its first use.

    Every input and output has a leading batch axis B. Where recording fails it is called as it is, and the log says so.
    """

    def __init__(self, name: str, function: TensorFunction, record: Record = cuda_graph) -> None:
        self.name = name
        self.function = function
        self.fails = False
        """True once a recording has failed."""
        self._record = record
        self._recordings: dict[tuple[object, ...], _Recorded] = {}

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The function's outputs, in memory of their own."""
        rows = inputs[0].shape[0]
        if self.fails or rows > BATCHES[-1]:
            return self.function(*inputs)
        size = BATCHES[bisect.bisect_left(BATCHES, rows)]
        key = (size, *((tensor.shape[1:], tensor.stride()[1:], tensor.dtype) for tensor in inputs))
        recorded = self._recordings.get(key) or self._recorded(size, inputs)
        if recorded is None:
            return self.function(*inputs)
        self._recordings[key] = recorded
        for buffer, tensor in zip(recorded.inputs, inputs, strict=True):
            buffer[:rows].copy_(tensor)
        # the next replay writes into the same memory
        return tuple(output[:rows].clone() for output in recorded.replay())

    def __len__(self) -> int:
        return len(self._recordings)

    def _recorded(self, size: int, inputs: tuple[Tensor, ...]) -> _Recorded | None:
        """A recording for batches of `size`; None where it fails."""
        try:
            # what inference mode makes could not be written to outside of it
            with torch.inference_mode(False), torch.no_grad():
                # rows that a batch leaves unused hold what was there before: numbers, whatever they are
                buffers = tuple(_filled(tensor, size) for tensor in inputs)
                return _Recorded(buffers, self._record(self.function, buffers))
        except RuntimeError as error:
            self.fails = True
            log.warning("%s is computed without a recorded graph, which is slower: %s", self.name, error)
            return None


def _filled(tensor: Tensor, size: int) -> Tensor:
    """A buffer of `size` rows, laid out as the tensor's rows are, each with its first row."""
    index = torch.zeros(size, dtype=torch.long, device=tensor.device)
    rows = tensor.index_select(0, index)
    if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return rows.contiguous(memory_format=torch.channels_last)
    return rows


_pools: dict[torch.device, Any] = {}


def _pool(device: torch.device) -> Any:
    """The memory that all recordings of a device share: none keeps anything in it between two replays."""
    if device not in _pools:
        _pools[device] = torch.cuda.graph_pool_handle()
    return _pools[device]

"""OpenVINO as a backend."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from torch import Tensor

from memseg3d.network.parts import Runner


class OpenVino:
    """`library.Library` by OpenVINO; files hold its compiled models."""

    name = "openvino"
    shares_cores = False

    def __init__(self) -> None:
        self._core = openvino.Core()

    def prepare(self, model: bytes, file: Path, threads: int) -> None:
        """Compile, and write what came out."""
        compiled = self._core.compile_model(self._core.read_model(model), "CPU", _settings(threads))
        file.write_bytes(compiled.export_model().getvalue())

    def load(self, file: Path, threads: int) -> Runner:
        """The compiled model, as many times as it was called at once: one of them computes for one caller at a time."""
        model = file.read_bytes()

        def made() -> openvino.InferRequest:
            return self._core.import_model(io.BytesIO(model), "CPU", _settings(threads)).create_infer_request()

        free = [made()]

        def run(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
            # Taken from a list and put back in one step each, whoever else does so.
            try:
                request = free.pop()
            except IndexError:
                request = made()
            try:
                # Kept until the request has run: it reads them where they lie.
                arrays = [np.ascontiguousarray(each.contiguous().numpy()) for each in inputs]
                for place, array in enumerate(arrays):
                    request.set_input_tensor(place, openvino.Tensor(array, shared_memory=True))
                request.infer()
                found = [request.get_output_tensor(place).data for place in range(len(request.model_outputs))]
                return tuple(torch.from_numpy(each.copy()) for each in found)
            finally:
                free.append(request)

        return run


def _settings(threads: int) -> dict[str, Any]:
    return {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        # Each model would be tied to the first cores, so that two callers at once would share one.
        "ENABLE_CPU_PINNING": False,
    }

"""OpenVINO as a backend."""

from __future__ import annotations

import io
import threading
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

    def __init__(self) -> None:
        self._core = openvino.Core()

    def prepare(self, model: bytes, file: Path, threads: int) -> None:
        """Compile, and write what came out."""
        compiled = self._core.compile_model(self._core.read_model(model), "CPU", _settings(threads))
        file.write_bytes(compiled.export_model().getvalue())

    def load(self, file: Path, threads: int) -> Runner:
        """The compiled model, with a request for each thread that calls it."""
        compiled = self._core.import_model(io.BytesIO(file.read_bytes()), "CPU", _settings(threads))
        outputs = len(compiled.outputs)
        own = threading.local()

        def run(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
            request = getattr(own, "request", None)
            if request is None:
                request = own.request = compiled.create_infer_request()
            # Kept until the request has run: it reads them where they lie.
            arrays = [np.ascontiguousarray(each.contiguous().numpy()) for each in inputs]
            for place, array in enumerate(arrays):
                request.set_input_tensor(place, openvino.Tensor(array, shared_memory=True))
            request.infer()
            return tuple(torch.from_numpy(request.get_output_tensor(place).data.copy()) for place in range(outputs))

        return run


def _settings(threads: int) -> dict[str, Any]:
    return {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}

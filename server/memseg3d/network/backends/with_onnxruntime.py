"""ONNX Runtime as a backend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from memseg3d.network.parts import Runner

_ERRORS_ONLY = 3


class OnnxRuntime:
    """`library.Library` by ONNX Runtime; files hold the model as it was optimised for this processor."""

    name = "onnxruntime"
    shares_cores = True

    def __init__(self) -> None:
        # On Windows its published builds tell Microsoft of every session otherwise.
        onnxruntime.disable_telemetry_events()

    def prepare(self, model: bytes, file: Path, threads: int) -> None:
        """Optimise, and write what came out."""
        options = _options(threads)
        options.optimized_model_filepath = str(file)
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def load(self, file: Path, threads: int) -> Runner:
        """A session on the optimised model."""
        options = _options(threads)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]

        def run(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
            given = {name: each.contiguous().numpy() for name, each in zip(names, inputs, strict=True)}
            return tuple(torch.from_numpy(each) for each in session.run(None, given))

        return run


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Results are kept for long as features: in the library's own arena they would hold ever more of it.
    options.enable_cpu_mem_arena = False
    # Threads that wait must not take the processor from other programs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options

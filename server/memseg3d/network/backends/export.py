"""A part of a network as an ONNX model."""

from __future__ import annotations

import io
import logging
import warnings

import torch
from torch import Tensor, nn

from memseg3d.network.parts import Function, Part

OPSET = 17


class _Module(nn.Module):
    """A function as the module that torch exports."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.function(*inputs)


def as_onnx(part: Part) -> bytes:
    """The model, weights and all, for the shapes of the part's example."""
    written = io.BytesIO()
    level = logging.getLogger("torch.onnx").level
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            # The tracing exporter: the other one needs a compiler's worth of packages, and our parts have no branches.
            torch.onnx.export(
                _Module(part.function).eval(),
                part.inputs,
                written,  # type: ignore[arg-type]  # takes it since ever, its annotation does not
                opset_version=OPSET,
                dynamo=False,
            )
        finally:
            logging.getLogger("torch.onnx").setLevel(level)
    return written.getvalue()

"""From words to a network: device, precision and model by name, with a sentence where that is not possible."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import torch

    from memseg3d.network.seam import Network

Precision = Literal["auto", "fp32", "bf16", "int8"]
Backend = Literal["auto", "torch", "openvino", "onnxruntime"]


_DEVICE = re.compile(r"auto|(cpu|cuda|mps|xpu)(:\d{1,3})?")


class NetworkError(ValueError):
    """There is no such network here. about: model, device, threads, precision or backend."""

    def __init__(self, message: str, about: str) -> None:
        super().__init__(message)
        self.about = about


def open_network(
    model: str | None,
    models: Path | None,
    device: str,
    threads: int | None = None,
    precision: Precision = "auto",
    image_size: int | None = None,
    backend: Backend | None = None,
) -> tuple[Network, str]:
    """The network, and the torch device that it is on. Raises `NetworkError`.

    image_size: side of the network's input in pixels; None: as it was trained. backend: what computes it on a CPU, the
    same within rounding; None: torch, and int8 what computes that. precision auto: fp32 for the embedded network on a
    CPU, else what the device is fastest in; int8: the embedded network alone, by ONNX Runtime, on processors that have
    instructions for it.
    """
    import torch

    from memseg3d.experts.opening import open_model
    from memseg3d.network.backends import INT8_LIBRARY, BackendMissing, choose_backend, choose_int8, named_backend
    from memseg3d.network.checkpoint_files import UnknownCheckpoint
    from memseg3d.network.models import ModelDamaged, ModelNotFound
    from memseg3d.network.parts import HasParts

    chosen = choose_device(device, threads)
    try:
        dtype = choose_dtype(precision, chosen)
        network = open_model(model, models, image_size, chosen, dtype)
        if precision == "auto" and dtype != torch.float32 and chosen == "cpu" and isinstance(network, HasParts):
            # Masks alike on all processors; a library in fp32 is as fast as torch in bf16, within an eighth.
            network = open_model(model, models, image_size, chosen, torch.float32)
        if precision != "int8":
            choose_backend(network, backend or "torch")
        elif backend is None or named_backend(backend) in ("auto", INT8_LIBRARY):
            choose_int8(network)
        else:
            raise NetworkError(f"int8 is computed by {INT8_LIBRARY}: leave the backend out.", "backend")
    except (ModelNotFound, ModelDamaged, UnknownCheckpoint) as error:
        raise NetworkError(str(error), "model") from error
    except BackendMissing as error:
        raise NetworkError(str(error), "precision" if precision == "int8" else "backend") from error
    return network, chosen


def check_device(wanted: str) -> None:
    """Raise `NetworkError` for a word that names no device, without loading torch."""
    if not _DEVICE.fullmatch(wanted):
        raise NetworkError(f"There is no device {wanted!r}; choose auto, cpu, cuda, cuda:1 or mps.", "device")


def choose_device(wanted: str, threads: int | None = None) -> str:
    """The torch device to compute on; sets the number of CPU threads. Raises `NetworkError`."""
    check_device(wanted)
    import torch

    if threads is not None and threads < 1:
        raise NetworkError(f"{threads} threads compute nothing; take 1 or more.", "threads")
    if threads is not None:
        torch.set_num_threads(threads)
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise NetworkError(
            f"The device {wanted} cannot be used here; choose cpu, or leave it out for the best one.", "device"
        ) from error
    return wanted


def choose_dtype(precision: Precision, device: str) -> torch.dtype:
    """The dtype of a network on a torch device. Raises `NetworkError` where the device lacks bfloat16."""
    import torch

    from memseg3d.network.precision import computes_in, fastest_dtype

    if precision not in get_args(Precision):
        raise NetworkError(f"There is no precision {precision!r}; choose auto, fp32, bf16 or int8.", "precision")
    if precision == "int8" and device != "cpu":
        raise NetworkError(f"int8 is computed on a CPU alone, not on {device}; choose another precision.", "precision")
    if precision == "auto":
        return fastest_dtype(torch.device(device))
    chosen = torch.bfloat16 if precision == "bf16" else torch.float32
    if not computes_in(chosen, torch.device(device)):
        raise NetworkError(f"The device {device} cannot compute in {precision}.", "precision")
    return chosen

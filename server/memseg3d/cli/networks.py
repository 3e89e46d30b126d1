"""How every subcommand that computes finds its device and network: one set of options and of error sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    import torch

    from memseg3d.network.seam import Network

ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Name or path of a checkpoint, or NETWORK+EXPERT; the embedded model if left out."),
]
ModelsOption = Annotated[Path | None, typer.Option("--models", help="Folder in which models are looked for by name.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps or auto.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, help="CPU threads; torch's own choice if left out. Fewer are faster on a busy computer."
    ),
]

Precision = Literal["auto", "fp32", "bf16"]
PrecisionOption = Annotated[
    Precision, typer.Option("--precision", help="Of the network's numbers; auto: what the device is fastest in.")
]


def open_network(
    model: str | None,
    models: Path | None,
    device: str,
    threads: int | None = None,
    image_size: int | None = None,
    precision: Precision = "auto",
) -> Network:
    """Load the network that the options name. Raises `typer.BadParameter` with the sentence of what is wrong.

    image_size: side of the network's input in pixels; None: as it was trained.
    """
    from memseg3d.experts.opening import open_model
    from memseg3d.network.checkpoint_files import UnknownCheckpoint
    from memseg3d.network.models import ModelDamaged, ModelNotFound

    chosen = choose_device(device, threads)
    try:
        return open_model(model, models, image_size, chosen, choose_dtype(precision, chosen))
    except (ModelNotFound, ModelDamaged, UnknownCheckpoint) as error:
        raise typer.BadParameter(str(error), param_hint="--model") from error


def choose_device(wanted: str, threads: int | None = None) -> str:
    """The torch device to compute on; sets the number of CPU threads. Raises `typer.BadParameter`."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise typer.BadParameter(
            f"The device {wanted} cannot be used here; choose cpu, or leave --device out.", param_hint="--device"
        ) from error
    return wanted


def choose_dtype(precision: Precision, device: str) -> torch.dtype:
    """The dtype of a network on a torch device. Raises `typer.BadParameter` where the device lacks bfloat16."""
    import torch

    from memseg3d.network.precision import computes_in, fastest_dtype

    if precision == "auto":
        return fastest_dtype(torch.device(device))
    chosen = torch.float32 if precision == "fp32" else torch.bfloat16
    if not computes_in(chosen, torch.device(device)):
        raise typer.BadParameter(f"The device {device} cannot compute in {precision}.", param_hint="--precision")
    return chosen

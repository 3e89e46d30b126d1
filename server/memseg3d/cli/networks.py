"""How every subcommand that computes finds its device and network: one set of options and of error sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memseg3d.cases.opening import Backend, Precision
from memseg3d.cli.starting import without_collections

if TYPE_CHECKING:
    from memseg3d.cli.serve_options import Options
    from memseg3d.network.seam import Network

ModelOption = Annotated[
    str | None, typer.Option("--model", help="Name or path of a checkpoint; the embedded model if left out.")
]
ModelsOption = Annotated[Path | None, typer.Option("--models", help="Folder in which models are looked for by name.")]


def _is_device(word: str) -> str:
    """A word that names none is told before anything is loaded."""
    from memseg3d.cases.opening import NetworkError, check_device

    try:
        check_device(word)
    except NetworkError as error:
        raise typer.BadParameter(str(error)) from error
    return word


DeviceOption = Annotated[str, typer.Option("--device", callback=_is_device, help="cpu, cuda, cuda:1, mps or auto.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, help="CPU threads; torch's own choice if left out. Fewer are faster on a busy computer."
    ),
]

PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="Of the network's numbers; auto: fp32 for the embedded model on a CPU, else what is fastest; int8: the "
        "embedded model on newer CPUs, faster and less exact.",
    ),
]

BackendOption = Annotated[
    Backend,
    typer.Option(
        "--backend",
        envvar="MEMSEG3D_BACKEND",
        help="What computes the network on a CPU: auto: the fastest that is installed, measured once.",
    ),
]


def open_network(
    model: str | None,
    models: Path | None,
    device: str,
    threads: int | None = None,
    image_size: int | None = None,
    precision: Precision = "auto",
    backend: Backend | None = None,
) -> Network:
    """Load the network that the options name. Raises `typer.BadParameter` with the sentence of what is wrong.

    image_size: side of the network's input in pixels; None: as it was trained.
    """
    from memseg3d.cases import opening

    try:
        return opening.open_network(model, models, device, threads, precision, image_size, backend)[0]
    except opening.NetworkError as error:
        raise typer.BadParameter(str(error), param_hint=f"--{error.about}") from error


def choose_device(wanted: str, threads: int | None = None) -> str:
    """The torch device to compute on; sets the number of CPU threads. Raises `typer.BadParameter`."""
    from memseg3d.cases import opening

    try:
        with without_collections():
            return opening.choose_device(wanted, threads)
    except opening.NetworkError as error:
        raise typer.BadParameter(str(error), param_hint=f"--{error.about}") from error


def network_and_device(options: Options) -> tuple[Network, str]:
    """What a worker computes with, as its settings name it. Raises `typer.BadParameter`."""
    device = choose_device(options.device, options.threads)
    network = open_network(
        options.model,
        options.models,
        device,
        image_size=options.image_size,
        precision=options.precision,
        backend=options.backend,
    )
    return network, device

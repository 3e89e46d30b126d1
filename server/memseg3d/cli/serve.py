"""`memseg3d serve`: the worker as an HTTP service on this computer or for a hospital."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from memseg3d.cli.networks import (
    BackendOption,
    DeviceOption,
    ModelOption,
    ModelsOption,
    PrecisionOption,
    ThreadsOption,
    choose_device,
    open_network,
)

SWITCH_SECONDS = 0.0005
"""For which one thread of Python keeps the others waiting; Python's own 0.005 adds up while somebody draws."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 0,
    model: ModelOption = None,
    models: ModelsOption = None,
    image_size: Annotated[
        int | None, typer.Option(min=32, help="Side of the network's input in pixels, a multiple of 32 (SAM 2 only).")
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
    backend: BackendOption = "auto",
    data_folder: Annotated[
        Path | None,
        typer.Option(help="Where volumes and sessions are kept; a private folder of this user if left out."),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(envvar="MEMSEG3D_TOKENS", help="File of users' own tokens, as `memseg3d tokens add` makes it."),
    ] = None,
    token_stdin: Annotated[
        bool,
        typer.Option("--token-stdin", help="The first line of stdin is the token; the worker ends when stdin closes."),
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate chain (PEM): the worker then speaks https alone.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="Its key (PEM, no passphrase), unless the chain's file holds it.")
    ] = None,
    no_token: Annotated[bool, typer.Option("--no-token", help="Ask for no token (loopback only).")] = False,
    retention_hours: Annotated[
        float, typer.Option(min=0.0, help="Idle volumes and sessions are deleted after so long.")
    ] = 24.0,
    volume_gib: Annotated[float, typer.Option(min=0.001, help="Largest volume in GiB, unpacked.")] = 4.0,
    disk_gib: Annotated[float, typer.Option(min=0.001, help="Largest data folder in GiB.")] = 64.0,
) -> None:
    """Serve the wire protocol. When it is ready it prints {"url": ..., "protocols": [1]} as one line on stdout.

    The token that all share comes from --token-stdin or from the environment variable MEMSEG3D_TOKEN, never from the
    command line.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from memseg3d.service.server import (
        Certificate,
        ServeError,
        Server,
        bind,
        call_when_stdin_closes,
        check_token,
        check_tokens,
        is_loopback,
        read_token_line,
    )

    try:
        token = read_token_line() if token_stdin else os.environ.get("MEMSEG3D_TOKEN") or None
        if (token is not None or tokens is not None) and no_token:
            raise ServeError("There is a token, and --no-token asks for none: choose one of them.")
        if token is not None:
            check_token(token)
        if tokens is not None:
            check_tokens(tokens)
        if token is None and tokens is None and not is_loopback(host):
            raise ServeError(
                f"{host} can be reached from other computers: set MEMSEG3D_TOKEN, use --token-stdin, or give --tokens."
            )
        if token is None and tokens is None and not no_token:
            raise ServeError(
                "There is no token: set MEMSEG3D_TOKEN, use --token-stdin, give a file of --tokens, or allow it with "
                "--no-token."
            )
        if tls_key is not None and tls_cert is None:
            raise ServeError("There is a --tls-key without a certificate: give --tls-cert too.")
        certificate = None if tls_cert is None else Certificate(tls_cert, tls_key)
        if certificate is not None:
            certificate.check()
        if image_size is not None and image_size % 32:
            raise ServeError(f"SAM 2 takes images of a multiple of 32 pixels, not {image_size}: choose 512 or 1024.")
    except ServeError as error:
        raise _refused(error) from error

    # Imported here: torch takes seconds, and neither `--help` nor a wrong option should wait for it.
    from memseg3d.service.app import create_app
    from memseg3d.service.folders import DataFolder, DataFolderError
    from memseg3d.service.settings import Limits, Settings
    from memseg3d.service.worker import Worker

    try:
        chosen = choose_device(device, threads)
        network = open_network(model, models, chosen, image_size=image_size, precision=precision, backend=backend)
        folder = DataFolder(data_folder) if data_folder is not None else DataFolder.default()
        listener = bind(host, port)
    except (ServeError, DataFolderError, typer.BadParameter) as error:
        raise _refused(error) from error
    # The compute thread lets go of Python at every layer, and waits so long at most for others each time.
    sys.setswitchinterval(SWITCH_SECONDS)
    limits = Limits(volume_bytes=int(volume_gib * 2**30), disk_bytes=int(disk_gib * 2**30))
    settings = Settings(folder.path, token, limits, retention_hours, tokens=tokens)
    worker = Worker(settings, folder, network, chosen)
    server = Server(create_app(worker), listener, worker.leave_streams, certificate)
    if token_stdin:
        call_when_stdin_closes(server.stop)
    server.run_until_stopped()


def _refused(error: Exception) -> typer.Exit:
    typer.echo(f"memseg3d serve: {error}", err=True)
    return typer.Exit(2)


if __name__ == "__main__":
    typer.run(serve)

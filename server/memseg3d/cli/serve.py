"""`memseg3d serve`: the worker as an HTTP service on this computer or for a hospital."""

from __future__ import annotations

import functools
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from memseg3d.cli.serve_options import Options

SWITCH_SECONDS = 0.0005
"""For which one thread of Python keeps the others waiting; Python's own 0.005 adds up while somebody draws."""

_NETWORK, _WHO, _LIMITS, _LOGS, _SCALE = "Address and TLS", "Who may come in", "Limits", "Logs", "Several workers"


def serve(
    config: Annotated[
        Path | None,
        typer.Option(envvar="MEMSEG3D_CONFIG", help="TOML file with any of the settings below."),
    ] = None,
    check_config: Annotated[
        bool, typer.Option("--check-config", help="Tell what is wrong with the settings, and start nothing.")
    ] = False,
    host: Annotated[
        str | None, typer.Option(show_default="127.0.0.1", help="Address to listen on.", rich_help_panel=_NETWORK)
    ] = None,
    port: Annotated[
        int | None, typer.Option(show_default="0", help="0 takes a free port.", rich_help_panel=_NETWORK)
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            help="Certificate chain (PEM): the worker then speaks https alone. Renewed files are taken up.",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(help="Its key (PEM, no passphrase), unless the chain's file holds it.", rich_help_panel=_NETWORK),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name or path of a checkpoint; the embedded model if left out.")
    ] = None,
    models: Annotated[Path | None, typer.Option(help="Folder in which models are looked for by name.")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the network's input in pixels, a multiple of 32 (SAM 2 only).")
    ] = None,
    device: Annotated[str | None, typer.Option(show_default="auto", help="cpu, cuda, cuda:1, mps or auto.")] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="CPU threads; torch's own choice if left out. Fewer are faster on a busy computer."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            show_default="auto",
            help="fp32, bf16 or int8 (the embedded model on newer CPUs); auto: fp32 for the embedded model on a CPU, "
            "else what is fastest.",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            show_default="auto",
            help="What computes the network on a CPU: torch, openvino, onnxruntime; auto: the fastest that is "
            "installed, measured once.",
        ),
    ] = None,
    data_folder: Annotated[
        Path | None,
        typer.Option(help="Where volumes and sessions are kept; a private folder of this user if left out."),
    ] = None,
    encryption_key_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the key (`openssl rand -hex 32`) with which what is kept there is encrypted; or "
            "MEMSEG3D_ENCRYPTION_KEY."
        ),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(help="File of users' own tokens, as `memseg3d tokens add` makes it.", rich_help_panel=_WHO),
    ] = None,
    token_stdin: Annotated[
        bool | None,
        typer.Option(
            "--token-stdin",
            help="The first line of stdin is the token; the worker ends when stdin closes.",
            rich_help_panel=_WHO,
        ),
    ] = None,
    no_token: Annotated[
        bool | None, typer.Option("--no-token", help="Ask for no token (loopback only).", rich_help_panel=_WHO)
    ] = None,
    oidc_issuer: Annotated[
        str | None, typer.Option(help="OpenID Connect: the sign-in service's address.", rich_help_panel=_WHO)
    ] = None,
    oidc_audience: Annotated[
        str | None, typer.Option(help="What its tokens for this worker are made out to.", rich_help_panel=_WHO)
    ] = None,
    oidc_keys_url: Annotated[
        str | None, typer.Option(help="Its keys (JWKS), where it has no discovery document.", rich_help_panel=_WHO)
    ] = None,
    oidc_name_claim: Annotated[
        str | None,
        typer.Option(show_default="sub", help="The claim that tells its users apart.", rich_help_panel=_WHO),
    ] = None,
    oidc_administrators: Annotated[
        str | None, typer.Option(help="claim=value of those who are administrators.", rich_help_panel=_WHO)
    ] = None,
    retention_hours: Annotated[
        float | None,
        typer.Option(
            show_default="24", help="Idle volumes and sessions are deleted after so long.", rich_help_panel=_LIMITS
        ),
    ] = None,
    volume_gib: Annotated[
        float | None,
        typer.Option(show_default="4", help="Largest volume in GiB, unpacked.", rich_help_panel=_LIMITS),
    ] = None,
    disk_gib: Annotated[
        float | None, typer.Option(show_default="64", help="Largest data folder in GiB.", rich_help_panel=_LIMITS)
    ] = None,
    user_gib: Annotated[
        float | None, typer.Option(help="What one user may have on the disk, in GiB.", rich_help_panel=_LIMITS)
    ] = None,
    user_sessions: Annotated[int | None, typer.Option(help="Sessions of one user.", rich_help_panel=_LIMITS)] = None,
    user_rounds_per_minute: Annotated[
        int | None, typer.Option(help="Rounds that one user may begin within a minute.", rich_help_panel=_LIMITS)
    ] = None,
    user_stored_days: Annotated[
        float | None,
        typer.Option(help="A user's volumes and sessions go after so long, used or not.", rich_help_panel=_LIMITS),
    ] = None,
    audit_log: Annotated[
        Path | None, typer.Option(help="File in which it is written who did what when.", rich_help_panel=_LOGS)
    ] = None,
    audit_mib: Annotated[
        float | None, typer.Option(show_default="16", help="It is turned at this size.", rich_help_panel=_LOGS)
    ] = None,
    audit_files: Annotated[
        int | None, typer.Option(show_default="10", help="So many are kept.", rich_help_panel=_LOGS)
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(show_default="text", help="text, or json: an object a line.", rich_help_panel=_LOGS)
    ] = None,
    drain_seconds: Annotated[
        float | None,
        typer.Option(
            show_default="0",
            help="When told to end, take nothing new and let running rounds end for so long at most.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    ray: Annotated[
        bool | None,
        typer.Option(
            "--ray", help="Several workers on Ray Serve behind one address (extra `scale`).", rich_help_panel=_SCALE
        ),
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(show_default="2", help="How many, with --ray.", rich_help_panel=_SCALE)
    ] = None,
    most_replicas: Annotated[
        int | None,
        typer.Option(help="So many where there is much to do, with --ray.", rich_help_panel=_SCALE),
    ] = None,
) -> None:
    """Serve the wire protocol. When it is ready it prints {"url": ..., "protocols": [1]} as one line on stdout.

    Every setting may stand in a TOML file (--config), in the environment (MEMSEG3D_PORT for --port) or here; what
    stands here counts most, the file least. The token that all share comes from --token-stdin or MEMSEG3D_TOKEN, never
    from the command line or the file.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    del given["check_config"]
    given.pop("config", None)
    _serve(config, check_config, given)


def _serve(config: Path | None, is_check: bool, given: dict[str, Any]) -> None:
    from memseg3d.cli.serve_options import gathered

    options, faults = gathered(config, os.environ, given)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    if options.log_format == "json":
        from memseg3d.service.web.json_log import JsonLines

        handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    from memseg3d.cli.serve_checks import certificate_of, faults_of, settings_of
    from memseg3d.service.server import Server, bind, call_when_stdin_closes, read_token_line
    from memseg3d.service.web.certificate import ServeError

    try:
        # A check reads nothing from stdin: it is told by hand, and nobody types a token then.
        is_asked_for = options.token_stdin and not is_check
        token = read_token_line() if is_asked_for else os.environ.get("MEMSEG3D_TOKEN") or None
    except ServeError as error:
        raise _refused(str(error)) from error
    if is_check and options.token_stdin and token is None:
        token = "the-one-that-comes-by-stdin"
    faults += faults_of(options, token)
    if faults:
        raise _refused(*faults)
    if is_check:
        typer.echo("The settings are fine.")
        return

    if options.ray:
        _serve_on_ray(options, token)
        return

    # Imported here: torch takes seconds, and neither `--help` nor a wrong option should wait for it.
    from memseg3d.cli.starting import without_collections

    with without_collections():
        from memseg3d.cli.networks import network_and_device
        from memseg3d.service.app import create_app
        from memseg3d.service.folders import DataFolder, DataFolderError
        from memseg3d.service.storage.data_key import DataKeyError
        from memseg3d.service.worker import Worker

        try:
            network, chosen = network_and_device(options)
            folder = DataFolder(options.data_folder) if options.data_folder is not None else DataFolder.default()
            listener = bind(options.host, options.port)
        except (ServeError, DataFolderError, typer.BadParameter) as error:
            raise _refused(str(error)) from error
    # The compute thread lets go of Python at every layer, and waits so long at most for others each time.
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        worker = Worker(settings_of(options, folder.path, token), folder, network, chosen)
    except DataKeyError as error:
        raise _refused(str(error)) from error
    drain = functools.partial(worker.drain, options.drain_seconds) if options.drain_seconds else None
    server = Server(create_app(worker), listener, worker.leave_streams, certificate_of(options), drain=drain)
    if options.token_stdin:
        call_when_stdin_closes(server.stop)
    server.run_until_stopped()


def _serve_on_ray(options: Options, token: str | None) -> None:
    from memseg3d.cli.serve_ray import serve_on_ray
    from memseg3d.service.folders import DataFolderError
    from memseg3d.service.storage.data_key import DataKeyError
    from memseg3d.service.web.certificate import ServeError

    try:
        serve_on_ray(options, token)
    except (ServeError, DataFolderError, DataKeyError) as error:
        raise _refused(str(error)) from error


def _refused(*sentences: str) -> typer.Exit:
    for sentence in sentences:
        typer.echo(f"memseg3d serve: {sentence}", err=True)
    return typer.Exit(2)


if __name__ == "__main__":
    typer.run(serve)

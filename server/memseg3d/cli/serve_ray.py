"""`memseg3d serve --ray`: a door in this process, and behind it replicas of the worker on Ray Serve."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from memseg3d.cli.networks import network_and_device
from memseg3d.cli.serve_checks import certificate_of, settings_of
from memseg3d.cli.serve_options import Options
from memseg3d.network.models import user_state_folder
from memseg3d.service.folders import DataFolder
from memseg3d.service.ray.cluster import own_ray
from memseg3d.service.ray.serving import Numbers, start_replicas, stop_replicas
from memseg3d.service.server import Server, bind, call_when_stdin_closes
from memseg3d.service.spread.front import create_front
from memseg3d.service.spread.leases import tell_stopping
from memseg3d.service.storage.data_key import open_folder

if TYPE_CHECKING:
    from memseg3d.network.seam import Network
    from memseg3d.service.settings import Settings

TOKEN = "MEMSEG3D_TOKEN"


def serve_on_ray(options: Options, token: str | None) -> None:
    """Serve until a signal. Raises ServeError, DataFolderError, DataKeyError."""
    # Replicas have the secrets from the environment that they inherit: nothing of Ray's holds them.
    if token is not None:
        os.environ[TOKEN] = token
    options = _absolute(options)
    path = options.data_folder or user_state_folder() / "shared"
    settings = settings_of(options, path, token)
    # Held, so that no other worker takes it; replicas have folders of their own in it.
    folder = DataFolder(path)
    try:
        open_folder(path, settings.encryption_key)
        least, most = options.replicas, max(options.replicas, options.most_replicas or 0)
        numbers = Numbers(least, most, 0 if options.device == "cpu" else _gpus())
        threads = options.threads or max(1, (os.cpu_count() or 1) // most)
        make = functools.partial(replica_parts, options.model_copy(update={"threads": threads}), path)
        listener = bind(options.host, options.port)
        # One for the controller, and one for a replica that is started while another one ends.
        with own_ray(most + 2, numbers.gpus) as serve:
            start_replicas(serve, path, numbers, make, options.drain_seconds)
            drain = functools.partial(stop_replicas, serve, path, options.drain_seconds)
            server = Server(create_front(settings), listener, lambda: None, certificate_of(options), drain=drain)
            if options.token_stdin:
                call_when_stdin_closes(server.stop)
            server.run_until_stopped()
            tell_stopping(path, True)
    finally:
        folder.close()


def replica_parts(options: Options, folder: Path) -> tuple[Settings, Network, str]:
    """What a replica is made of, in its own process."""
    network, device = network_and_device(options)
    return settings_of(options, folder, os.environ.get(TOKEN) or None), network, device


def _absolute(options: Options) -> Options:
    """A replica's process may stand in another folder."""
    paths: dict[str, Path | str] = {name: each.absolute() for name, each in options if isinstance(each, Path)}
    model = options.model
    if model is not None and Path(model).exists():
        paths["model"] = str(Path(model).absolute())
    return options.model_copy(update=paths)


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()

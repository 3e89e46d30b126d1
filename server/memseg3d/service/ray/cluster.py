"""A Ray of this process alone: nothing sent outside, nothing that others on this computer or network can use."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from memseg3d.service.web.certificate import ServeError

NAMESPACE = "memseg3d"
_STORE_BYTES = 80 << 20
"""Ray's store of objects; nothing of ours goes through it, and this is about the least that Ray takes."""
_ENVIRONMENT = {
    # Nothing is sent anywhere.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    # Despite its name: Ray's own processes then meet on the loopback address, on Linux as well.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # What still listens elsewhere (each replica's port for others of Ray Serve) takes the token alone.
    "RAY_AUTH_MODE": "token",
    "RAY_DEDUP_LOGS": "0",
}


@contextlib.contextmanager
def own_ray(cpus: int, gpus: int) -> Iterator[Any]:
    """Ray Serve, started and ended; its logs lie in a private folder that goes with it. Raises ServeError."""
    os.environ.update(_ENVIRONMENT, RAY_AUTH_TOKEN=secrets.token_hex(32))
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise ServeError("--ray needs Ray Serve: pip install 'memseg3d[scale]'.") from error
    # A short path: Ray's sockets lie in it, and their names have 107 letters at most.
    folder = tempfile.mkdtemp(prefix="memseg3d-ray-")
    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=gpus,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            namespace=NAMESPACE,
            object_store_memory=_STORE_BYTES,
            _temp_dir=folder,
        )
        # The door is this process's own: it has the limits that Ray's proxy knows nothing of.
        serve.start(proxy_location="Disabled")
        yield serve
    finally:
        # Whatever it cannot end ends with Ray itself, next.
        with contextlib.suppress(Exception):
            serve.shutdown()
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)

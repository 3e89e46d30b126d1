"""One of several workers on a data folder: a worker with its HTTP on a free port of this computer, on a thread."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

from memseg3d.network.seam import Network
from memseg3d.service.app import create_app
from memseg3d.service.folders import DataFolder
from memseg3d.service.limits.guarded_http import Patience
from memseg3d.service.server import Server, bind, url_of
from memseg3d.service.settings import Settings
from memseg3d.service.worker import Worker


class Replica:
    """Serves until `stop`. The door finds it by what it leaves in the data folder, and nobody else need know it."""

    def __init__(self, settings: Settings, network: Network, device: str, patience: Patience | None = None) -> None:
        self.name = uuid.uuid4().hex
        self.worker = Worker(settings, DataFolder(settings.data_folder, self.name), network, device)
        listener = bind("127.0.0.1", 0)
        self.url = url_of(listener)
        self._server = Server(create_app(self.worker), listener, self.worker.leave_streams, patience=patience)
        self._thread = threading.Thread(target=self._server.run_until_stopped, name="memseg3d-replica")
        self._thread.start()
        self.worker.announce(self.url)

    def check_health(self) -> None:
        """Raise where it serves no more, or its computing hangs: another one is started in its place."""
        if not self._thread.is_alive():
            raise RuntimeError("the server has ended")
        if not self.worker.is_draining:
            self.worker.check_ready()

    def stop(self) -> None:
        """End between two slices; what it had anybody may have."""
        self._server.stop()
        self._thread.join(30)


def data_folder(wanted: Path | None) -> Path:
    """The folder that all replicas share."""
    from memseg3d.network.models import user_state_folder

    return user_state_folder() / "shared" if wanted is None else wanted

"""One of several workers on a data folder: a worker with its HTTP on a free port of this computer, on a thread."""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid

from memseg3d.network.seam import Network
from memseg3d.service.app import create_app
from memseg3d.service.folders import DataFolder
from memseg3d.service.limits.guarded_http import Patience
from memseg3d.service.server import Server, bind, url_of
from memseg3d.service.settings import Settings
from memseg3d.service.spread.leases import is_stopping
from memseg3d.service.worker import Worker

STEP_SECONDS = 0.1


class Replica:
    """Serves until `stop`. The door finds it by what it leaves in the data folder, and nobody else need know it."""

    def __init__(self, settings: Settings, network: Network, device: str, patience: Patience | None = None) -> None:
        self.name = uuid.uuid4().hex
        # The door writes the audit log, for it sees who comes; a few seconds more are for what it holds open.
        settings = dataclasses.replace(settings, audit=None)
        self.worker = Worker(settings, DataFolder(settings.data_folder, self.name), network, device)
        listener = bind("127.0.0.1", 0)
        self.url = url_of(listener)
        app = create_app(self.worker)
        self._server = Server(app, listener, self.worker.leave_streams, patience=patience, is_announced=False)
        self._thread = threading.Thread(target=self._server.run_until_stopped, name="memseg3d-replica")
        self._thread.start()
        self.worker.announce(self.url)

    def check_health(self) -> None:
        """Raise where it serves no more, or its computing hangs: another one is started in its place."""
        if not self._thread.is_alive():
            raise RuntimeError("the server has ended")
        if not self.worker.is_draining:
            self.worker.check_ready()

    def leave(self, seconds: float) -> None:
        """Let other replicas have the sessions, those that compute after their rounds, for so long at most; end then.

        Where all of them are to stop at once, nobody would have them, and it ends at once.
        """
        self.worker.announce(self.url, leaves=True)
        self.worker.make_way()
        ends = time.monotonic() + seconds
        while self.worker.compute.jobs and time.monotonic() < ends and not is_stopping(self.worker.folder.path):
            time.sleep(STEP_SECONDS)
        self.stop()

    def stop(self) -> None:
        """End between two slices; what it had anybody may have."""
        self._server.stop()
        self._thread.join(30)

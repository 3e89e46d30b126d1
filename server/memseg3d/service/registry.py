"""All sessions of the worker: found, brought back from their journals, unloaded, deleted. Compute thread only."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from memseg3d.propagation.rounds.ahead import whole_slices_ahead
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.service.errors import ServiceError
from memseg3d.service.journal import JournalError
from memseg3d.service.session_log import JOURNAL, SessionLog
from memseg3d.service.sessions import ServedSession
from memseg3d.service.tools import Tools

log = logging.getLogger(__name__)


class SessionRegistry:
    """Sessions by id. Those that nobody uses lie on the disk alone."""

    def __init__(self, folder: Path, tools: Tools) -> None:
        self._folder = folder
        self._tools = tools
        self._loaded: dict[str, ServedSession] = {}
        self._volumes: dict[str, str] = {}
        self._damaged: dict[str, str] = {}

    def start(self) -> None:
        """Look through the folder; go on with the rounds that were cut short."""
        for folder in sorted(self._folder.iterdir()):
            if not (folder / JOURNAL).is_file() or folder.suffix == ".deleted":
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                history = SessionLog.open(folder).history
            except JournalError as error:
                log.error("a session is not available: %s", error)
                self._volumes[folder.name] = ""
                self._damaged[folder.name] = str(error)
                continue
            self._volumes[folder.name] = history.volume
            if history.open is not None:
                self._go_on(folder.name)

    def _go_on(self, session_id: str) -> None:
        try:
            self.find(session_id)
        except ServiceError as error:
            log.error("an open round cannot go on: %s", error.message)

    def create(self, session_id: str, volume_id: str, options: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """State of a new session, or of the one that has this id already; True where it is new. Raises ServiceError."""
        if session_id in self._volumes:
            served = self.find(session_id)
            if served.history.volume != volume_id or not served.has_options(options):
                raise ServiceError(
                    "conflict", "A session with this id exists for another volume or with other options: use a new id."
                )
            return served.state(), False
        try:
            served = ServedSession.create(self._folder / session_id, volume_id, options, self._tools)
        except (OSError, ServiceError):
            shutil.rmtree(self._folder / session_id, ignore_errors=True)
            raise
        self._keep(served)
        return served.state(), True

    def find(self, session_id: str) -> ServedSession:
        """The session, from memory or from its journal. Raises ServiceError `unknown_session`, `unknown_volume`."""
        session_id = _canonical(session_id)
        served = self._loaded.get(session_id)
        if served is None:
            if session_id not in self._volumes:
                raise _unknown()
            if session_id in self._damaged:
                raise _not_restorable(self._damaged[session_id])
            try:
                served = ServedSession.load(self._folder / session_id, self._tools)
            except (JournalError, PropagationError) as error:
                raise _not_restorable(str(error)) from error
            self._keep(served)
        served.touch()
        return served

    def delete(self, session_id: str) -> None:
        """Forget a session. Raises ServiceError `unknown_session`."""
        session_id = _canonical(session_id)
        if session_id not in self._volumes:
            raise _unknown()
        self.unload(session_id)
        del self._volumes[session_id]
        self._damaged.pop(session_id, None)
        gone = (self._folder / session_id).with_suffix(".deleted")
        (self._folder / session_id).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def delete_of_volume(self, volume_id: str) -> None:
        """Forget every session on a volume, and what was computed from it."""
        for session_id in self.on_volume(volume_id):
            self.delete(session_id)
        self._tools.ahead.drop(volume_id)
        self._tools.features.forget(volume_id)

    def on_volume(self, volume_id: str) -> list[str]:
        """Ids of the sessions on a volume."""
        return [session_id for session_id, volume in self._volumes.items() if volume == volume_id]

    def look_ahead(self, volume_id: str) -> None:
        """Compute in idle time what a session on this volume will need. Raises ServiceError `unknown_volume`."""
        session = Session(self._tools.open_volume(volume_id), self._tools.network, store=self._tools.features)
        self._tools.ahead.begin(volume_id, whole_slices_ahead(session))

    def unload(self, session_id: str) -> None:
        """Put a session out of the memory; its journal keeps it. The last one on a volume takes along what was computed
        from the volume.
        """
        served = self._loaded.pop(session_id, None)
        if served is None:
            return
        served.close()
        self._tools.metrics.sessions.dec()
        volume_id = served.history.volume
        if all(other.history.volume != volume_id for other in self._loaded.values()):
            self._tools.ahead.drop(volume_id)
            self._tools.features.forget(volume_id)

    def idle(self, seconds: float) -> list[str]:
        """Ids of the sessions that nobody touched for so long and that compute nothing."""
        found = []
        for session_id in self._volumes:
            served = self._loaded.get(session_id)
            touched = (self._folder / session_id / JOURNAL).stat().st_mtime
            if time.time() - touched >= seconds and not (served and served.is_running):
                found.append(session_id)
        return found

    def close(self) -> None:
        """Put every session out of the memory."""
        for session_id in list(self._loaded):
            self.unload(session_id)

    def _keep(self, served: ServedSession) -> None:
        self._loaded[served.history.id] = served
        self._volumes[served.history.id] = served.history.volume
        self._tools.metrics.sessions.inc()


def _canonical(session_id: str) -> str:
    """The id as folders are named. What is no UUID names no session, and can be no path."""
    try:
        return str(UUID(session_id))
    except ValueError as error:
        raise _unknown() from error


def _unknown() -> ServiceError:
    return ServiceError("unknown_session", "The worker has no such session (any more): open a new one.")


def _not_restorable(reason: str) -> ServiceError:
    return ServiceError("internal", f"The session cannot be restored. {reason} Delete it and open a new one.")

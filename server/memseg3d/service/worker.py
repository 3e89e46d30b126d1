"""The worker behind the HTTP: volumes, sessions and the compute thread, put together; and what is thrown away when."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time

import SimpleITK as sitk

from memseg3d.network.seam import Network
from memseg3d.service import freed_memory
from memseg3d.service.devices import describe_device
from memseg3d.service.errors import ServiceError
from memseg3d.service.feature_room import feature_store
from memseg3d.service.folders import DataFolder, folder_bytes
from memseg3d.service.limits.claims import Claims
from memseg3d.service.limits.disk_room import DiskRoom
from memseg3d.service.limits.drawings import DrawingThreads
from memseg3d.service.limits.use_clock import UseClock
from memseg3d.service.limits.user_room import UserRoom
from memseg3d.service.metrics import Metrics
from memseg3d.service.registry import SessionRegistry
from memseg3d.service.settings import Settings
from memseg3d.service.spread.leases import Alone, SharedLeases, is_alive
from memseg3d.service.storage.data_key import open_folder
from memseg3d.service.tools import Tools
from memseg3d.service.turns.admission import Admission, draining
from memseg3d.service.turns.ahead import Ahead
from memseg3d.service.turns.breathing import let_breathe
from memseg3d.service.turns.compute import ComputeThread
from memseg3d.service.users.account import Account
from memseg3d.service.volumes import VolumeStore
from memseg3d.service.ways_in import audit_of, callers_of

log = logging.getLogger(__name__)

_JUST_UPLOADED_SECONDS = 600.0
STUCK_SECONDS = 120.0
"""No step of a round takes so long, on whatever device, while all is well."""


class Worker:
    """Starts with what the data folder holds; rounds that were cut short go on at once."""

    def __init__(self, settings: Settings, folder: DataFolder, network: Network, device: str) -> None:
        # The library's own warnings name paths and say nothing of use.
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        self.settings = settings
        self.vault = open_folder(folder.path, settings.encryption_key)
        self.folder = folder
        self.network = network
        self.device = device
        self.device_facts = describe_device(device)
        self.metrics = Metrics()
        self.callers = callers_of(settings)
        self.audit = audit_of(settings)
        self.compute = ComputeThread()
        let_breathe(network, self.compute.breathe)
        self.drawings = DrawingThreads(settings.limits)
        self.clock = UseClock(folder.clock, settings.retention_hours * 1800, folder.used_files())
        self.leases = Alone() if folder.replica is None else SharedLeases(folder.path, folder.replica)
        self._claims = _claims(folder)
        most = settings.limits.disk_bytes
        self.room = DiskRoom(folder.path, folder.incoming, most, self._make_room, self._claims)
        self.volumes = VolumeStore(folder, settings.limits, self.clock, self.vault, self.leases.is_shared)
        self.volumes.on_replaced = self._renew
        self.features = feature_store(
            network, self.device_facts, folder, settings.limits, is_sealed=self.vault is not None
        )
        self.admission = Admission(self.compute, settings.limits.rounds, settings.limits.user_rounds)
        tools = Tools(
            network=network,
            compute=self.compute,
            metrics=self.metrics,
            open_volume=self.volumes.open,
            features=self.features,
            ahead=Ahead(self.compute, self.metrics),
            admission=self.admission,
            clock=self.clock,
            leases=self.leases,
            vault=self.vault,
            # Of an encrypted folder labelmaps are kept in the memory.
            scratch=folder.incoming if self.vault is None else None,
        )
        self.sessions = SessionRegistry(folder.sessions, tools)
        self.user_room = UserRoom(settings.user_limits, self.bytes_of, self._claims)
        self.compute.call(self.sessions.start).result()
        # Reading the model and what was kept has left holes; nobody is waiting yet.
        freed_memory.give_back()

    def announce(self, url: str, leaves: bool = False) -> None:
        """Tell the door of several workers where this one listens; leaves: that it takes nothing new."""
        if isinstance(self.leases, SharedLeases):
            self.leases.announce(url, leaves)

    @property
    def is_draining(self) -> bool:
        """Whether new rounds and sessions are refused, so that the worker can end without cutting any short."""
        return self.admission.is_closed

    def check_ready(self) -> None:
        """Raise ServiceError where the worker takes no new work: stopping, overloaded."""
        if self.is_draining:
            raise draining()
        if self.compute.stuck_seconds > STUCK_SECONDS:
            raise ServiceError(
                "overloaded", f"One step has been computed for {self.compute.stuck_seconds:.0f} s: the device may hang."
            )

    def make_way(self) -> None:
        """Take nothing new, and let other workers on the folder have the sessions that compute nothing."""
        self.admission.close()
        self.compute.call(lambda: self.sessions.close(idle_only=True)).result()

    async def drain(self, seconds: float) -> None:
        """Refuse new rounds and sessions, and let those that run end, for so long at most."""
        self.admission.close()
        ends = time.monotonic() + seconds
        while self.compute.jobs and time.monotonic() < ends:
            await asyncio.sleep(0.1)

    def bytes_of(self, account: Account) -> int:
        """What an account has on the disk."""
        return self.volumes.known.bytes_of(account) + self.sessions.known.bytes_of(account)

    def look_ahead(self, volume_id: str) -> None:
        """A volume has come: compute in idle time what its sessions will need. Nobody waits for it."""
        self.compute.call(lambda: self.sessions.look_ahead(volume_id))

    def leave_streams(self) -> None:
        """Let the listeners go, so that the server can end; rounds go on when a worker starts again."""
        self.compute.call(self.sessions.close)

    def close(self) -> None:
        """End the compute thread between two steps and free the folder."""
        self.drawings.close()
        self.compute.stop()
        self.features.close()
        self.clock.keep()
        if isinstance(self.leases, SharedLeases):
            self.leases.close()
        if self.audit is not None:
            self.audit.close()
        self._claims.close()
        self.folder.close()

    def sweep(self) -> None:
        """Delete what nobody touched for the retention time; put idle sessions out of the memory."""
        self.compute.call(self._unload_idle).result()
        # Of several workers on the folder one is enough.
        with self.leases.alone("sweep") as is_mine:
            if is_mine:
                self._sweep_folder()
        self.clock.keep()
        freed_memory.give_back()

    def _sweep_folder(self) -> None:
        retention = self.settings.retention_hours * 3600
        self.compute.call(lambda: self._delete_sessions(self.sessions.known.idle(retention))).result()
        self._delete_idle_volumes(retention)
        if self.settings.user_limits.stored_days is not None:
            self._delete_old(self.settings.user_limits.stored_days * 86400)
        self.volumes.known.share()
        self.metrics.disk_bytes.set(folder_bytes(self.folder.path))

    def _make_room(self, most_bytes: int) -> None:
        """Make the folder so small, where that can be: features go first, then unused volumes without a session."""
        self.compute.call(self.features.clear_disk).result()
        self._delete_idle_volumes(_JUST_UPLOADED_SECONDS, until=most_bytes)

    def _renew(self, volume_id: str) -> None:
        """An upload has put a damaged volume right."""
        log.info("a damaged volume was uploaded again")
        self.compute.call(lambda: self.sessions.renew(volume_id)).result()

    def _unload_idle(self) -> None:
        for session_id in self.sessions.known.idle(self.settings.unload_minutes * 60):
            self.sessions.unload(session_id)

    def _delete_sessions(self, session_ids: list[str]) -> None:
        for session_id in session_ids:
            # Another worker has it in its memory and will come to it, or somebody has deleted it.
            with contextlib.suppress(ServiceError):
                self.sessions.delete(session_id)
                log.info("session deleted: nobody used it for the retention time, or its user had it long enough")

    def _delete_old(self, seconds: float) -> None:
        """Delete what users have longer than they may."""
        self.compute.call(lambda: self._delete_sessions(self.sessions.known.older_than(seconds))).result()
        for volume_id in self.volumes.known.older_than(seconds):

            def volume(volume_id: str = volume_id) -> None:
                if not self.sessions.known.on_volume(volume_id):
                    log.info("volume deleted: its user has had it as long as is allowed")
                    self.sessions.delete_of_volume(volume_id)
                    self.volumes.delete(volume_id)

            self.compute.call(volume).result()

    def _delete_idle_volumes(self, idle_seconds: float, until: int | None = None) -> None:
        """Delete volumes without a session, the longest unused first, `until` the folder has so many bytes at most."""
        for volume_id in sorted(self.volumes.ids(), key=self.volumes.idle_seconds, reverse=True):
            if until is not None and self.room.used() <= until:
                return

            def delete_unused(volume_id: str = volume_id) -> None:
                # On the compute thread: no session can be opened on the volume meanwhile.
                is_idle = self.volumes.idle_seconds(volume_id) >= idle_seconds
                if is_idle and not self.sessions.known.on_volume(volume_id):
                    log.info("volume deleted after its retention time")
                    self.sessions.delete_of_volume(volume_id)
                    self.volumes.delete(volume_id)

            self.compute.call(delete_unused).result()


def _claims(folder: DataFolder) -> Claims:
    name = folder.replica
    if name is None:
        return Claims()
    return Claims(folder.path / "claims.sqlite", name, functools.partial(is_alive, folder.path / "replicas"))

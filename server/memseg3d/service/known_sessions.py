"""Which sessions the data folder holds, whose they are and on which volume, damaged ones too; none is loaded for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from memseg3d.service.errors import ServiceError
from memseg3d.service.folders import folder_bytes
from memseg3d.service.history import History
from memseg3d.service.journal import JournalError, first_record
from memseg3d.service.session_log import JOURNAL, SessionLog
from memseg3d.service.tools import Tools
from memseg3d.service.users.account import Account, is_scoped

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owned:
    """Whose a session is, and by which ids they know it and its volume."""

    owner: str
    name: str
    volume: str
    volume_key: str
    since: float | None = None
    """When it was opened, by the clock that retention goes by; None: by an older worker."""

    @classmethod
    def of(cls, history: History) -> Owned:
        """As the session's journal tells."""
        return cls(history.owner, history.name, history.volume, history.volume_key, history.since)


class KnownSessions:
    """Sessions by key. Changed on the compute thread; counts may be asked for on any."""

    def __init__(self, folder: Path, tools: Tools, is_running: Callable[[str], bool]) -> None:
        """is_running: whether a session computes a round here."""
        self._folder = folder
        self._tools = tools
        self._is_running = is_running
        self._volumes: dict[str, str] = {}
        self._owned: dict[str, Owned] = {}
        self._elsewhere: dict[str, Owned] = {}
        """What the first lines of others' journals tell."""
        self.damaged: dict[str, str] = {}
        """Sentences."""

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._volumes

    def note(self, folder: Path) -> History | None:
        """Know of the session in a folder; its history, where that can be read."""
        try:
            history = SessionLog.open(folder, self._tools.clock, self._tools.vault).history
        except JournalError as error:
            log.error("a session is not available: %s", error)
            self.note_damaged(folder.name, str(error))
            return None
        self.add(history)
        return history

    def note_damaged(self, session_id: str, sentence: str) -> None:
        """Know that there is one that cannot be used."""
        self._volumes[session_id], self.damaged[session_id] = "", sentence

    def add(self, history: History) -> None:
        """Know of a session that is in use."""
        self._volumes[history.id], self._owned[history.id] = history.volume_key, Owned.of(history)

    def forget(self, session_id: str) -> None:
        """It is deleted."""
        for kept in (self._volumes, self._owned, self.damaged, self._elsewhere):
            kept.pop(session_id, None)

    def on_volume(self, volume_key: str) -> list[str]:
        """Keys of the sessions on a volume, those of other workers on this folder among them."""
        found = [session_id for session_id, volume in self._volumes.items() if volume == volume_key]
        return found + [key for key, owned in self._others().items() if owned.volume_key == volume_key]

    def of(self, account: Account) -> list[tuple[str, Owned]]:
        """The sessions of an account; one whose journal says nothing any more is known by its key alone."""
        # Copied in one go: the compute thread may add one meanwhile.
        owned, keys = self._others() | dict(self._owned), list(self._volumes)
        owned |= {key: Owned("", key, "", "") for key in keys if key not in owned and not is_scoped(key)}
        return [(key, each) for key, each in owned.items() if each.owner == account.key]

    def bytes_of(self, account: Account) -> int:
        """What they take on the disk."""
        return sum(folder_bytes(self._folder / key) for key, _ in self.of(account))

    def owners(self) -> set[str]:
        """The keys of the accounts that have one."""
        return {owned.owner for owned in (self._others() | dict(self._owned)).values()}

    def older_than(self, seconds: float) -> list[str]:
        """Keys of users' sessions that were opened so long ago and compute nothing."""
        now = self._tools.clock.now()
        return [
            key
            for key, owned in (self._others() | dict(self._owned)).items()
            if owned.owner and owned.since is not None and now - owned.since >= seconds and not self._is_running(key)
        ]

    def idle(self, seconds: float) -> list[str]:
        """Keys of the sessions that nobody touched for so long and that compute nothing."""
        return [
            key
            for key in (*self._others(), *self._volumes)
            if self.idle_seconds(key) >= seconds and not self._is_running(key)
        ]

    def idle_seconds(self, session_id: str) -> float:
        """Since it was used last."""
        return self._tools.clock.idle_seconds(self._folder / session_id / JOURNAL)

    def _others(self) -> dict[str, Owned]:
        """The sessions that other workers on this folder have made."""
        if not self._tools.leases.is_shared:
            return {}
        names = {each.name for each in self._folder.iterdir() if is_key(each.name)}
        for gone in set(self._elsewhere) - names:
            self._elsewhere.pop(gone, None)
        for name in names - set(self._elsewhere) - set(self._volumes):
            try:
                first = first_record(self._folder / name / JOURNAL, self._tools.vault)
                self._elsewhere[name] = Owned.of(History.of([first]))
            except JournalError:
                # It is being made, or deleted: to be looked at again.
                continue
        return {name: owned for name, owned in dict(self._elsewhere).items() if name not in self._volumes}


def key_of(session_id: str) -> str:
    """The key as folders are named. Raises ServiceError for what names no session, and could be a path."""
    if is_scoped(session_id):
        return session_id
    try:
        return str(UUID(session_id))
    except ValueError as error:
        raise unknown_session() from error


def is_key(name: str) -> bool:
    """Whether a folder's name is one that a session can have."""
    try:
        return key_of(name) == name
    except ServiceError:
        return False


def unknown_session() -> ServiceError:
    """The answer where there is none."""
    return ServiceError("unknown_session", "The worker has no such session (any more): open a new one.")

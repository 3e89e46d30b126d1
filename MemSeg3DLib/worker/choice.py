"""Local or remote, and with which device, model and address: the user's choice, kept between sessions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from MemSeg3DLib.base.background import Task
from MemSeg3DLib.base.errors import MemSeg3DError, WorkerError
from MemSeg3DLib.base.home import ENVIRONMENT, Home
from MemSeg3DLib.base.hosts import is_loopback
from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.worker.connection.addresses import Address, read_address
from MemSeg3DLib.worker.connection.command import installed_command
from MemSeg3DLib.worker.connection.local_worker import LocalWorker
from MemSeg3DLib.worker.connection.plan import AUTOMATIC, EMBEDDED_MODEL, Mode, WorkerPlan
from MemSeg3DLib.worker.connection.source import RemoteWorker, WorkerSource
from MemSeg3DLib.worker.connection.trial import ConnectionReport, connection_task
from MemSeg3DLib.worker.installation.environment import EnvironmentState, WorkerEnvironment
from MemSeg3DLib.worker.installation.packaged import Packaged

_PREFIX = "MemSeg3D/Worker/"
_TOKEN, _REMEMBERS, _HOSTS = f"{_PREFIX}Token", f"{_PREFIX}RememberToken", f"{_PREFIX}ConfirmedHosts"
_KEPT = ("mode", "url", "ca_file", "allows_plain_text", "device", "model", "threads", "retention_hours",
         "deletes_on_close", "installed")  # fmt: skip


class SettingsStore(Protocol):
    """Where settings are kept: QSettings in Slicer, a dictionary in tests."""

    def get(self, key: str, default: str) -> str:
        """The value, or `default` where there is none."""
        ...

    def set(self, key: str, value: str) -> None:
        """Keep the value."""
        ...

    def remove(self, key: str) -> None:
        """Forget the value, if it is there."""
        ...


class MemoryStore:
    """Settings that end with the process."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self.values: dict[str, str] = dict(values or {})

    def get(self, key: str, default: str) -> str:
        """The value, or `default` where there is none."""
        return self.values.get(key, default)

    def set(self, key: str, value: str) -> None:
        """Keep the value."""
        self.values[key] = value

    def remove(self, key: str) -> None:
        """Forget the value, if it is there."""
        self.values.pop(key, None)


class WorkerChoice:
    """The settings are read once, and every change is written at once; `plan` may be read by any thread.

    The setters belong to the main thread. `changed` tells that `plan` is another one.
    """

    def __init__(self, settings: SettingsStore, home: Home | None = None, packaged: Packaged | None = None) -> None:
        self.changed: Signal[WorkerPlan] = Signal()
        self.home = home or Home.default()
        self.packaged = packaged or Packaged()
        self.environment = WorkerEnvironment(self.home, self.packaged)
        self._settings = settings
        self._confirmed = frozenset(_listed(settings.get(_HOSTS, "[]")))
        self.plan = self._read()
        self.is_installing = False
        """True while the panel installs what runs on this computer."""

    @property
    def mode(self) -> str:
        """`none`, `local` or `remote`."""
        return self.plan.mode.value

    @mode.setter
    def mode(self, value: str) -> None:
        self._change(mode=Mode(value))

    @property
    def remembers_token(self) -> bool:
        """True where the user asked to keep the token in the settings, in plain text."""
        return self._settings.get(_REMEMBERS, "false") == "true"

    def set_remote(
        self, url: str, token: str, *, ca_file: str = "", allows_plain_text: bool = False, remember_token: bool = False
    ) -> Address:
        """Take a remote worker's address and token. Raises WorkerError, and changes nothing, where the address is bad.

        The token is forgotten when Slicer ends, unless remember_token.
        """
        address = read_address(url, allows_plain_text)
        if ca_file and not Path(ca_file).is_file():
            raise WorkerError("certificate", f"There is no CA file {ca_file}: choose the file that IT gave you.")
        self._settings.set(_REMEMBERS, "true" if remember_token else "false")
        if remember_token:
            self._settings.set(_TOKEN, token.strip())
        else:
            self._settings.remove(_TOKEN)
        self._change(url=address.url, token=token.strip(), ca_file=ca_file, allows_plain_text=allows_plain_text)
        return address

    def set_local(
        self,
        *,
        device: str = AUTOMATIC,
        model: str = EMBEDDED_MODEL,
        threads: int = 0,
        installed: Path | None = None,
    ) -> None:
        """Take the local worker's device and model; installed: an environment of somebody else's (verify it first)."""
        if installed is not None:
            installed_command(installed)
        self._change(
            device=device or AUTOMATIC, model=model or EMBEDDED_MODEL, threads=max(threads, 0), installed=installed
        )

    def set_retention(self, hours: float, deletes_on_close: bool) -> None:
        """How long an idle volume stays on this computer, and whether everything goes when Slicer closes."""
        self._change(retention_hours=max(hours, 0.0), deletes_on_close=deletes_on_close)

    def describe(self, device: str = "") -> str:
        """Where images go, in words: for the status line. device: what the worker told of it; empty: not known yet."""
        plan = self.plan
        if plan.mode is Mode.LOCAL:
            chosen = "automatic device" if plan.device == AUTOMATIC else plan.device.upper().replace("CUDA", "GPU")
            model = Path(plan.model).stem if Path(plan.model).is_absolute() else plan.model
            return f"this computer, {device or chosen}, {model}"
        if plan.mode is Mode.REMOTE:
            where = _place(plan.url)
            return f"{where}, {device}" if device else where
        return "nowhere yet"

    def unready(self) -> str:
        """What keeps every run from starting, as the user puts it right; empty where nothing does. Reads the disk."""
        plan = self.plan
        if plan.mode is Mode.NONE:
            return "choose where it runs"
        if plan.mode is Mode.REMOTE:
            if not plan.url:
                return "enter the address of the other computer"
            return "press Use this address" if self.host_to_confirm() is not None else ""
        if plan.installed is not None or self.environment.state() is EnvironmentState.READY:
            return ""
        return "being installed" if self.is_installing else "press Install"

    def host_to_confirm(self) -> str | None:
        """The remote host that images would go to, until the user has confirmed it; None: nothing to ask."""
        if self.plan.mode is not Mode.REMOTE or not self.plan.url:
            return None
        address = read_address(self.plan.url, self.plan.allows_plain_text)
        return None if address.is_local or address.host in self._confirmed else address.host

    def confirm_host(self, host: str) -> None:
        """The user has said that images may go to this host."""
        self._confirmed |= {host}
        # Another Slicer may have withdrawn what this one still holds: that must not come back by the way.
        stored = frozenset(_listed(self._settings.get(_HOSTS, "[]")))
        self._settings.set(_HOSTS, json.dumps(sorted(stored | {host})))

    @property
    def confirmed_hosts(self) -> frozenset[str]:
        """Hosts that images may go to without being asked again."""
        return self._confirmed

    def forget_hosts(self) -> None:
        """Images may go to no other computer any more: a remote worker is no longer the chosen one."""
        self._confirmed = frozenset()
        self._settings.remove(_HOSTS)
        mode = Mode.NONE if self.plan.mode is Mode.REMOTE else self.plan.mode
        self._change(mode=mode, withdrawals=self.plan.withdrawals + 1)

    def source(self) -> WorkerSource:
        """The worker that was chosen; a local one starts with its first client. Raises WorkerError."""
        plan = self.plan
        if plan.mode is Mode.NONE:
            raise WorkerError("not_chosen", "Choose first where it runs: press This computer or Remote.")
        if plan.mode is Mode.REMOTE:
            if (host := self.host_to_confirm()) is not None:
                words = f"Confirm first that images may be sent to {host}: press Use this address"
                raise WorkerError("not_confirmed", f"{words} (Settings, Where it runs).")
            return self._remote(plan)
        return self._local(plan)

    def test_connection(self) -> Task[ConnectionReport]:
        """Try the remote worker out on a thread of its own; only the token is sent, and no image."""
        plan = self.plan
        return connection_task(lambda: self._remote(plan).connect())

    def models_folder(self) -> Path | None:
        """The user's own models, for a local worker; the embedded one is found by the worker itself."""
        return self.home.models if self.home.models.is_dir() else None

    def _remote(self, plan: WorkerPlan) -> RemoteWorker:
        if not plan.url:
            raise WorkerError("not_chosen", "Enter the address of the other computer first (Settings, Where it runs).")
        address = read_address(plan.url, plan.allows_plain_text)
        return RemoteWorker(address.url, plan.token or None, plan.ca_file or None)

    def _local(self, plan: WorkerPlan) -> LocalWorker:
        try:
            command = installed_command(plan.installed) if plan.installed else self.environment.command()
        except WorkerError:
            raise
        except MemSeg3DError as error:
            raise WorkerError("not_installed", str(error)) from error
        return LocalWorker.prepared(
            command=command,
            model=plan.model,
            models=self.models_folder(),
            device=plan.device,
            threads=plan.threads or None,
            retention_hours=plan.retention_hours,
            log_file=self.home.logs / "worker.log",
            environment={**os.environ, ENVIRONMENT: str(self.home.root)},
        )

    def _read(self) -> WorkerPlan:
        """The plan that the settings tell; a value that means nothing any more gives way to its default."""
        plan = WorkerPlan(token=self._settings.get(_TOKEN, ""))
        for name in _KEPT:
            text = self._settings.get(_PREFIX + name, "")
            if text:
                try:
                    plan = replace(plan, **{name: _parsed(name, text)})
                except ValueError:
                    self._settings.remove(_PREFIX + name)
        return plan

    def _change(self, **values: Any) -> None:
        self.plan = replace(self.plan, **values)
        for name in values.keys() & set(_KEPT):
            self._settings.set(_PREFIX + name, _text(values[name]))
        self.changed.emit(self.plan)


def _place(url: str) -> str:
    """Where an address lies, in words."""
    if not url:
        return "no address yet"
    if is_loopback(url):
        # Nothing is readable on a network.
        return "this computer"
    return f"{url} (not encrypted)" if url.startswith("http://") else url


def _text(value: object) -> str:
    if isinstance(value, Mode):
        return value.value
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _parsed(name: str, text: str) -> Any:
    if name == "mode":
        return Mode(text)
    if name in ("allows_plain_text", "deletes_on_close"):
        return text == "true"
    if name == "threads":
        return int(text)
    if name == "retention_hours":
        return float(text)
    return Path(text) if name == "installed" else text


def _listed(text: str) -> list[str]:
    try:
        value = json.loads(text)
    except ValueError:
        return []
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []

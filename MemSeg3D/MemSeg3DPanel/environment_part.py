"""What runs on this computer: installed where it is chosen, repaired, removed at a click, or installed by IT."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer.packaging
from slicer.i18n import tr as _

from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.worker.connection.command import About, verify_task
from MemSeg3DLib.worker.connection.plan import AUTOMATIC
from MemSeg3DLib.worker.installation.environment import EnvironmentState
from MemSeg3DLib.worker.installation.maker import EnvironmentMaker
from MemSeg3DLib.worker.installation.offline_bundle import is_bundle
from MemSeg3DLib.worker.installation.uv import find_uv
from MemSeg3DPanel.dialogs import ask, ask_open_file
from MemSeg3DPanel.environment_sources import EnvironmentSources
from MemSeg3DPanel.section import Context, guarded
from MemSeg3DPanel.task_line import TaskLine

UV = "uv>=0.7.14"


class EnvironmentPart:
    """The widgets that belong to the worker on this computer. Nothing is fetched before Install.

    ui: of Worker.ui. step: the panel's second step, with Install and its progress. changed: called where what is
    installed is another than before.
    """

    def __init__(self, context: Context, ui: Any, step: Any, changed: Callable[[], object]) -> None:
        self._context = context
        self._ui = ui
        self._step = step
        self._changed = changed
        self._choice = context.application.choice
        self._maker = EnvironmentMaker(self._choice.environment, stop_worker=context.application.source.restart)
        self._sources = EnvironmentSources(context, ui)
        stamp = self._choice.environment.stamp()
        self._about: About | None = stamp.about if stamp else None
        self._devices: list[str] = []
        self._offer_devices([(one.name, one.description) for one in self._about.devices] if self._about else [])
        ui.installedEdit.setText(str(self._choice.plan.installed or ""))
        self._line = TaskLine(context.application, step, "environment", context.say)
        for widget, signal, action in (
            (step.installButton, "clicked()", self.install),
            (ui.repairButton, "clicked()", self._repair),
            (ui.removeButton, "clicked()", self._remove),
            (ui.installedButton, "clicked()", self._choose_installed),
            (ui.installedEdit, "editingFinished()", self._use_installed),
            (ui.deviceSelector, "activated(int)", lambda _index: self._use_installed()),
        ):
            widget.connect(signal, guarded(context.say, action))

    def show(self) -> None:
        """Say what there is, and offer what can be done with it."""
        state, installed = self._choice.environment.state(), self._choice.plan.installed
        texts = {
            EnvironmentState.MISSING: _("Not installed on this computer yet: press Install in step 2."),
            EnvironmentState.UNFINISHED: _("The installation was not finished: press Install to go on with it."),
            EnvironmentState.OUTDATED: _("MemSeg3D was updated and needs other packages: press Install in step 2."),
            EnvironmentState.READY: _("Installed on this computer."),
        }
        text = texts[state] if installed is None else _("What IT has installed is used.")
        if self._ui.environmentLabel.text != text:
            self._ui.environmentLabel.setText(text)
        free = not self._line.is_busy
        self._ui.repairButton.setEnabled(free and state is not EnvironmentState.MISSING)
        self._ui.removeButton.setEnabled(free and state is not EnvironmentState.MISSING)
        self.show_step()

    def show_step(self) -> None:
        """Offer Install in the second step, where this computer is chosen and has nothing installed."""
        if self._context.workbench.busy:
            # What runs is installed; the disk is not asked 25 times a second.
            return
        free, plan = not self._line.is_busy, self._choice.plan
        state = self._choice.environment.state() if self._choice.mode == "local" and plan.installed is None else None
        wanted = state not in (None, EnvironmentState.READY)
        texts = {
            EnvironmentState.UNFINISHED: _("The installation was not finished: Install goes on with it."),
            EnvironmentState.OUTDATED: _("This version of the extension needs other packages."),
        }
        text = texts.get(state or EnvironmentState.MISSING, _("Not installed yet. It goes into a folder of its own."))
        waiting = self._context.workbench.waits_to_be_ready
        if waiting:
            text += " " + _("What you drew ({count}) runs by itself when it ends.").format(count=waiting)
        if self._step.installLabel.text != text:
            self._step.installLabel.setText(text)
        self._step.installButton.setEnabled(free)
        self._step.installRow.setVisible(wanted)

    def tick(self) -> None:
        """Follow what is going on."""
        was_busy = self._line.is_busy
        self._line.tick()
        if was_busy != self._line.is_busy:
            self._choice.is_installing = False
            self.show()
            self._changed()

    def close(self) -> None:
        """Nobody waits for it any more; what was fetched is kept."""
        self._line.close()

    def install(self) -> None:
        """Install; the only place where something is fetched from the network."""
        folder = self._sources.folder
        if folder is not None and is_bundle(folder):
            task = self._maker.task_bundle(folder)
        else:
            recipe = self._sources.recipe()
            task = self._maker.task_make(self._uv(), recipe)
        self._sources.keep()
        self._line.start(task, self._installed)
        self._choice.is_installing = True
        self.show()
        self._changed()

    def _repair(self) -> None:
        self._line.start(self._maker.task_repair(self._uv(), None), self._installed)
        self.show()

    def _remove(self) -> None:
        if ask(_("Remove"), _("Delete from this computer what Install has fetched? Images and segments stay.")):
            self._line.start(
                self._maker.task_remove(),
                lambda _nothing: self._context.say("info", _("What was installed is removed.")),
            )
            self.show()

    def device_memory(self) -> int:
        """Bytes of the chosen device, as the installed worker told them; 0 where they are not known."""
        devices = self._about.devices if self._about is not None else ()
        device = self._choice.plan.device
        # The automatic choice is a device with more memory than others, or the only one.
        return max((one.memory_bytes for one in devices if device in (AUTOMATIC, one.name)), default=0)

    def _installed(self, about: About) -> None:
        self._about = about
        self._offer_devices([(one.name, one.description) for one in about.devices])
        # The first one is what the automatic choice takes: a GPU that is not named here is not used.
        device = about.devices[0].description if about.devices else _("the processor")
        self._context.say(
            "info", _("It is installed and computes on: {device}. {next}").format(device=device, next=self._next())
        )

    def _next(self) -> str:
        waiting = self._context.workbench.waits_to_be_ready
        return _("What you drew runs now.") if waiting else _("Draw a box to start.")

    def _uv(self) -> Path:
        """uv, installed into Slicer's Python where it is nowhere; Slicer asks the user first."""
        wheels = self._sources.folder
        folders = [wheels, wheels.parent] if wheels is not None else []
        found = find_uv(*folders)
        if found is None:
            try:
                slicer.packaging.pip_ensure(UV, requester="MemSeg3D")
            except (RuntimeError, subprocess.CalledProcessError) as error:
                raise SetupError(_("uv, which does the installing, was not installed: press Install again.")) from error
            found = find_uv()
        if found is None:
            raise SetupError(_("uv was installed but is not found: restart Slicer, then press Install again."))
        return found

    def _offer_devices(self, found: list[tuple[str, str]]) -> None:
        """Devices by name and description, the automatic one first and the chosen one selected."""
        known = [(AUTOMATIC, _("Automatic")), *(found or [("cpu", _("Processor")), ("cuda", _("NVIDIA GPU"))])]
        self._devices = [name for name, _title in known]
        self._ui.deviceSelector.clear()
        for _name, title in known:
            self._ui.deviceSelector.addItem(title)
        device = self._choice.plan.device
        self._ui.deviceSelector.setCurrentIndex(self._devices.index(device) if device in self._devices else 0)

    def _use_installed(self) -> None:
        """Take the device, and what IT has installed: a new one only once its worker has proved itself."""
        text = self._ui.installedEdit.text.strip()
        path = Path(text) if text else None
        if path is None or path == self._choice.plan.installed:
            self._take(path)
        else:
            self._line.start(verify_task(path), lambda about: self._verified(path, about))
        self.show()

    def _verified(self, path: Path, about: About) -> None:
        self._about = about
        self._offer_devices([(one.name, one.description) for one in about.devices])
        self._take(path)
        self._context.say("info", _("What IT has installed is used."))

    def _take(self, installed: Path | None) -> None:
        plan = self._choice.plan
        self._choice.set_local(
            device=self._devices[max(self._ui.deviceSelector.currentIndex, 0)],
            model=plan.model,
            threads=plan.threads,
            installed=installed,
        )
        self.show()

    def _choose_installed(self) -> None:
        path = ask_open_file(_("The python or memseg3d program that IT has installed"), "*")
        if path:
            self._ui.installedEdit.setText(path)
            self._use_installed()

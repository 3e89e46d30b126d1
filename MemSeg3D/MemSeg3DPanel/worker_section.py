"""Where the segmentation is computed: not yet, on this computer, or on another; nothing is sent before it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.worker.connection.trial import ConnectionReport
from MemSeg3DPanel.dialogs import ask, ask_open_file
from MemSeg3DPanel.environment_part import EnvironmentPart
from MemSeg3DPanel.section import Context, Section
from MemSeg3DPanel.task_line import TaskLine


class WorkerSection(Section):
    """The choice of the worker. step: the panel's second step; changed: called where the choice is another one."""

    def __init__(self, context: Context, host: Any, step: Any, changed: Callable[[], object]) -> None:
        super().__init__(context, "Worker.ui", host)
        self._choice = context.application.choice
        self._changed = changed
        self._filled: tuple[str, str, str, bool] | None = None
        self._report: ConnectionReport | None = None
        self.tested: Signal[ConnectionReport] = Signal()
        self._line = TaskLine(context.application, self.ui, "connection", context.say)
        self.environment = EnvironmentPart(context, self.ui, step, changed)
        self._fill()
        self.on(self.ui.noneRadio, "clicked()", lambda: self.choose("none"))
        self.on(self.ui.localRadio, "clicked()", lambda: self.choose("local"))
        self.on(self.ui.remoteRadio, "clicked()", lambda: self.choose("remote"))
        self.on(self.ui.useButton, "clicked()", self._use_remote)
        self.on(self.ui.testButton, "clicked()", self._test)
        self.on(self.ui.withdrawButton, "clicked()", self._withdraw)
        self.on(self.ui.caButton, "clicked()", self._choose_ca_file)
        self._stop_listening = self._choice.changed.connect(self._told)

    def show(self) -> None:
        """Bring radios and parts up to date."""
        mode = self._choice.mode
        for name, radio in (
            ("none", self.ui.noneRadio),
            ("local", self.ui.localRadio),
            ("remote", self.ui.remoteRadio),
        ):
            radio.setChecked(mode == name)
        self.ui.localGroup.setVisible(mode == "local")
        self.ui.remoteGroup.setVisible(mode == "remote")
        self.ui.testButton.setEnabled(not self._line.is_busy)
        self.ui.withdrawButton.setEnabled(bool(self._choice.confirmed_hosts))
        self.environment.show()

    def tick(self) -> None:
        """Follow tests and installations."""
        was_busy = self._line.is_busy
        self._line.tick()
        if was_busy != self._line.is_busy:
            self.show()
        self.environment.tick()

    def close(self) -> None:
        """Nobody waits any more."""
        self._stop_listening()
        self._line.close()
        self.environment.close()

    def choose(self, mode: str) -> None:
        """Compute there from the next run on: "none", "local" or "remote"."""
        self._choice.mode = mode
        self.show()
        self._changed()

    def confirm_host(self) -> bool:
        """Name the remote host before the first upload; True where there is nothing left to ask."""
        host = self._choice.host_to_confirm()
        if host is None:
            return True
        question = _(
            "The volume will be sent to {host}. Its voxels travel; names, patient data and file headers do not. "
            "May images be sent there?"
        ).format(host=host)
        if not ask(_("Send images to another computer"), question):
            return False
        self._choice.confirm_host(host)
        self.show()
        return True

    def _fill(self) -> None:
        """Show the remote worker of the plan; what is being typed stays as long as that is the same."""
        plan = self._choice.plan
        told = (plan.url, plan.token, plan.ca_file, plan.allows_plain_text)
        if told == self._filled:
            return
        self._filled = told
        self.ui.urlEdit.setText(plan.url)
        self.ui.tokenEdit.setText(plan.token)
        self.ui.caEdit.setText(plan.ca_file)
        self.ui.plainBox.setChecked(plan.allows_plain_text)
        self.ui.rememberBox.setChecked(self._choice.remembers_token)

    def _told(self, _plan: object) -> None:
        self._fill()
        self._changed()

    def _use_remote(self) -> None:
        self._take_remote()
        if not self.confirm_host():
            self.context.say("warning", _("Nothing will be sent before you have confirmed the host."))
        self._changed()

    def _withdraw(self) -> None:
        hosts = ", ".join(sorted(self._choice.confirmed_hosts))
        question = _("Send nothing more to {hosts}? A run there is cancelled; segments and rounds stay.")
        if ask(_("Withdraw permission"), question.format(hosts=hosts)):
            self.workbench.cancel()
            self._choice.forget_hosts()
            self.show()

    def _take_remote(self) -> None:
        self._choice.set_remote(
            self.ui.urlEdit.text.strip(),
            self.ui.tokenEdit.text,
            ca_file=self.ui.caEdit.text.strip(),
            allows_plain_text=bool(self.ui.plainBox.checked),
            remember_token=bool(self.ui.rememberBox.checked),
        )
        self.ui.urlEdit.setText(self._choice.plan.url)

    def _test(self) -> None:
        self._take_remote()
        self.ui.connectionLabel.setText("")
        task = self._choice.test_connection()
        task.failed.connect(self._test_failed)
        self._line.start(task, self._tested)
        self.show()

    def device_memory(self) -> int:
        """Bytes of the device that the worker runs on; 0 where it is not known yet."""
        if self._choice.mode == "remote":
            return self._report.device_memory_bytes if self._report is not None else 0
        return self.environment.device_memory()

    def _tested(self, report: ConnectionReport) -> None:
        self._report = report
        if self._choice.mode == "remote" and report.url == self._choice.plan.url.rstrip("/"):
            self.context.application.source.learn(self._choice.plan, report.device_words, report.features)
        self.tested.emit(report)
        self.ui.connectionLabel.setText(str(report))

    def _test_failed(self, error: MemSeg3DError) -> None:
        self.ui.connectionLabel.setText(str(error))

    def _choose_ca_file(self) -> None:
        filters = _("Certificates (*.pem *.crt *.cer)")
        self.ui.caEdit.setText(ask_open_file(_("Certificates of the other computer"), filters) or self.ui.caEdit.text)

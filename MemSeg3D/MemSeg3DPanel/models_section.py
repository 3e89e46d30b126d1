"""The networks that the worker may use: size, fit, licence; fetch a public one, add one from a file, remove one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from MemSeg3DLib.base.background import Task
from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.base.units import MEGABYTE
from MemSeg3DLib.worker.connection.command import installed_command
from MemSeg3DLib.worker.connection.plan import EMBEDDED_MODEL
from MemSeg3DLib.worker.connection.trial import ConnectionReport
from MemSeg3DLib.worker.installation.catalogue import PublicModel, fetch_task, is_accepted, missing_models
from MemSeg3DLib.worker.installation.models import ModelEntry, ModelFolder, remote_model
from MemSeg3DPanel.dialogs import ask, ask_open_file, open_folder
from MemSeg3DPanel.rows import Row, Rows
from MemSeg3DPanel.section import Context, Section
from MemSeg3DPanel.task_line import TaskLine


class ModelsSection(Section):
    """Models of the worker on this computer; of a remote one, what it told when its connection was tested.

    memory: bytes of the device that the worker runs on, 0 where it is not known.
    """

    def __init__(self, context: Context, host: Any, memory: Callable[[], int]) -> None:
        super().__init__(context, "Models.ui", host)
        self._choice = context.application.choice
        self._folder = ModelFolder(self._choice.home, self._choice.packaged)
        self._memory = memory
        self._remote: list[ModelEntry] = []
        self._local: list[ModelEntry] = []
        self._public: list[PublicModel] = []
        self._rows = Rows(self.ui.modelTree, [_("Model"), _("MB"), _("Licence"), _("Fit")], stretch=3)
        self._line = TaskLine(context.application, self.ui, "model", context.say)
        self.on(host.parentWidget(), "contentsCollapsed(bool)", lambda collapsed: None if collapsed else self._look())
        self.on(self.ui.modelTree, "itemDoubleClicked(QTreeWidgetItem*,int)", lambda *_item: self._use())
        self.on(self.ui.modelTree, "itemSelectionChanged()", self._show_buttons)
        self.on(self.ui.useModelButton, "clicked()", self._use)
        self.on(self.ui.addModelButton, "clicked()", self._add)
        self.on(self.ui.fetchModelButton, "clicked()", self._fetch)
        self.on(self.ui.removeModelButton, "clicked()", self._remove)
        self.on(self.ui.modelFolderButton, "clicked()", self._open_folder)

    def show(self) -> None:
        """Bring the list up to date with what was read."""
        remote = self._choice.mode == "remote"
        memory, used = self._memory(), self._choice.plan.model
        rows = []
        for one in self._remote if remote else self._local:
            name = one.name + (" " + _("(in use)") if remote or one.name == used else "")
            size = f"{one.bytes / MEGABYTE:.1f}" if one.bytes else ""
            tip = "\n".join(part for part in (one.use, one.fault, str(one.path or "")) if part)
            rows.append(
                Row(one.name, (name, size, one.licence or _("not told"), one.fault or one.fit(memory)), tip=tip)
            )
        for public in [] if remote else self._public:
            size = f"{public.bytes / MEGABYTE:.1f}" if public.bytes else ""
            told = _("not on this computer: press Fetch")
            tip = f"{public.use}\n{public.terms}"
            rows.append(Row(public.name, (public.name, size, public.licence, told), tip=tip))
        self._rows.show(rows)
        text = ""
        if remote:
            text = _("Its administrator chooses the model; Test connection tells which.")
        if self.ui.modelLabel.text != text:
            self.ui.modelLabel.setText(text)
        self.ui.modelLabel.setVisible(bool(text))
        self._show_buttons()

    def tick(self) -> None:
        """Follow a copy."""
        was_busy = self._line.is_busy
        self._line.tick()
        if was_busy != self._line.is_busy:
            self._show_buttons()

    def close(self) -> None:
        """Nobody waits any more."""
        self._line.close()

    def tell_remote(self, report: ConnectionReport) -> None:
        """What a remote worker told of itself."""
        self._remote = [remote_model(report)]
        self.show()

    def _look(self) -> None:
        self._local = self._folder.models()
        self._public = missing_models(self._choice.packaged, self._folder.folder)
        self.show()

    def _show_buttons(self) -> None:
        here = self._choice.mode != "remote"
        selected = next((one for one in self._local if one.name == self._rows.selected), None) if here else None
        self.ui.useModelButton.setEnabled(selected is not None and not selected.fault)
        self.ui.removeModelButton.setEnabled(selected is not None and not selected.is_embedded)
        can_fetch = here and any(one.name == self._rows.selected for one in self._public)
        self.ui.fetchModelButton.setEnabled(can_fetch and not self._line.is_busy)
        self.ui.addModelButton.setEnabled(here and not self._line.is_busy)

    def _selected(self) -> str:
        if self._rows.selected is None:
            raise SetupError(_("Select a model in the list first."))
        return self._rows.selected

    def _use(self) -> None:
        if self._choice.mode == "remote":
            raise SetupError(_("The administrator of the other computer chooses its model."))
        name = self._selected()
        if any(one.name == name for one in self._public):
            raise SetupError(_("{name} is not on this computer yet: press Fetch.").format(name=name))
        self._take(name)
        self.show()

    def _take(self, model: str) -> None:
        plan = self._choice.plan
        self._choice.set_local(device=plan.device, model=model, threads=plan.threads, installed=plan.installed)

    def _add(self) -> None:
        path = ask_open_file(_("Add a model"), _("Checkpoints (*.safetensors *.pt *.pth)"))
        if path:
            task = Task(lambda control: self._folder.add(Path(path), control), "memseg3d-model")
            self._line.start(task, self._added)
            self._show_buttons()

    def _fetch(self) -> None:
        """Ask, with the licence's terms, and fetch by the worker's own command."""
        name = self._selected()
        model = next((one for one in self._public if one.name == name), None)
        if model is None:
            raise SetupError(_("Select a model that is not on this computer yet."))
        installed = self._choice.plan.installed
        command = installed_command(installed) if installed else self._choice.environment.command()
        size = _("{size:.0f} MB").format(size=model.bytes / MEGABYTE) if model.bytes else _("of unknown size")
        question = _("Fetch {name} ({size}) from {host}?").format(name=name, size=size, host=model.host)
        if not is_accepted(model, self._folder.folder):
            consent = _("With OK you accept its licence, {licence}: {terms} The whole text: {address}")
            words = {"licence": model.licence, "terms": model.terms, "address": model.address}
            question += "\n\n" + consent.format(**words)
        if ask(_("Fetch a model"), question):
            self._line.start(fetch_task(command, model, self._folder.folder), lambda _name: self._fetched(model))
            self._show_buttons()

    def _fetched(self, model: PublicModel) -> None:
        self._look()
        text = _("{name} is on this computer now. Press Use to work with it.")
        self.context.say("info", text.format(name=model.name))

    def _added(self, added: ModelEntry) -> None:
        self._look()
        licence = added.licence or _("not told: ask whoever made it")
        self.context.say(
            "info", _("{name} was added. Its licence: {licence}.").format(name=added.name, licence=licence)
        )

    def _remove(self) -> None:
        name = self._selected()
        if ask(_("Remove the model"), _("Delete {name} from this computer?").format(name=name)):
            self._folder.remove(name)
            if self._choice.plan.model == name:
                self._take(EMBEDDED_MODEL)
            self._look()

    def _open_folder(self) -> None:
        self._folder.folder.mkdir(parents=True, exist_ok=True)
        open_folder(str(self._folder.folder))

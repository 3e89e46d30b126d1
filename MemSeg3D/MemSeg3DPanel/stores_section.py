"""What is kept on this computer: where, how much, for how long; and how it is deleted."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from MemSeg3DLib.base.background import Task
from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.base.units import MEGABYTE
from MemSeg3DLib.worker.installation.stored_data import Store, purge_journals, purge_logs, purge_worker_data, stores
from MemSeg3DPanel.dialogs import ask, open_folder
from MemSeg3DPanel.rows import Row, Rows
from MemSeg3DPanel.section import Context, Section


class StoresSection(Section):
    """The list of local stores with their sizes, retention, and Delete now."""

    def __init__(self, context: Context, host: Any) -> None:
        super().__init__(context, "Stores.ui", host)
        self._host = host.parentWidget()
        self._home = context.application.choice.home
        self._rows = Rows(self.ui.storeTree, [_("What"), _("MB"), _("Images")])
        self._stores: list[Store] = []
        self._task: Task[list[Store]] | None = None
        self._purging: Task[bool] | None = None
        plan = context.application.choice.plan
        self.ui.hoursBox.setValue(round(plan.retention_hours))
        self.ui.deleteBox.setChecked(plan.deletes_on_close)
        self.on(self._host, "contentsCollapsed(bool)", lambda collapsed: None if collapsed else self._look())
        self.on(self.ui.storeTree, "itemSelectionChanged()", self.show)
        self.on(self.ui.hoursBox, "editingFinished()", self._set_retention)
        self.on(self.ui.deleteBox, "toggled(bool)", lambda _on: self._set_retention())
        self.on(self.ui.purgeButton, "clicked()", self._purge_selected)
        self.on(self.ui.purgeAllButton, "clicked()", self._purge_all)
        self.on(self.ui.storeFolderButton, "clicked()", lambda: open_folder(str(self._home.root)))

    def show(self) -> None:
        """Bring the buttons up to date."""
        self.ui.purgeButton.setEnabled(self._rows.selected in self._purges())

    def tick(self) -> None:
        """Look whether the sizes are known."""
        if self._task is not None and not self._task.poll():
            self._task = None
        if self._purging is not None and not self._purging.poll():
            self._purging = None

    def close(self) -> None:
        """Nobody waits for it any more."""
        if self._task is not None:
            self._task.cancel()

    def _look(self) -> None:
        """Read the sizes on a thread: a tree of files may be large."""
        if self._task is None:
            self._task = Task(lambda _control: stores(self._home), "memseg3d-stores")
            self._task.finished.connect(self._show_stores)
            self._task.failed.connect(lambda error: self.context.say("error", str(error)))

    def _show_stores(self, found: list[Store]) -> None:
        self._stores = found
        self._rows.show(
            [
                Row(
                    one.name,
                    (one.name, f"{one.bytes / MEGABYTE:.1f}", _("yes") if one.holds_patients else _("no")),
                    tip="\n".join(map(str, one.folders)) or _("Nothing is kept."),
                )
                for one in found
            ]
        )
        self.show()

    def _purges(self) -> dict[str, Any]:
        """What may be deleted here, by the name of the store; the others are deleted where they are made."""
        names = [one.name for one in self._stores]
        return dict(zip(names, (self._purge_worker, self._purge_journals, self._purge_logs), strict=False))

    def _purge_selected(self) -> None:
        purge = self._purges().get(self._rows.selected or "")
        if purge is None:
            raise SceneError(_("Models, and what Install has fetched, are deleted in their own sections."))
        if ask(_("Delete"), _("Delete this now? It cannot be brought back. The scene stays as it is.")):
            purge()
            self._look()

    def _purge_all(self) -> None:
        question = _("Delete every volume, round and log that MemSeg3D keeps on this computer? ")
        stays = _("It cannot be brought back. The scene and its own rounds stay: later rounds build on them.")
        if ask(_("Delete all"), question + stays):
            self._purge_worker()
            self._purge_journals()
            self._purge_logs()
            self._look()

    def _purge_worker(self) -> None:
        if self.workbench.busy:
            raise SceneError(_("A run is going on: wait for it, or cancel it first."))
        if self._purging is not None:
            raise SceneError(_("The data are being deleted: wait for it."))
        self._purging = Task(lambda _control: self._delete_worker_data(), "memseg3d-purge")
        self._purging.finished.connect(self._purged)
        self._purging.failed.connect(lambda error: self.context.say("error", str(error)))
        self.context.application.hurry(lambda: self._purging is not None)

    def _delete_worker_data(self) -> bool:
        """True where another worker still uses its data. On a thread: a worker takes seconds to end."""
        self.context.application.source.restart()
        return bool(purge_worker_data(self._home))

    def _purged(self, in_use: bool) -> None:
        if in_use:
            self.context.say("warning", _("Another Slicer still uses its data: close it, and delete again."))
        self._look()

    def _purge_journals(self) -> None:
        # Later rounds of the open scene would lack those before them.
        if purge_journals(self._home, keep=self.workbench.journals()):
            self.context.say("warning", _("Another Slicer writes its rounds: close it, and delete again."))

    def _purge_logs(self) -> None:
        purge_logs(self._home)

    def _set_retention(self) -> None:
        choice = self.context.application.choice
        choice.set_retention(float(self.ui.hoursBox.value), bool(self.ui.deleteBox.checked))

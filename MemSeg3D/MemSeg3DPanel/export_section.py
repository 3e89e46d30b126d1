"""One button that writes the segments: NIfTI, .seg.nrrd, DICOM-SEG, or DICOM-SEG to a PACS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from MemSeg3DLib.base.errors import ExportError
from MemSeg3DLib.export.dicom.dicomweb import DicomWebServer
from MemSeg3DLib.export.exports import Exported, ExportFormat, ExportRequest, export_task, prepare_export
from MemSeg3DLib.export.segment_names import unnamed
from MemSeg3DPanel.dialogs import ask, ask_folder, ask_open_file
from MemSeg3DPanel.section import Context, Section
from MemSeg3DPanel.task_line import TaskLine

_FOLDER, _PACS, _CA, _FORMAT = "Export/Folder", "Export/Pacs", "Export/PacsCaFile", "Export/Format"


class ExportSection(Section):
    """Format, where to, and Export. A password is never stored; the PACS is named before anything is sent."""

    def __init__(self, context: Context, host: Any) -> None:
        super().__init__(context, "Export.ui", host)
        settings = context.application.settings
        self._formats = {
            _("NIfTI labelmap, with names in JSON and for ITK-SNAP"): ExportFormat.NIFTI,
            _("Slicer segmentation (.seg.nrrd)"): ExportFormat.SEG_NRRD,
            _("DICOM-SEG file"): ExportFormat.DICOM_SEG,
            _("DICOM-SEG to a PACS"): ExportFormat.DICOM_WEB,
        }
        for title in self._formats:
            self.ui.formatSelector.addItem(title)
        kept = [one.name for one in self._formats.values()]
        if (format_name := settings.get(_FORMAT)) in kept:
            self.ui.formatSelector.setCurrentIndex(kept.index(format_name))
        self.name_it: Callable[[], object] = lambda: None
        """Called where the user would rather name a segment than export it as it is."""
        self.ui.folderEdit.setText(settings.get(_FOLDER))
        self.ui.pacsEdit.setText(settings.get(_PACS))
        self.ui.pacsCaEdit.setText(settings.get(_CA))
        self._line = TaskLine(context.application, self.ui, "export", context.say)
        self.on(self.ui.formatSelector, "currentIndexChanged(int)", lambda _index: self._show_fields())
        self.on(self.ui.folderButton, "clicked()", self._choose_folder)
        self.on(self.ui.pacsCaButton, "clicked()", self._choose_ca_file)
        self.on(self.ui.exportButton, "clicked()", self.export)
        self._show_fields()

    def show(self) -> None:
        """Bring the button up to date."""
        self.ui.exportButton.setEnabled(self.workbench.segmentation_node is not None and not self._line.is_busy)

    def tick(self) -> None:
        """Follow the export."""
        was_busy = self._line.is_busy
        self._line.tick()
        if was_busy != self._line.is_busy:
            self.show()

    def close(self) -> None:
        """Nobody waits for it any more."""
        self._line.close()

    def export_now(self) -> None:
        """Export as was chosen last; where no folder was chosen yet, ask for it."""
        if self._format() is not ExportFormat.DICOM_WEB and not self.ui.folderEdit.text.strip():
            self._choose_folder()
            if not self.ui.folderEdit.text.strip():
                return
        self.export()

    def export(self) -> None:
        """Write, or send, the segments as they are now; first a word where one of them has no name yet."""
        if not self._agrees_to_names():
            self.name_it()
            return
        chosen = self._format()
        server = self._server() if chosen is ExportFormat.DICOM_WEB else None
        if server is not None and not server.is_local:
            plain = "" if server.is_encrypted else " " + _("The way there is not encrypted.")
            question = _("The segmentation is sent to {host}, with the patient's data of its series.").format(
                host=server.host
            )
            if not ask(_("Send to a PACS"), question + plain + " " + _("Send it?")):
                return
        folder = self.ui.folderEdit.text.strip()
        if server is None and not folder:
            raise ExportError(_("Choose a folder first: files are written nowhere else."))
        request = ExportRequest(
            format=chosen,
            segmentation_node=self.workbench.segmentation_node,
            volume_node=self.workbench.volume_node,
            folder=Path(folder) if folder else None,
            name=self.ui.nameEdit.text.strip() or None,
            segment_ids=self._segments(),
            one_file_per_segment=bool(self.ui.splitBox.checked),
            overwrite=bool(self.ui.overwriteBox.checked),
            find_source=_file_of_instance,
            server=server,
        )
        self._remember(folder)
        self._line.start(export_task(prepare_export(request)), self._done)
        self.show()

    def _agrees_to_names(self) -> bool:
        if self.workbench.segmentation_node is None:
            raise ExportError(_("There is nothing to export yet: choose a volume, and draw a box."))
        names = unnamed(self.workbench.segmentation_node, self._segments(), _("Segment 1"))
        if not names:
            return True
        question = _("{names}: no name was given yet, so files will say no more than tissue. Export it so?")
        return ask(_("Segment without a name"), question.format(names=", ".join(f'"{one}"' for one in names)))

    def _done(self, exported: Exported) -> None:
        self.context.say("info", exported.as_text())

    def _segments(self) -> list[str] | None:
        """The segments to write; None for all."""
        if self.ui.whichSelector.currentIndex == 0:
            return None
        if self.workbench.segment_id is None:
            raise ExportError(_("Select a segment first, or export all of them."))
        return [self.workbench.segment_id]

    def _format(self) -> ExportFormat:
        return self._formats[self.ui.formatSelector.currentText]

    def _server(self) -> DicomWebServer:
        user = self.ui.pacsUserEdit.text.strip()
        secret = self.ui.pacsPasswordEdit.text
        return DicomWebServer(
            url=self.ui.pacsEdit.text.strip(),
            # Without a user the secret is a token.
            token=secret.strip() or None if not user else None,
            user=user or None,
            password=secret if user else None,
            ca_file=self.ui.pacsCaEdit.text.strip() or None,
        )

    def _show_fields(self) -> None:
        chosen = self._format()
        to_pacs = chosen is ExportFormat.DICOM_WEB
        self.ui.pacsRow.setVisible(to_pacs)
        self.ui.fileRow.setVisible(not to_pacs)
        self.ui.splitBox.setEnabled(chosen in (ExportFormat.NIFTI, ExportFormat.DICOM_SEG))
        self.ui.exportButton.setText(_("Send") if to_pacs else _("Export"))

    def _remember(self, folder: str) -> None:
        settings = self.context.application.settings
        settings.set(_FOLDER, folder)
        settings.set(_FORMAT, self._format().name)
        settings.set(_PACS, self.ui.pacsEdit.text.strip())
        settings.set(_CA, self.ui.pacsCaEdit.text.strip())

    def _choose_folder(self) -> None:
        self.ui.folderEdit.setText(ask_folder(_("Folder for exports")) or self.ui.folderEdit.text)

    def _choose_ca_file(self) -> None:
        filters = _("Certificates (*.pem *.crt *.cer)")
        self.ui.pacsCaEdit.setText(ask_open_file(_("Certificates of the PACS"), filters) or self.ui.pacsCaEdit.text)


def _file_of_instance(uid: str) -> str | None:
    """Path of a DICOM file in Slicer's database; main thread only."""
    database = slicer.app.dicomDatabase()
    return (database.fileForInstance(uid) or None) if database is not None else None

"""Where the worker's packages are fetched from: the fields of Where it runs, kept in the settings, as a Recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from slicer.i18n import tr as _

from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.worker.installation.recipe import Recipe
from MemSeg3DPanel.dialogs import ask_folder, ask_open_file
from MemSeg3DPanel.section import Context, guarded

_SCHEMES = ("http", "https", "file")


class EnvironmentSources:
    """Wheel folder, build of PyTorch, indexes, Python mirror and CA file. What is typed is kept once it is used."""

    def __init__(self, context: Context, ui: Any) -> None:
        self._ui = ui
        self._settings = context.application.settings
        self._backends = {
            _("PyTorch: automatic"): "auto",
            _("PyTorch: processor only (small)"): "cpu",
            _("PyTorch: NVIDIA GPU (CUDA)"): "cuda",
        }
        for title in self._backends:
            ui.backendSelector.addItem(title)
        self._kept = {
            "Wheelhouse": ui.wheelEdit,
            "Index": ui.indexEdit,
            "TorchIndex": ui.torchIndexEdit,
            "PythonMirror": ui.mirrorEdit,
            "CaFile": ui.uvCaEdit,
        }
        for name, edit in self._kept.items():
            edit.setText(self._settings.get(f"Environment/{name}"))
        # What is in use must be seen.
        advanced = (ui.indexEdit, ui.torchIndexEdit, ui.mirrorEdit, ui.uvCaEdit)
        ui.advancedGroup.collapsed = not any(edit.text for edit in advanced)
        ui.wheelButton.connect("clicked()", guarded(context.say, self._choose_wheels))
        ui.uvCaButton.connect("clicked()", guarded(context.say, self._choose_ca_file))

    @property
    def folder(self) -> Path | None:
        """The folder of wheels, or an offline bundle; None where none is named."""
        text = self._ui.wheelEdit.text.strip()
        return Path(text) if text else None

    def keep(self) -> None:
        """Remember what is typed; an address with a password in it is forgotten when Slicer ends."""
        for name, edit in self._kept.items():
            text = edit.text.strip()
            if "://" in text and "@" in text:
                self._settings.remove(f"Environment/{name}")
            else:
                self._settings.set(f"Environment/{name}", text)

    def recipe(self) -> Recipe:
        """What the fields say. Raises SetupError with what to do where one of them cannot be followed."""
        index = self._address(self._ui.indexEdit, _("package index"))
        torch_index = self._address(self._ui.torchIndexEdit, _("PyTorch index"))
        recipe = Recipe(
            torch=self._backends[self._ui.backendSelector.currentText],
            index_url=index,
            torch_index=torch_index,
            wheelhouse=self.folder,
            # A folder alone means that there is no network; with an index beside it, it is looked into first.
            offline=self.folder is not None and not (index or torch_index),
            python_mirror=self._address(self._ui.mirrorEdit, _("Python mirror")),
            ca_file=self._ui.uvCaEdit.text.strip(),
        )
        recipe.check()
        return recipe

    @staticmethod
    def _address(edit: Any, name: str) -> str:
        text = str(edit.text).strip()
        try:
            is_address = not text or urlsplit(text).scheme in _SCHEMES
        except ValueError:
            is_address = False
        if not is_address:
            raise SetupError(
                _("{text} is no address of a {name}: write it as https://host/path.").format(text=text, name=name)
            )
        return text

    def _choose_wheels(self) -> None:
        self._ui.wheelEdit.setText(ask_folder(_("Folder of wheels")) or self._ui.wheelEdit.text)

    def _choose_ca_file(self) -> None:
        filters = _("Certificates (*.pem *.crt *.cer)")
        self._ui.uvCaEdit.setText(ask_open_file(_("Certificates"), filters) or self._ui.uvCaEdit.text)

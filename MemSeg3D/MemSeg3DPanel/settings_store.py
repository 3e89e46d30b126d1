"""The module's settings in Slicer's own settings file, as MemSeg3DLib reads and writes them."""

from __future__ import annotations

from typing import Any

import slicer

PREFIX = "MemSeg3D/"


class SlicerSettings:
    """A SettingsStore of MemSeg3DLib over Slicer's QSettings; every key lies under "MemSeg3D/"."""

    def __init__(self) -> None:
        self._settings: Any = slicer.app.userSettings()

    def get(self, key: str, default: str = "") -> str:
        """The stored text, or the default."""
        value = self._settings.value(PREFIX + key, default)
        return default if value is None else str(value)

    def set(self, key: str, value: str) -> None:
        """Store a text."""
        self._settings.setValue(PREFIX + key, value)

    def remove(self, key: str) -> None:
        """Forget a key."""
        self._settings.remove(PREFIX + key)

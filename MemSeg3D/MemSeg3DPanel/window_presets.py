"""Grey windows that radiologists know by name, and how a volume is shown in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _


@dataclass(frozen=True)
class Preset:
    """A window by its limits; `limits` None: Slicer's own automatic window."""

    title: str
    limits: tuple[float, float] | None


def presets() -> list[Preset]:
    """Limits in HU for CT, in SUV (g/mL) for PET."""
    return [
        Preset(_("CT abdomen"), (-160.0, 240.0)),
        Preset(_("CT lung"), (-1350.0, 150.0)),
        Preset(_("CT bone"), (-450.0, 1050.0)),
        Preset(_("CT brain"), (0.0, 80.0)),
        Preset(_("MR, automatic"), None),
        Preset(_("PET (SUV 0 to 10)"), (0.0, 10.0)),
    ]


def apply_preset(volume_node: Any, preset: Preset) -> None:
    """Show the volume in this window; voxels stay as they are."""
    volume_node.CreateDefaultDisplayNodes()
    display = volume_node.GetDisplayNode()
    if preset.limits is None:
        display.SetAutoWindowLevel(1)
        return
    display.SetAutoWindowLevel(0)
    display.SetWindowLevelMinMax(*preset.limits)

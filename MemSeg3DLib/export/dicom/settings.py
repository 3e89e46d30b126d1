"""How a DICOM-SEG and its series call themselves: apart from the writer, whose libraries take a second to load."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExportSettings:
    """How the new series calls itself. series_number None: the source's own number plus 1000."""

    series_description: str = "MemSeg3D segmentation (research)"
    series_number: int | None = None
    algorithm_name: str = "MemSeg3D"
    algorithm_version: str = "0.1.0"
    content_label: str = "SEGMENTATION"
    creator: str | None = None
    """Name of the person who made the segmentation; nobody is named where it is None."""
    overwrite: bool = False

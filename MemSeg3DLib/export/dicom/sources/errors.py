"""The error of a DICOM series that cannot be read, or cannot serve as the source of a segmentation."""

from __future__ import annotations

from MemSeg3DLib.base.errors import MemSeg3DError


class DicomSourceError(MemSeg3DError):
    """A series cannot serve as the source of a segmentation; the message says why and what to do."""


class NoVolume(DicomSourceError):
    """Planes that were never meant to be a volume: screenshots, reports, single images."""

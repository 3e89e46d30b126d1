"""Reads one part of a DICOM folder as a volume: chooses it, checks that it is a regular grid, stacks its planes."""

from __future__ import annotations

from pathlib import Path

from memseg3d.files.dicom.folder import choose, scan
from memseg3d.files.dicom.pixels import read_pixels
from memseg3d.files.errors import UnreadableFile
from memseg3d.files.geometry import Geometry
from memseg3d.files.itk import VolumeFile, narrowed


def read_dicom_folder(folder: Path, wanted: str | None = None) -> VolumeFile:
    """Read a DICOM series: the largest volume under `folder`, or the one that `wanted` names.

    wanted: UID, number, description, or words by which messages name a part of a series (an echo, a phase, a stack).
    Voxels are rescaled values (Hounsfield units for CT). Planes are ordered along the normal of the image plane.
    Raises `UnreadableFile`: no series, none of that name, colour, no places, gaps, doubled, shifted or cut-off slices.
    """
    part, stack, notes = choose(scan(folder), folder, wanted)
    try:
        voxels = read_pixels(stack.planes)
    except RuntimeError as error:
        raise UnreadableFile(f"A file of the {part.title} is damaged or cut off. Export the series again.") from error
    if voxels.shape != stack.shape:
        raise UnreadableFile(f"A file of the {part.title} is damaged or cut off. Export the series again.")
    geometry = Geometry(stack.shape, stack.lengths, stack.origin, tuple(stack.axes.ravel().tolist()))
    return VolumeFile(narrowed(voxels), geometry.spacing_kji, geometry, notes)

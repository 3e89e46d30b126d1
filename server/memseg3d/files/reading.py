"""One door for every volume that can be read: the suffix, or a folder, chooses the reader from one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from memseg3d.files.errors import UnreadableFile
from memseg3d.files.itk import VolumeFile
from memseg3d.files.metaimage import read_metaimage
from memseg3d.files.nifti import read_nifti
from memseg3d.files.npz import read_npz
from memseg3d.files.nrrd import read_nrrd

READERS: dict[str, Callable[[Path], VolumeFile]] = {
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".nrrd": read_nrrd,
    ".nhdr": read_nrrd,
    ".mha": read_metaimage,
    ".mhd": read_metaimage,
    ".npz": read_npz,
}


MAPPED: dict[str, Callable[[Path, Path | None], VolumeFile]] = {
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".nrrd": read_nrrd,
}
"""Formats whose voxels can be mapped."""


def read_volume(path: str | Path, series: str | None = None, scratch: Path | None = None) -> VolumeFile:
    """Read a volume from a NIfTI, NRRD, MetaImage or .npz file, or from a folder that holds a DICOM series.

    series: which DICOM series of the folder: its UID, number or description; the largest where None. scratch: a folder
    that outlives the volume: voxels may be mapped from files there instead of filling the memory.
    Returns voxels (k, j, i), spacing (k, j, i) in mm and the geometry for `write_labelmap`.
    Raises `UnreadableFile` with a sentence that says what is wrong and what to do.
    """
    path = Path(path)
    if not path.exists():
        raise UnreadableFile(f"{path} does not exist; check the path.")
    if path.is_dir():
        # Imported here: pydicom takes a tenth of a worker's start, and a worker reads no DICOM.
        from memseg3d.files.dicom import read_dicom_folder

        return read_dicom_folder(path, series)
    if series is not None:
        raise UnreadableFile(f"{path.name} is a file; a series can be named for a DICOM folder only.")
    if path.stat().st_size == 0:
        raise UnreadableFile(f"{path.name} is empty (0 bytes). Copy or export it again.")
    name = path.name.lower()
    mapped = next((read for suffix, read in MAPPED.items() if name.endswith(suffix)), None)
    if scratch is not None and mapped is not None:
        return mapped(path, scratch)
    reader = next((read for suffix, read in READERS.items() if name.endswith(suffix)), None)
    if reader is None:
        raise UnreadableFile(_unknown(path))
    return reader(path)


def _unknown(path: Path) -> str:
    with path.open("rb") as stream:
        start = stream.read(132)
    if start[128:] == b"DICM" or path.suffix.lower() == ".dcm":
        return f"{path.name} is one DICOM file; give the folder that holds its series."
    if path.suffix.lower() == ".zip":
        return f"{path.name} is a zip archive; unpack it and give the folder."
    return f"{path.name} is of no known format; known are {', '.join(READERS)} and folders with a DICOM series."

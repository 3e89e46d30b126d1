"""Reading NIfTI, NRRD, MetaImage, DICOM series and npz; writing NIfTI and NRRD."""

from memseg3d.files.errors import UnreadableFile, UnwritableLabelmap
from memseg3d.files.geometry import Geometry
from memseg3d.files.itk import VolumeFile
from memseg3d.files.reading import read_volume
from memseg3d.files.writing import write_labelmap, write_slabs

__all__ = [
    "Geometry",
    "UnreadableFile",
    "UnwritableLabelmap",
    "VolumeFile",
    "read_volume",
    "write_labelmap",
    "write_slabs",
]

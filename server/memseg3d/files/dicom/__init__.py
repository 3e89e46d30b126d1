"""DICOM folders: headers of planes, what belongs together, whether it is a volume, and its voxels."""

from memseg3d.files.dicom.reading import read_dicom_folder

__all__ = ["read_dicom_folder"]

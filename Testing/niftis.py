"""NIfTI files made field by field: forms that differ, odd lengths and units, extensions with a patient's data."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

HEADER = 348
DICOM_EXTENSION = 2


def matrix(
    angle: float = 0.0,
    lengths: tuple[float, ...] = (1.0, 1.2, 2.5),
    origin: tuple[float, ...] = (5.0, 7.0, 9.0),
    shear: float = 0.0,
) -> np.ndarray:
    """4x4 from (i, j, k, 1) to RAS mm, turned about z; shear: cosine between the axes of i and k."""
    c, s = np.cos(angle), np.sin(angle)
    axes = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    axes[:, 2] += shear * axes[:, 0]
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = axes * np.array(lengths), origin
    return made


def write_nifti(
    path: Path,
    voxels: np.ndarray,
    qform: np.ndarray | None = None,
    sform: np.ndarray | None = None,
    codes: tuple[int, int] = (1, 2),
    pixdim: tuple[float, ...] = (1.0, 1.2, 2.5),
    units: int = 2,
    words: bytes = b"",
) -> Path:
    """Write voxels (k, j, i) of int16 or uint8. qform is a turn about z. words: content of a DICOM extension."""
    header = bytearray(HEADER)
    struct.pack_into("<i", header, 0, HEADER)
    struct.pack_into("<8h", header, 40, 3, *voxels.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, *((4, 16) if voxels.dtype == np.int16 else (2, 8)))
    struct.pack_into("<4f", header, 76, 1.0, *pixdim)
    header[123] = units
    struct.pack_into("<2h", header, 252, codes[0] if qform is not None else 0, codes[1] if sform is not None else 0)
    if qform is not None:
        angle = float(np.arctan2(qform[1, 0], qform[0, 0]))
        struct.pack_into("<6f", header, 256, 0.0, 0.0, np.sin(angle / 2), *qform[:3, 3])
    if sform is not None:
        struct.pack_into("<12f", header, 280, *sform[:3].ravel())
    header[148:158] = b"DOE^JANE X"
    header[344:348] = b"n+1\0"
    extension = bytes(4)
    if words:
        size = 16 * ((8 + len(words) + 15) // 16)
        extension = b"\1\0\0\0" + struct.pack("<2i", size, DICOM_EXTENSION) + words.ljust(size - 8, b"\0")
    struct.pack_into("<f", header, 108, float(HEADER + len(extension)))
    content = bytes(header) + extension + voxels.astype(voxels.dtype.newbyteorder("<")).tobytes()
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path


def header_of(path: Path) -> bytes:
    """The first 352 bytes of a NIfTI file, unpacked."""
    content = path.read_bytes()
    return (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)[:352]


def placing_fields(path: Path) -> dict[str, tuple[float, ...]]:
    """What places the voxels of a NIfTI file: lengths, units, codes and both forms."""
    header = header_of(path)
    return {
        "pixdim": struct.unpack_from("<4f", header, 76),
        "units": (header[123],),
        "codes": struct.unpack_from("<2h", header, 252),
        "quaternion and offsets": struct.unpack_from("<6f", header, 256),
        "rows": struct.unpack_from("<12f", header, 280),
    }


def write_ct_and_labels(folder: Path) -> int:
    """A DICOM series `ct` and `labels.nii.gz` on its grid, in a folder; how many voxels the labelmap marks."""
    from demo.phantom_dicom import Geometry, write_phantom_series

    steps = (0.8, 0.7, 2.5)
    write_phantom_series(np.zeros((8, 16, 16), np.int16), Geometry(np.diag([*steps, 1.0])), folder / "ct", "CT")
    labels = np.zeros((8, 16, 16), np.uint8)
    labels[2:5, 4:9, 3:7] = 1
    place = matrix(lengths=steps, origin=(0.0, 0.0, 0.0))
    place[:2] *= -1
    write_nifti(folder / "labels.nii.gz", labels, None, place, (0, 1), steps)
    return int(labels.sum())

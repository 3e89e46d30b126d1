"""Where a NIfTI header puts its voxels: its two forms, which of them counts, and both carried over to a labelmap."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 348
_PIXDIM, _UNITS, _CODES, _QUATERNION, _ROWS, _END = 76, 123, 252, 256, 280, 328
_STRINGS = ((148, 252), (328, 344), (348, 352))
"""Free text (description, file and intent names) and the mark that extensions follow."""
_MM = {1: 1000.0, 3: 0.001}
"""Millimetres a unit of length (bits 0 to 2 of xyzt_units): metres, micrometres; everything else is millimetres."""
_PERPENDICULAR = 1e-4
"""Beyond this the library takes the qform where there is one, and so does 3D Slicer."""
_SCANNER = 1
APART = 1e-3
"""In shares of a voxel: forms that lie no farther apart are one position."""


@dataclass(frozen=True)
class NiftiForms:
    """The fields of a header that place the voxels, byte for byte: pixdim[0:4], units, codes, both forms.

    A labelmap with the same fields lies on its image in every reader, whichever form that prefers. Little-endian.
    """

    fields: bytes

    @classmethod
    def of_header(cls, header: bytes, order: str) -> NiftiForms:
        """From the first 348 bytes of a file; order: "<" or ">"."""
        pixdim = np.frombuffer(header, order + "f4", 4, _PIXDIM).astype("<f4").tobytes()
        codes = np.frombuffer(header, order + "i2", 2, _CODES).astype("<i2").tobytes()
        numbers = np.frombuffer(header, order + "f4", 18, _QUATERNION).astype("<f4").tobytes()
        return cls(pixdim + header[_UNITS : _UNITS + 1] + codes + numbers)

    @property
    def pixdim(self) -> NDArray[np.float64]:
        """qfac, and the lengths along i, j and k in the header's own unit."""
        return np.frombuffer(self.fields, "<f4", 4).astype(np.float64)

    @property
    def codes(self) -> tuple[int, int]:
        """Codes of qform and sform; 0: there is none."""
        first, second = struct.unpack_from("<2h", self.fields, 17)
        return first, second

    @property
    def millimetres(self) -> float:
        """Of one unit of length."""
        return _MM.get(self.fields[16] & 7, 1.0)

    def put(self, header: bytearray) -> None:
        """Write the fields into a little-endian header."""
        header[_PIXDIM : _PIXDIM + 16] = self.fields[:16]
        header[_UNITS] = self.fields[16]
        header[_CODES:_END] = self.fields[17:]

    def qform(self) -> NDArray[np.float64] | None:
        """4x4 from (i, j, k, 1) to RAS mm, lengths by pixdim; None where there is none or it is no matrix."""
        if self.codes[0] <= 0:
            return None
        b, c, d, x, y, z = np.frombuffer(self.fields, "<f4", 6, 21).astype(np.float64)
        a = 1.0 - (b * b + c * c + d * d)
        if a < 1e-7:
            length = float(np.sqrt(b * b + c * c + d * d)) or 1.0
            a, b, c, d = 0.0, b / length, c / length, d / length
        else:
            a = float(np.sqrt(a))
        turn = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
            ]
        )
        turn[:, 2] *= -1.0 if self.pixdim[0] < 0 else 1.0
        return self._matrix(turn * self._lengths(), (x, y, z))

    def sform(self) -> NDArray[np.float64] | None:
        """4x4 from (i, j, k, 1) to RAS mm; None where there is none or it is no matrix."""
        if self.codes[1] <= 0:
            return None
        rows = np.frombuffer(self.fields, "<f4", 12, 45).astype(np.float64).reshape(3, 4)
        return self._matrix(rows[:, :3], rows[:, 3])

    def position(self) -> NDArray[np.float64]:
        """The form that counts, as 3D Slicer's library chooses it; its columns give the lengths of a voxel."""
        qform, sform = self.qform(), self.sform()
        if sform is not None and (qform is None or (self.codes[1] == _SCANNER and _is_perpendicular(sform))):
            return sform
        if qform is not None:
            return qform
        # Neither: axes as they come, which for this library are those of LPS.
        lengths = self._lengths() * self.millimetres
        return np.diag([-lengths[0], -lengths[1], lengths[2], 1.0])

    def apart(self, shape: tuple[int, int, int]) -> float:
        """How far in mm the two forms put a corner of the volume (k, j, i) apart; 0 where they are one position."""
        qform, sform = self.qform(), self.sform()
        if qform is None or sform is None:
            return 0.0
        corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(shape[::-1]) - 1)
        away = (qform - sform)[:3] @ np.column_stack([corners, np.ones(8)]).T
        distance = float(np.linalg.norm(away, axis=0).max())
        return 0.0 if distance <= APART * float(np.linalg.norm(qform[:3, :3], axis=0).min()) else distance

    @property
    def says_lengths(self) -> bool:
        """False where a voxel's length is in no field, so that 1 is taken."""
        return bool((self._stated_lengths() > 0).all())

    @property
    def broken(self) -> tuple[str, ...]:
        """The forms that there are and that are no matrices, by name."""
        forms = (("qform", self.codes[0], self.qform()), ("sform", self.codes[1], self.sform()))
        return tuple(name for name, code, form in forms if code > 0 and form is None)

    def _lengths(self) -> NDArray[np.float64]:
        """Along i, j and k, in the header's unit: the sform's where pixdim has none, 1 where that has none either."""
        lengths = self._stated_lengths()
        return np.where(lengths > 0, lengths, 1.0)

    def _stated_lengths(self) -> NDArray[np.float64]:
        lengths = np.abs(self.pixdim[1:])
        rows = np.frombuffer(self.fields, "<f4", 12, 45).astype(np.float64).reshape(3, 4)
        others = np.linalg.norm(np.nan_to_num(rows[:, :3]), axis=0) if self.codes[1] > 0 else np.zeros(3)
        lengths = np.where(np.isfinite(lengths) & (lengths > 0), lengths, others)
        return np.where(np.isfinite(lengths), lengths, 0.0)

    def _matrix(self, axes: NDArray[np.float64], origin: Any) -> NDArray[np.float64] | None:
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = axes, origin
        matrix[:3] *= self.millimetres
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        if not np.isfinite(matrix).all() or lengths.min() <= 0:
            return None
        return None if abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-3 else matrix


def without_forms(start: bytes, order: str) -> bytes:
    """The start of a file (header and what follows) for the library: plain axes, no words, no extensions.

    The library refuses what this package can read (axes almost perpendicular), warns of what it has settled, and reads
    extensions, which hold patients' data.
    """
    plain = bytearray(start)
    plain[_PIXDIM : _PIXDIM + 16] = np.ones(4, order + "f4").tobytes()
    plain[_UNITS] = 2
    plain[_CODES:_END] = bytes(_END - _CODES)
    for first, end in _STRINGS:
        end = min(end, len(plain))
        plain[first:end] = bytes(max(0, end - first))
    return bytes(plain)


def _is_perpendicular(matrix: NDArray[np.float64]) -> bool:
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() < _PERPENDICULAR)

"""Values of a DICOM header, read so that what is missing or damaged is no error."""

from __future__ import annotations

import math
import struct
import zlib

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

WRONG = (
    OSError,
    EOFError,
    InvalidDicomError,
    BytesLengthException,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    struct.error,
    zlib.error,
)
"""What damaged files make the library raise."""

MARKS = {
    "time point": "TemporalPositionIdentifier",
    "acquisition": "AcquisitionNumber",
    "echo": "EchoNumbers",
    "image type": "ImageType",
    "echo time": "EchoTime",
    "inversion time": "InversionTime",
    "b-value": "DiffusionBValue",
    "trigger time": "TriggerTime",
    "flip angle": "FlipAngle",
}
"""What tells images of one series at one position apart, in the order in which it is tried."""


def marks_of(dataset: Dataset) -> dict[str, str]:
    """What tells the image apart from others at its position, by the names of `MARKS`."""
    return {name: word(dataset, keyword) for name, keyword in MARKS.items()}


def word(dataset: Dataset, keyword: str) -> str:
    """A value as text, several joined by backslashes; empty where it is missing or broken."""
    try:
        value = dataset.get(keyword)
        if value is None:
            return ""
        if isinstance(value, str | bytes | float | int):
            return str(value).strip(" \0")
        return "\\".join(str(one).strip(" \0") for one in value)
    except WRONG:
        return ""


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """The numbers of a value, or none where one is missing, broken or not finite."""
    try:
        found = tuple(float(one) for one in dataset.get(keyword) or ())
    except WRONG:
        return ()
    return found if len(found) == count and all(math.isfinite(one) for one in found) else ()


def whole_number(dataset: Dataset, keyword: str) -> int:
    """A whole number; 0 where it is missing or broken."""
    try:
        return int(dataset.get(keyword) or 0)
    except WRONG:
        return 0

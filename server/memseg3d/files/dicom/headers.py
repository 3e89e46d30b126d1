"""What one DICOM file holds, by its header: planes with their place and marks, or the news that it was cut off."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.dataset import Dataset

from memseg3d.files.dicom.multiframe import frames_of
from memseg3d.files.dicom.values import WRONG, marks_of, numbers, whole_number, word

NOT_IMAGES = frozenset({"SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "SR", "PR", "KO", "REG", "FID", "DOC"})
"""Modalities (0008,0060) that are drawn on a series and are none themselves."""
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
SEQUENCE_END = b"\xfe\xff\xdd\xe0"
UNDEFINED = 0xFFFFFFFF
SHORTEST = 132
"""Bytes of preamble and mark; a .dcm file that is shorter was cut off."""
TAIL = 1 << 16
SERIES_UID = 0x0020000E


@dataclass(frozen=True)
class Plane:
    """One image: a file of its own, or a frame of one (`frame`, from 0).

    owner: patient and study. position: LPS mm; orientation: row then column cosines; spacing: (j, i) mm between rows
    and columns; each empty where the header has none. marks: what may tell planes at one position apart, by its word.
    times: what orders them. rescale: slope and intercept of a frame.
    """

    file: Path
    frame: int | None
    owner: tuple[str, str]
    series: str
    instance: str
    modality: str
    number: str
    description: str
    size: tuple[int, int]
    components: int
    position: tuple[float, ...] = ()
    orientation: tuple[float, ...] = ()
    spacing: tuple[float, ...] = ()
    reference: str = ""
    marks: dict[str, str] = field(default_factory=dict, hash=False)
    times: tuple[str, ...] = ()
    rescale: tuple[float, float] = (1.0, 0.0)
    unplaced_frames: bool = False
    pixels_at: int = 0


@dataclass(frozen=True)
class Broken:
    """A file that was cut off or is empty. series: its Series Instance UID, None where that was lost, too."""

    file: Path
    series: str | None


def read_header(path: Path) -> list[Plane] | Broken | None:
    """The planes of a file; None where it is no DICOM image."""
    try:
        with path.open("rb") as stream:
            start = stream.read(SHORTEST)
            if not _may_be_dicom(start):
                return Broken(path, None) if path.suffix.lower() == ".dcm" and len(start) < SHORTEST else None
            stream.seek(0)
            return _read(path, stream)
    except WRONG:
        return Broken(path, None)


def _may_be_dicom(start: bytes) -> bool:
    """The mark behind the preamble; or, without a preamble, a first element of group 2 or 8."""
    if start[128:132] == b"DICM":
        return True
    group, element, vr = start[:2], start[2:4], start[4:6]
    if group == b"\x02\0":
        return element == b"\0\0" and vr == b"UL"
    if group == b"\x08\0" and len(start) == SHORTEST:
        return (vr.isalpha() and vr.isupper()) or int.from_bytes(start[4:8], "little") < 256
    return False


def _read(path: Path, stream: BinaryIO) -> list[Plane] | Broken | None:
    with warnings.catch_warnings():
        # The library's remarks would name values of the header.
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
        known = max(dataset.keys(), default=0) > SERIES_UID
        series = word(dataset, "SeriesInstanceUID") if known else None
        if word(dataset, "Modality") in NOT_IMAGES:
            return None
        if "Rows" not in dataset or "Columns" not in dataset:
            return Broken(path, series) if _is_image_class(dataset) else None
        at = stream.tell()
        if not is_whole(stream, dataset, at):
            return Broken(path, series)
        return planes_of(dataset, path, at)


def _is_image_class(dataset: Dataset) -> bool:
    """True for an object that should have had pixels, had it not been cut off before them."""
    meta = getattr(dataset, "file_meta", Dataset())
    uid = dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    return bool(uid) and "Image Storage" in pydicom.uid.UID(str(uid)).name


def is_whole(stream: BinaryIO, dataset: Dataset, at: int) -> bool:
    """Whether the file holds all of its pixel data, which begins at byte `at` (DICOM PS3.5, 7.1 and A.4)."""
    meta = getattr(dataset, "file_meta", Dataset())
    syntax = str(meta.get("TransferSyntaxUID", ""))
    if syntax == pydicom.uid.DeflatedExplicitVRLittleEndian:
        return True  # unpacked as a whole, with its checksum
    size = stream.seek(0, 2)
    stream.seek(at)
    start = stream.read(12)
    big = not dataset.original_encoding[1]
    order = ">" if big else "<"
    if len(start) < 8:
        return False
    group, element = struct.unpack(order + "2H", start[:4])
    if (group << 16 | element) not in PIXELS:
        return False
    if dataset.original_encoding[0]:
        (length,), begin = struct.unpack(order + "I", start[4:8]), at + 8
    elif len(start) == 12:
        (length,), begin = struct.unpack(order + "I", start[8:12]), at + 12
    else:
        return False
    if length != UNDEFINED:
        return length > 0 and size >= begin + length
    stream.seek(max(begin, size - TAIL))
    if SEQUENCE_END in stream.read(TAIL):
        return True
    stream.seek(begin)
    return SEQUENCE_END in stream.read()


def planes_of(dataset: Dataset, path: Path, at: int = 0) -> list[Plane]:
    """The planes that a header describes: one, or one a frame where frames have places of their own."""
    rows, columns = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
    common: dict[str, Any] = {
        "file": path,
        "owner": (word(dataset, "PatientID"), word(dataset, "StudyInstanceUID")),
        "series": word(dataset, "SeriesInstanceUID"),
        "instance": word(dataset, "SOPInstanceUID"),
        "modality": word(dataset, "Modality"),
        "number": word(dataset, "SeriesNumber"),
        "description": word(dataset, "SeriesDescription"),
        "size": (rows, columns),
        "components": whole_number(dataset, "SamplesPerPixel") or 1,
        "reference": word(dataset, "FrameOfReferenceUID"),
        "pixels_at": at,
    }
    if dataset.get("PerFrameFunctionalGroupsSequence"):
        return [Plane(**common, **words) for words in frames_of(dataset)]
    several = whole_number(dataset, "NumberOfFrames") > 1
    return [
        Plane(
            **common,
            frame=None,
            position=numbers(dataset, "ImagePositionPatient", 3),
            orientation=numbers(dataset, "ImageOrientationPatient", 6),
            spacing=numbers(dataset, "PixelSpacing", 2),
            marks=marks_of(dataset),
            times=tuple(word(dataset, one) for one in ("AcquisitionDateTime", *TIMES)),
            unplaced_frames=several,
        )
    ]


TIMES = ("AcquisitionDate", "AcquisitionTime", "TriggerTime", "ContentDate", "ContentTime")

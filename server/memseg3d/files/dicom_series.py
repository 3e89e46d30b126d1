"""Which slices a DICOM folder holds: headers by GDCM, grouped into series that could each be one volume."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import SimpleITK as sitk

from memseg3d.files.dicom_pixels import check_whole
from memseg3d.files.errors import UnreadableFile

NOT_IMAGES = frozenset({"SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "SR", "PR", "KO", "REG", "FID", "DOC"})
"""Modalities (0008,0060) that are drawn on a series and are none themselves."""

SPLITTERS = {"0020|0100": "time point", "0020|0012": "acquisition", "0018|0086": "echo", "0008|0008": "image type"}
"""What tells images of one series at one position apart, in the order in which they are tried."""


@dataclass(frozen=True)
class DicomSlice:
    """One image file of a series. position: LPS mm; orientation: row then column cosines; spacing: (i, j) mm."""

    file: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    size: tuple[int, ...]
    spacing: tuple[float, float]
    components: int
    pixel_id: int
    tags: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class DicomSeries:
    """Slices that share series, size and orientation, in the order of their files."""

    uid: str
    number: str
    description: str
    modality: str
    slices: tuple[DicomSlice, ...]
    part: str = ""
    """What sets these slices apart from others of the same series; empty where there are none."""

    @property
    def title(self) -> str:
        """How messages name the series."""
        words = f"{self.modality} series {self.number or self.uid}"
        words += f" '{self.description}'" if self.description else ""
        return f"{words}{f', {self.part}' if self.part else ''} ({len(self.slices)} images)"

    def is_named(self, name: str) -> bool:
        """True where `name` is the UID, number or description of the series."""
        return name.strip() in (self.uid, self.number, self.description)


def find_series(folder: Path) -> list[DicomSeries]:
    """Every series under `folder`, subfolders included, the one with the most images first.

    Raises `UnreadableFile` where a DICOM file is cut off: its series would miss a slice without a word.
    """
    slices: dict[str, list[DicomSlice]] = defaultdict(list)
    for root, _, names in sorted(os.walk(folder)):
        files = {Path(root) / name for name in names}
        for one in _read_folder(root) if files else ():
            slices[one.tags["0020|000e"]].append(one)
            files.discard(Path(one.file))
        for left in sorted(files):
            _check_left_out(left)
    series = [part for uid in sorted(slices) for part in _parts(uid, slices[uid])]
    return sorted(series, key=lambda s: -len(s.slices))


def _read_folder(root: str) -> list[DicomSlice]:
    lists = sitk.ImageSeriesReader
    files = (file for uid in lists.GetGDCMSeriesIDs(root) for file in lists.GetGDCMSeriesFileNames(root, uid))
    return [one for one in map(_read_header, files) if one is not None]


def _check_left_out(file: Path) -> None:
    """A file that belongs to no series may be anything but a DICOM file without its end."""
    with file.open("rb") as stream:
        start = stream.read(132)
    if start[128:] == b"DICM":
        check_whole(file, "folder")
    elif file.suffix.lower() == ".dcm" and len(start) < 132:
        raise UnreadableFile(f"{file.name} is cut off or empty. Export or copy the series again.")


def _read_header(file: str) -> DicomSlice | None:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None  # a DICOM object without pixels, such as a report or a structure set
    keys = ("0008|0060", "0008|103e", "0020|000e", "0020|0011", "0020|0032", "0020|0037", *SPLITTERS)
    tags = {key: reader.GetMetaData(key).strip(" \0") if reader.HasMetaDataKey(key) else "" for key in keys}
    if tags["0008|0060"] in NOT_IMAGES:
        return None
    return DicomSlice(
        file=file,
        position=_numbers(tags["0020|0032"], 3),
        orientation=_numbers(tags["0020|0037"], 6),
        size=tuple(int(n) for n in reader.GetSize()),
        spacing=(float(reader.GetSpacing()[0]), float(reader.GetSpacing()[1])),
        components=int(reader.GetNumberOfComponents()),
        pixel_id=int(reader.GetPixelID()),
        tags=tags,
    )


def _numbers(text: str, count: int) -> tuple[float, ...]:
    """The numbers of a multi-valued tag, or none where it is missing or broken."""
    try:
        numbers = tuple(float(part) for part in text.split("\\"))
    except ValueError:
        return ()
    return numbers if len(numbers) == count else ()


def _parts(uid: str, slices: Sequence[DicomSlice]) -> list[DicomSeries]:
    """A series as one part per size and orientation (scouts lie in some series), and per time point or echo."""
    groups: dict[tuple[object, ...], list[DicomSlice]] = defaultdict(list)
    for one in slices:
        groups[one.size, one.components, tuple(round(c, 3) for c in one.orientation)].append(one)
    parts = []
    for (size, *_), group in groups.items():
        grid = f"{' x '.join(map(str, size[:2]))}" if len(groups) > 1 and isinstance(size, tuple) else ""
        for name, members in _separated(group).items():
            tags = members[0].tags
            label = ", ".join(word for word in (grid, name) if word)
            parts.append(
                DicomSeries(uid, tags["0020|0011"], tags["0008|103e"], tags["0008|0060"], tuple(members), label)
            )
    return parts


def _separated(group: list[DicomSlice]) -> dict[str, list[DicomSlice]]:
    """Images of several time points, acquisitions or echoes apart, if that leaves one image per position."""
    if _one_per_position(group):
        return {"": group}
    for key, word in SPLITTERS.items():
        split: dict[str, list[DicomSlice]] = defaultdict(list)
        for one in group:
            split[f"{word} {one.tags[key]}"].append(one)
        if len(split) > 1 and all(_one_per_position(members) for members in split.values()):
            return dict(split)
    return {"": group}


def _one_per_position(group: list[DicomSlice]) -> bool:
    return len({tuple(round(c, 3) for c in one.position) for one in group}) == len(group)

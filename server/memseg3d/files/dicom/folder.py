"""What a DICOM folder holds, and which part of it is read: copies, strays and broken files of others stop nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from memseg3d.files.dicom.headers import Broken, Plane, read_header
from memseg3d.files.dicom.parts import Part, named, parts_of
from memseg3d.files.dicom.stack import NoVolume, Stack, stacked
from memseg3d.files.errors import UnreadableFile

MAC = "__MACOSX"
BLOCK = 1 << 20


@dataclass(frozen=True)
class Found:
    """Parts of all series, the largest first; files that were cut off; sentences about what was left out."""

    parts: tuple[Part, ...]
    broken: tuple[Broken, ...]
    notes: tuple[str, ...]

    def check_broken(self, part: Part) -> None:
        """Raise `UnreadableFile` where a file of the part's series was cut off: a slice would be missing unseen.

        A file that no longer tells its series counts for that of the other images in its folder, if that is one.
        """
        for one in self.broken:
            planes = (plane for other in self.parts for plane in other.planes)
            beside = {plane.series for plane in planes if plane.file.parent == one.file.parent}
            if one.series == part.series or (one.series is None and beside == {part.series}):
                raise UnreadableFile(
                    f"{one.file.name} of the {part.title} is cut off. Export or copy the series again."
                )


def scan(folder: Path) -> Found:
    """Read the headers of all files in `folder` and below."""
    planes: list[Plane] = []
    broken: list[Broken] = []
    dangling = 0
    for path in _files(folder):
        if not path.is_file():
            dangling += path.is_symlink()
            continue
        found = read_header(path)
        if isinstance(found, Broken):
            broken.append(found)
        elif found is not None:
            planes.extend(found)
    planes, copies = without_copies(planes)
    notes = []
    if copies:
        notes.append(_count(copies, "file is a copy and was left out.", "files are copies and were left out."))
    if dangling:
        notes.append(f"{_count(dangling, 'link leads', 'links lead')} nowhere: slices may not have been fetched.")
    return Found(tuple(parts_of(planes)), tuple(broken), tuple(notes))


def _files(folder: Path) -> Iterable[Path]:
    """Every file, links included, in an order of its own; what a Mac leaves beside them is passed over."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != MAC)
        yield from (Path(root) / name for name in sorted(names) if not name.startswith("."))


def without_copies(planes: list[Plane]) -> tuple[list[Plane], int]:
    """The planes without those of files that are copies of others, and the number of such files.

    A copy has the same UID, place and pixels; headers may differ in a date of export.
    """
    kept: dict[tuple[object, ...], Plane] = {}
    others: list[tuple[Plane, Plane]] = []
    for one in planes:
        key = (one.owner, one.series, one.instance, one.frame) if one.instance else (one.file, one.frame)
        first = kept.setdefault(key, one)
        if first is not one and (first.position, first.marks) == (one.position, one.marks):
            others.append((first, one))
    copies = {one.file for first, one in others if first.file != one.file and _pixels(first) == _pixels(one)}
    return [one for one in planes if one.file not in copies], len(copies)


def _pixels(plane: Plane) -> bytes:
    """A digest of a file from its pixels on."""
    digest = hashlib.sha256()
    with plane.file.open("rb") as stream:
        stream.seek(plane.pixels_at)
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.digest()


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def choose(found: Found, folder: Path, wanted: str | None) -> tuple[Part, Stack, tuple[str, ...]]:
    """The part that `wanted` names, or the largest that is a volume; with notes for the user.

    Raises `UnreadableFile`: no images, none of that name, no volume among them, or a volume with a fault. A faulty
    volume is not passed over for a smaller one.
    """
    if not found.parts:
        for one in found.broken:
            raise UnreadableFile(f"{one.file.name} is cut off. Export or copy the series again.")
        raise UnreadableFile(f"{folder} holds no DICOM images; give the folder of a CT, MR or PET series.")
    titles = "; ".join(one.title for one in found.parts)
    chosen = kept(found, wanted)
    if not chosen:
        raise UnreadableFile(f"{folder} holds no series '{wanted}'. It holds: {titles}.")
    refusal: UnreadableFile | None = None
    for part in chosen:
        try:
            found.check_broken(part)
            stack = stacked(part)
        except NoVolume as error:
            refusal = refusal or error
            continue
        except UnreadableFile as error:
            raise UnreadableFile(f"{error}{_others(found, part)}") from error
        return part, stack, (*_said(found, part, wanted), *found.notes)
    raise UnreadableFile(f"{refusal}{_others(found, chosen[0])}")


def kept(found: Found, wanted: str | None) -> list[Part]:
    """The parts that `wanted` names; all where it is None."""
    return list(found.parts) if wanted is None else named(found.parts, wanted)


def _others(found: Found, part: Part) -> str:
    others = "; ".join(one.title for one in found.parts if one is not part)
    return f" Also in the folder, and read where --series names it: {others}." if others else ""


def _said(found: Found, part: Part, wanted: str | None) -> tuple[str, ...]:
    others = "; ".join(one.title for one in found.parts if one is not part)
    reason = "the largest volume" if wanted is None else "as named"
    return (f"Read {part.title}, {reason}. Also in the folder: {others}.",) if others else ()

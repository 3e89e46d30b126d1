"""One door for every data set: which layout lies on disk, why, and its cases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from memseg3d.datasets.description import DataSet, Split
from memseg3d.datasets.errors import AmbiguousLayout, UnknownLayout
from memseg3d.datasets.layouts import LAYOUTS, Recognition, Sure
from memseg3d.datasets.layouts.folders import read_pairs
from memseg3d.datasets.listing.pairs import Pair
from memseg3d.datasets.paths import files, folders
from memseg3d.datasets.record import Record, read_record

ALIASES = {"nii2video": "video", "kits": "kits19", "brats": "brats2020", "flare": "flare22", "amos22": "amos"}


def open_data(
    path: str | Path, layout: str | None = None, images: Path | None = None, labels: Path | None = None
) -> DataSet:
    """List the cases under `path`; no voxel is read.

    layout: read it as this one whatever is recognised. images, labels: two folders (below path or elsewhere) to be read
    as a folder of images and a folder of labels. Raises `UnknownLayout`, `AmbiguousLayout`, or `DataSetError` where a
    file that describes the set is damaged.
    """
    root = Path(path)
    if not root.is_dir():
        raise UnknownLayout(f"{root} is no folder; give the folder of a data set.")
    try:
        if images is not None or labels is not None:
            return _named_folders(root, images, labels)
        record = read_record(root)
        if record is not None and record.layout in LAYOUTS and layout is None:
            return _recorded(root, record)
        name, found = _named(root, layout) if layout else _recognised(root)
        data = LAYOUTS[name].read(found.root, record)
    except OSError as error:
        raise UnknownLayout(
            f"{error.filename or root} cannot be listed ({error.strerror}); check your rights."
        ) from error
    if layout and not data.cases and not data.faults:
        raise UnknownLayout(f"{root} is not laid out as {name}, which expects {LAYOUTS[name].expects}.")
    return replace(data, why=found.why)


def layout_name(words: str) -> str:
    """The name of a layout from the words of a command line. Raises `UnknownLayout`."""
    name = words.lower().replace("_", "-")
    name = ALIASES.get(name, name)
    if name not in LAYOUTS:
        raise UnknownLayout(f"There is no layout {words}; there are {', '.join(LAYOUTS)}.")
    return name


def _named(root: Path, words: str) -> tuple[str, Recognition]:
    """The layout that was asked for, where it is recognised in root or in a folder of it; else tried on root."""
    name = layout_name(words)
    places = (root, *folders(root).values())
    found = next(filter(None, (LAYOUTS[name].recognise(place) for place in places)), None)
    return name, Recognition(found.root if found else root, f"--layout {words}", Sure.NAMED)


def _recorded(root: Path, record: Record) -> DataSet:
    """A set that this program wrote. Of an unfinished one only the finished cases."""
    data = LAYOUTS[record.layout].read(root, record)
    notes = data.notes
    cases = data.cases
    if not record.is_complete:
        cases = tuple(case for case in cases if case.name in record.cases)
        notes = (*notes, "The conversion that wrote this set was not finished: run its command again, it goes on.")
    return replace(data, why="memseg3d-dataset.json says so", cases=cases, notes=notes)


def _recognised(root: Path) -> tuple[str, Recognition]:
    """The layout of root, or of the one folder in it that has one."""
    found = _strongest(root)
    if not found:
        below = {name: each for name, path in folders(root).items() if (each := _strongest(path))}
        if len(below) > 1:
            shown = ", ".join(f"{name} ({', '.join(each)})" for name, each in below.items())
            raise AmbiguousLayout(f"{root} holds several data sets: {shown}. Give one of these folders.")
        found = next(iter(below.values()), {})
    if not found:
        known = "\n".join(f"  {name}: {layout.expects}" for name, layout in LAYOUTS.items())
        raise UnknownLayout(f"{root} is laid out like no data set that is known:\n{known}\nName one by --layout.")
    if len(found) > 1:
        shown = "; ".join(f"{name}, for {each.why}" for name, each in found.items())
        raise AmbiguousLayout(f"{root} can be read in several ways: {shown}. Choose one by --layout.")
    return next(iter(found.items()))


def _strongest(root: Path) -> dict[str, Recognition]:
    """The recognitions of the highest rank, by layout."""
    every = {name: found for name, layout in LAYOUTS.items() if (found := layout.recognise(root))}
    best = max((found.sure for found in every.values()), default=0)
    return {name: found for name, found in every.items() if found.sure == best}


def _named_folders(root: Path, images: Path | None, labels: Path | None) -> DataSet:
    if images is None or labels is None:
        raise UnknownLayout("Name both folders, --images and --labels.")
    pair = [folder if folder.is_absolute() or folder.is_dir() else root / folder for folder in (images, labels)]
    for folder in pair:
        if not files(folder):
            raise UnknownLayout(f"{folder} holds no volumes (NIfTI, NRRD, MetaImage); check the path.")
    data = read_pairs(root, [Pair(pair[0], pair[1], Split.UNKNOWN)], None)
    return replace(data, why="--images and --labels")

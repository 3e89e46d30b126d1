"""The cases of a queue: volume files and DICOM series of a folder, named by the user's own file and folder names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.base.output_files import unique_names

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
NO_VOLUMES = (".seg.nrrd", ".label.nrrd")
MAC = "__MACOSX"


@dataclass(frozen=True)
class Case:
    """One volume to annotate. name: unique, safe as a file name, and made of nothing but the user's own names.

    files: one volume file, or the slices of one DICOM series. problem: why it cannot be opened, or None. part: which of
    the volumes that the files hold as frames; empty where they hold one.
    """

    name: str
    files: tuple[Path, ...]
    is_dicom: bool = False
    problem: str | None = None
    part: str = ""


def find_cases(
    folder: Path,
    pattern: str = "*",
    leave_out: Path | None = None,
    on_folder: Callable[[Path], None] | None = None,
) -> list[Case]:
    """Volumes in `folder` and below, by name. DICOM files of one sub-folder are one study, each series a case.

    pattern: file names to take, such as "*_ct.nii.gz"; DICOM files count whatever they are called. leave_out: a folder
    to pass over, such as the output's. on_folder is called with each study before it is read; what it raises ends the
    search. For any thread: headers of many files may be read. Raises SceneError where nothing is found.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SceneError(f"There is no folder {folder}: choose the one that holds the cases.")
    found: list[Case] = []
    for entry in sorted(folder.iterdir(), key=lambda path: path.name.lower()):
        if leave_out is not None and entry.resolve() == Path(leave_out).resolve():
            continue
        if on_folder is not None:
            on_folder(entry)
        found.extend(_of_entry(entry, folder, pattern))
    loose = [path for path in folder.iterdir() if path.is_file() and _may_be_dicom(path)]
    found.extend(_series_of(loose, folder.name))
    if not found:
        raise SceneError(
            f"{folder.name} holds no volume: choose a folder with NIfTI, NRRD or MetaImage files, or DICOM studies."
        )
    names = unique_names([case.name for case in found], "case")
    return [replace(one, name=name) for name, one in zip(names, found, strict=True)]


def _of_entry(entry: Path, folder: Path, pattern: str) -> Iterator[Case]:
    files = [entry] if entry.is_file() else sorted(path for path in entry.rglob("*") if path.is_file())
    for path in files:
        if _is_volume(path) and path.match(pattern):
            relative = path.relative_to(folder)
            yield Case("_".join([*relative.parts[:-1], _without_suffix(path.name)]), (path,))
    if entry.is_dir():
        yield from _series_of([path for path in files if _may_be_dicom(path)], entry.name)


def _is_volume(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith(VOLUME_SUFFIXES) and not name.endswith(NO_VOLUMES) and not name.startswith(".")


def _without_suffix(name: str) -> str:
    suffix = next(one for one in VOLUME_SUFFIXES if name.lower().endswith(one))
    return name[: -len(suffix)]


def _may_be_dicom(path: Path) -> bool:
    """Files of any name: what is no DICOM is passed over by its first bytes. Names that a Mac or a system hides are not
    the user's.
    """
    return not path.name.startswith(".") and not _is_volume(path) and MAC not in path.parts


def _series_of(files: list[Path], study: str) -> Iterator[Case]:
    """One case a volume, in the order of the series' numbers; named by the folder, never by what the headers say.

    What was never meant to be a volume (screenshots, localizers) is a case only where the study holds nothing else.
    """
    if not files:
        return
    # Here and not above: the DICOM library takes long to load, and many queues have none.
    from MemSeg3DLib.export.dicom.sources.errors import DicomSourceError, NoVolume
    from MemSeg3DLib.export.dicom.sources.folder import in_order, scan_files
    from MemSeg3DLib.export.dicom.sources.stack import stacked

    found = scan_files(files)
    cases: list[Case] = []
    others: list[Case] = []
    for part in in_order(found.parts):
        paths = tuple(dict.fromkeys(plane.file for plane in part.planes))
        # Frames of one file may belong to several volumes: then the files alone do not say which.
        label = part.label if part.planes[0].frame is not None else ""
        try:
            found.check_broken(part)
            stack = stacked(part)
        except NoVolume as error:
            others.append(Case(study, paths, True, str(error), label))
        except DicomSourceError as error:
            cases.append(Case(study, paths, True, str(error), label))
        else:
            ordered = tuple(dict.fromkeys(plane.file for plane in stack.planes))
            cases.append(Case(study, ordered, True, None, label))
    if not found.parts and found.broken:
        first = found.broken[0].file
        cases.append(Case(study, (first,), True, f"{first.name} is cut off. Export or copy the series again."))
    cases = cases or others
    for number, case in enumerate(cases, 1):
        yield replace(case, name=study if len(cases) == 1 else f"{study}_series{number}")

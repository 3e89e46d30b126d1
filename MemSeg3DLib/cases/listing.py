"""The cases of a queue: volume files and DICOM series of a folder, named by the user's own file and folder names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.base.output_files import unique_names

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
NO_VOLUMES = (".seg.nrrd", ".label.nrrd")


@dataclass(frozen=True)
class Case:
    """One volume to annotate. name: unique, safe as a file name, and made of nothing but the user's own names.

    files: one volume file, or the slices of one DICOM series. problem: why it cannot be opened, or None.
    """

    name: str
    files: tuple[Path, ...]
    is_dicom: bool = False
    problem: str | None = None


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
    return [Case(name, one.files, one.is_dicom, one.problem) for name, one in zip(names, found, strict=True)]


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
    """Files of any name with DICOM's mark; other files are not worth reading."""
    if path.name.startswith(".") or _is_volume(path):
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _series_of(files: list[Path], study: str) -> Iterator[Case]:
    """One case a series, in the order of their numbers; named by the folder, never by what the headers say."""
    if not files:
        return
    # Here and not above: the DICOM library takes long to load, and many queues have none.
    from MemSeg3DLib.export.dicom.series import DicomSourceError, group_series, verify_series

    series = group_series(files)
    for number, slices in enumerate(series, 1):
        name = study if len(series) == 1 else f"{study}_series{number}"
        try:
            verified = verify_series(slices)
        except DicomSourceError as error:
            yield Case(name, tuple(Path(str(one.filename)) for one in slices), True, str(error))
        else:
            yield Case(name, tuple(Path(str(one.filename)) for one in verified.datasets), True)

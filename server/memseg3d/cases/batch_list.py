"""The cases of a batch: rows of a CSV file, or the volumes of a folder, each with its prompts and a name of its own."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from memseg3d.cases.errors import CaseError

FILES = ("prompts", "mask")
"""Columns that name files, and options of which a folder's are made by name."""
TEXTS = ("box", "point", "scribble", "lasso", "extreme")
"""Columns as the options of `segment` are written."""
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".npz")
NAME = "{name}"
OWN = ("report.csv", "report.new")
"""What lies beside the cases' folders."""
_SEPARATOR = "|"
_MARK = re.compile(r"\{[^{}]*\}")
_ODD = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


@dataclass(frozen=True)
class BatchCase:
    """One volume with what is prompted on it. texts: by option of `segment`, files as whole paths."""

    name: str
    image: Path
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def cases_of(source: Path, options: Mapping[str, Iterable[str]]) -> list[BatchCase]:
    """The cases in order, with what is given for all of them. Raises `CaseError` where the list itself is wrong.

    options: by option of `segment`; `{name}` in those that name files stands for the case's name, and a path that is
    not whole is taken from the list's own folder.
    """
    folder = source if source.is_dir() else source.parent
    for option in FILES:
        for text in options.get(option, ()):
            _check_file(text, folder, f"--{option}")
    try:
        found = _of_folder(source) if source.is_dir() else _of_table(source)
    except OSError as error:
        raise CaseError(f"{source} cannot be read ({error.strerror}).", "CASES") from error
    if not found:
        what = f"no volume ({', '.join(SUFFIXES)}, or a folder of DICOM files)" if source.is_dir() else "no row"
        raise CaseError(f"{source} holds {what}.", "CASES")
    names = [case.name.casefold() for case in found]
    twice = sorted({case.name for case in found if names.count(case.name.casefold()) > 1})
    if twice:
        raise CaseError(
            f"Two cases are called {', '.join(twice[:5])}, and their results would lie in one folder: give them names "
            "in a column `name` of a CSV file.",
            "CASES",
        )
    taken = [case.name for case in found if case.name.casefold() in OWN]
    if taken:
        raise CaseError(f"A case cannot be called {taken[0]}, as a file of the batch is: rename it.", "CASES")
    nameless = [case.image for case in found if not case.name.strip(" .")]
    if nameless:
        raise CaseError(f"{nameless[0]} gives its case no name: give it one in a column `name` of a CSV file.", "CASES")
    return [_with(case, options, folder) for case in found]


def _of_folder(folder: Path) -> list[BatchCase]:
    """Volume files and folders of files that lie in the folder itself."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if any(each.is_file() for each in path.iterdir()):
                found.append(BatchCase(path.name, path))
        elif path.name.lower().endswith(SUFFIXES):
            found.append(BatchCase(_stem(path), path))
    return found


def _of_table(file: Path) -> list[BatchCase]:
    lines = [(line, row) for line, row in _lines(file) if any(cell.strip() for cell in row)]
    if not lines:
        return []
    columns = [cell.strip().casefold() for cell in lines[0][1]]
    known = {"image", "name", *FILES, *TEXTS}
    if "image" not in columns or set(columns) - known or len(set(columns)) < len(columns):
        raise CaseError(
            f"{file} has the columns {', '.join(columns)}: it needs `image`, and may have "
            f"{', '.join(sorted(known - {'image'}))}, each once.",
            "CASES",
        )
    found = []
    for line, row in lines[1:]:
        if len(row) > len(columns):
            raise CaseError(f'{file}, line {line}: more cells than columns; put what holds commas in "".', "CASES")
        found.append(_of_row(dict(zip(columns, row, strict=False)), file, line))
    return found


def _lines(file: Path) -> list[tuple[int, list[str]]]:
    """The rows with their numbers, separated by what the first one has most of: spreadsheets write ; and tabs too."""
    if file.is_char_device() or file.is_block_device():
        # It could be read without end.
        raise CaseError(f"{file} is no file: name a CSV file or a folder.", "CASES")
    try:
        text = file.read_text(encoding="utf-8-sig")
        first = next((line for line in text.splitlines() if line.strip()), "")
        separator = max(",;\t", key=first.count)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        return [(rows.line_num, row) for row in rows]
    except UnicodeDecodeError as error:
        raise CaseError(f"{file} is no text in UTF-8: save it as CSV in UTF-8.", "CASES") from error
    except csv.Error as error:
        raise CaseError(f"{file} is no CSV file ({error}).", "CASES") from error


def _of_row(row: Mapping[str, str], file: Path, line: int) -> BatchCase:
    image = (row.get("image") or "").strip()
    if not image:
        raise CaseError(f"{file}, line {line}: there is no image.", "CASES")
    path = file.parent / image
    name = _ODD.sub("_", (row.get("name") or "").strip()) or _stem(path)
    texts = {}
    for column in (*FILES, *TEXTS):
        each = tuple(part.strip() for part in (row.get(column) or "").split(_SEPARATOR) if part.strip())
        if each:
            texts[column] = each
    return BatchCase(name, path, texts)


def _with(case: BatchCase, options: Mapping[str, Iterable[str]], folder: Path) -> BatchCase:
    """The case with what is given for all, and its files as whole paths."""
    texts: dict[str, tuple[str, ...]] = {}
    for option in (*FILES, *TEXTS):
        own = (*case.texts.get(option, ()), *options.get(option, ()))
        if option in FILES:
            for text in case.texts.get(option, ()):
                _check_marks(text, folder, "CASES")
            own = tuple(_placed(text.replace(NAME, case.name), folder) for text in own)
        if own:
            texts[option] = own
    return BatchCase(case.name, case.image, texts)


def _check_marks(text: str, folder: Path, option: str) -> None:
    """Raise `CaseError` where something else than {name} stands for a case."""
    odd = [mark for mark in _MARK.findall(text) if mark != NAME]
    if odd and not (folder / text).exists():
        raise CaseError(f"{text}: {odd[0]} stands for nothing; write {NAME} for the case's name.", option)


def _check_file(text: str, folder: Path, option: str) -> None:
    """What is wrong with a file that all cases have, told once instead of for each."""
    _check_marks(text, folder, option)
    placed = _placed(text, folder)
    whole, _, file = placed.partition("=")
    if NAME not in text and not any(Path(each).exists() for each in (placed, file or whole)):
        raise CaseError(
            f"{placed} does not exist; check the path, or write {NAME} in it where each case has its own.", option
        )


def _placed(text: str, folder: Path) -> str:
    """FILE or NAME=FILE with the file taken from `folder`; one whose own name holds "=" as `prompt_files` has it."""
    name, equals, file = text.partition("=")
    return f"{name}={folder / file}" if equals and not (folder / text).exists() else str(folder / text)


def _stem(path: Path) -> str:
    return next((path.name[: -len(end)] for end in SUFFIXES if path.name.lower().endswith(end)), path.name)

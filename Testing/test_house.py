"""Rules of the house that a machine can check: first-line docstrings, short files, no machine paths."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from Testing.house.figures import crowded
from Testing.house.file_table import file_table
from Testing.house.picture import picture
from Testing.house.rooms import LIBRARY, PROPAGATION, House

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["MemSeg3D", "MemSeg3DLib", "MemSeg3DWeb", "Resources", "Testing", "demo", "server"]
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".ui", ".cmake", ".yml", ".yaml"}
LONGEST = 500
# Absolute paths of somebody's machine; public ones such as /usr/bin or /tmp in prose are not meant.
MACHINE_PATH = re.compile(r"(?<![\w.])(/work/|/home/\w+/|/Users/\w+/|/root/|[A-Z]:\\Users\\)")


def files_of_ours(suffixes: set[str]) -> list[Path]:
    """Every file of the repository with one of these suffixes, without environments, caches and outputs."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in [*FOLDERS, "docs", "requirements", ".ci"]:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(path for path in found if path.suffix in suffixes or path.name in {"Makefile", "run"})


PYTHON = [path for path in files_of_ours({".py"}) if path.suffix == ".py"]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parsed(file: Path) -> tuple[str, ast.Module]:
    """Text and tree of a file, read once for all rules."""
    text = file.read_text(encoding="utf-8")
    return text, ast.parse(text)


def test_every_file_says_first_what_it_is_for() -> None:
    wrong = []
    for file in PYTHON:
        text, tree = parsed(file)
        if not (text.startswith('"""') and ast.get_docstring(tree)):
            wrong.append(named(file))
    assert wrong == [], "the first line must be a docstring that says what the file is for"


def test_every_file_is_short() -> None:
    lines = {named(file): len(parsed(file)[0].splitlines()) for file in PYTHON}
    assert {file: count for file, count in lines.items() if count > LONGEST} == {}, "split it by reason to change"


def test_no_file_names_a_machine_path() -> None:
    this_file = Path(__file__).resolve()
    wrong = [
        f"{named(file)}:{number}: {line.strip()[:80]}"
        for file in files_of_ours(TEXT)
        if file != this_file
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert wrong == []


def test_no_broad_except_hides_errors() -> None:
    wrong = [
        f"{named(file)}:{node.lineno}"
        for file in PYTHON
        for node in ast.walk(parsed(file)[1])
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert wrong == []


@pytest.mark.parametrize("house", [LIBRARY, PROPAGATION], ids=lambda house: house.name)
def test_no_room_is_crowded(house: House) -> None:
    assert crowded(house) == []


def test_the_page_of_files_is_up_to_date() -> None:
    made = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    assert made == file_table(), "run `make house`"


def test_the_picture_of_the_house_is_up_to_date() -> None:
    drawn = (ROOT / "docs" / "images" / "house.svg").read_text(encoding="utf-8")
    assert drawn == picture(), "run `make house`"


def test_everything_that_moved_lies_where_the_page_says() -> None:
    rows = re.findall(
        r"^\| `([\w./]+\.py)` \| `([\w./]+\.py)` \|", (ROOT / "docs" / "moved.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) > 150
    assert [new for _, new in rows if not (ROOT / new).exists()] == []


LINK = re.compile(r"\]\(([^)#\s]+)\)")


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []

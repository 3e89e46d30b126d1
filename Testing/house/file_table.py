"""docs/files.md: one row a file of the product, made from the first sentences of the files themselves."""

from __future__ import annotations

import ast
from pathlib import Path

from Testing.house.imports import ROOT, python_files

FOLDERS = ("MemSeg3D", "MemSeg3DLib", "MemSeg3DWeb", "server/memseg3d", "demo")
_HEAD = """# Every file and what it is for

Made by `make house` from the first lines of the files; a test checks that it is up to date.
[architecture.md](architecture.md) tells how they hang together,
[moved.md](moved.md) where files of earlier versions are now.
"""


def first_words(file: Path) -> str:
    """The first paragraph of a file's docstring on one line, without its full stop."""
    told = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(told.split("\n\n")[0].split()).removesuffix(".").replace("|", "\\|")


def file_table(root: Path = ROOT) -> str:
    """The page as Markdown: a table for each folder, in the order of the tree."""
    lines = [_HEAD]
    for top in FOLDERS:
        files = python_files(root / top)
        for folder in sorted({file.parent for file in files}):
            own = [file for file in files if file.parent == folder]
            package = next((file for file in own if file.name == "__init__.py"), None)
            lines.append(f"## `{folder.relative_to(root).as_posix()}/`\n")
            if package is not None:
                lines.append(first_words(package) + ".\n")
            rows = [f"| `{file.name}` | {first_words(file)} |" for file in own if file != package]
            lines += ["| file | what it is for |", "|---|---|", *rows, ""] if rows else []
    return "\n".join(lines)

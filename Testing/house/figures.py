"""The house in figures: files a folder, the longest file, imports that run up, circles, storeys."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from Testing.house.imports import ROOT, circles, module_graph, python_files, storeys
from Testing.house.rooms import HOUSES, House

MOST_FILES, MOST_LINES = 14, 300
"""What a folder and a file of MemSeg3DLib and of propagation may hold."""


def lines_of(file: Path) -> int:
    """Lines of a text file."""
    return len(file.read_text(encoding="utf-8").splitlines())


def crowded(house: House, root: Path = ROOT) -> list[str]:
    """Folders with too many files and files with too many lines, in words."""
    files = python_files(house.path(root))
    folders = Counter(file.parent for file in files)
    full = [(folder, f"{count} files") for folder, count in folders.items() if count > MOST_FILES]
    long = [(file, f"{lines_of(file)} lines") for file in files if lines_of(file) > MOST_LINES]
    return sorted(f"{path.relative_to(root).as_posix()}: {words}" for path, words in full + long)


def product_circles(root: Path = ROOT) -> list[list[str]]:
    """Groups of files of the product that import one another, at any place in them."""
    graph: dict[str, set[str]] = {}
    for folder, above in (("memseg3d", "server"), ("MemSeg3DLib", "."), ("demo", ".")):
        graph |= module_graph(root / above / folder, root / above)
    return circles(graph)


def table(root: Path = ROOT) -> str:
    """One row a package, as Markdown. A tree without the rooms of today shows its files and circles all the same."""
    heads = ["package", "files", "folders", "most files in one", "longest file", "imports up", "circles", "storeys"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for house in HOUSES:
        files = python_files(house.path(root))
        folders = Counter(file.parent for file in files)
        longest = max(files, key=lines_of)
        graph: dict[str, set[str]] = {}
        for own, used, _ in house.arrows(root):
            graph.setdefault(own, set()).add(used)
        length = f"{lines_of(longest)} ({longest.name})"
        height = storeys(module_graph(house.path(root), root / house.above))
        rows.append(
            f"| {house.name} | {len(files)} | {len(folders)} | {max(folders.values())} | {length} | "
            f"{_upward(house, root)} | {sum(map(len, circles(graph)))} | {height} |"
        )
    rows.append("")
    rows.append(f"Circles of files in the whole product: {len(product_circles(root))}.")
    return "\n".join(rows)


def _upward(house: House, root: Path) -> str:
    """How many imports run up; a dash where there are no rooms yet that they could run between."""
    has_rooms = any(room and (house.path(root) / room).is_dir() for room in house.rooms)
    return str(len(house.wrong_arrows(root))) if has_rooms else "–"

"""Reads what every Python file of the repository imports, from its text: nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Import:
    """One import. file, line: where it stands; name: absolute dotted name of what is imported."""

    file: Path
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.file.as_posix()}:{self.line} imports {self.name}"


def imported_names(file: Path, package: str) -> tuple[tuple[int, str], ...]:
    """Line and absolute dotted name of everything that `file` imports; `package` resolves its relative imports."""
    return _imported_names(file, package, file.stat().st_mtime_ns)


@cache
def _imported_names(file: Path, package: str, stamp: int) -> tuple[tuple[int, str], ...]:
    """As above; every table asks anew for every file. stamp: changes with the file."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), filename=str(file))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            # `from memseg3d import files` names a folder in the second half, so both halves count.
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return tuple(found)


def imports_under(folder: Path, above: Path) -> Iterator[Import]:
    """Every import under `folder`; files and packages are named as seen from the folder `above`."""
    for file in sorted(folder.rglob("*.py")):
        package = ".".join(file.parent.relative_to(above).parts)
        for line, name in imported_names(file, package):
            yield Import(file.relative_to(above), line, name)


def python_files(folder: Path) -> list[Path]:
    """The Python files under a folder, sorted, without caches."""
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def module_of(file: Path) -> str:
    """Dotted name of a file that is named as seen from the folder above its package."""
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def module_graph(folder: Path, above: Path) -> dict[str, set[str]]:
    """Which modules under `folder` each module under it imports, by dotted names."""
    graph: dict[str, set[str]] = {module_of(file.relative_to(above)): set() for file in python_files(folder)}
    for each in imports_under(folder, above):
        name = each.name
        while name and name not in graph:
            name = name.rpartition(".")[0]
        own = module_of(each.file)
        if name and name != own:
            graph[own].add(name)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of two and more nodes that can all reach one another (Tarjan 1972), sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = []
            while not group or group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found)


def storeys(graph: dict[str, set[str]]) -> int:
    """Nodes on the longest way along the arrows of a graph without circles; those of a circle count as one."""
    group_of = {node: group[0] for group in circles(graph) for node in group}
    height: dict[str, int] = {}

    def climb(node: str) -> int:
        node = group_of.get(node, node)
        if node not in height:
            height[node] = 1
            members = [each for each in graph if group_of.get(each, each) == node]
            below = {group_of.get(other, other) for each in members for other in graph[each]} - {node}
            height[node] = 1 + max((climb(each) for each in below), default=0)
        return height[node]

    return max((climb(node) for node in graph), default=0)

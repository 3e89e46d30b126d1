"""The table of pains in docs/results.md: every pain has its row, and every test that a row names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEADING = "## The fifteen pains of peers, and the tests that show they cannot happen here"
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> dict[int, str]:
    """Rows of the table by the number of their pain."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert HEADING in text
    section = text.split(HEADING)[1].split("\n## ")[0]
    return {int(row.group(1)): row.group(0) for row in re.finditer(r"^\| (\d+) .*\|$", section, re.MULTILINE)}


def test_every_pain_has_its_row() -> None:
    assert sorted(rows()) == list(range(1, 16))


@pytest.mark.parametrize("number", range(1, 16))
def test_the_tests_of_a_row_are_there(number: int) -> None:
    named = NAMED.findall(rows()[number])
    assert named, "a row without a test shows nothing"
    for file, test in named:
        tree = ast.parse((ROOT / "Testing" / file).read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert test in defined, f"{file} has no {test}"

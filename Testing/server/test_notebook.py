"""docs/segment.ipynb runs from its first cell to its last with the embedded model, and finds the ball in it."""

from __future__ import annotations

from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "segment.ipynb"


def test_the_notebook_of_the_docs_runs(tmp_path: Path) -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in book.cells), "outputs are not kept in the repository"
    client = nbclient.NotebookClient(
        book, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    cells = {cell["id"]: cell for cell in book.cells}
    assert "image/png" in cells["box"]["outputs"][0]["data"]
    dice = float(cells["look"]["outputs"][0]["text"].split("Dice ")[1].split()[0])
    assert dice > 0.8
    assert "'p1'" in cells["undo"]["outputs"][-1]["data"]["text/plain"]
    assert "session.json" in cells["save"]["outputs"][0]["text"]

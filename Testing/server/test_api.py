"""The Python API on arrays and files: prompts, undo, masks, pictures, sentences; `import memseg3d` stays quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import memseg3d

SPACING = (2.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def voxels() -> np.ndarray:
    found = np.random.default_rng(0).normal(0, 20, (10, 24, 20))
    found[3:7, 8:16, 6:14] += 500
    return found.astype(np.int16)


@pytest.fixture
def case(voxels: np.ndarray, a_model: Path) -> Any:
    """An open case of the array."""
    with memseg3d.open(voxels, SPACING, model=str(a_model), device="cpu", precision="fp32") as opened:
        yield opened


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, memseg3d; print([m for m in ('torch', 'numpy', 'SimpleITK') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_rounds_are_made_undone_and_removed(case: Any) -> None:
    case.box("block", (5, 8, 6), (5, 15, 13))
    first = case.mask
    assert first.any()
    assert set(case.quality["block"]) == set(np.flatnonzero(first.any(axis=(1, 2))))
    case.click("block", (4, 12, 10), positive=False)
    second = case.mask
    assert not np.array_equal(first, second)
    assert [each["id"] for each in case.history] == ["p1", "p2"]
    assert np.array_equal(case.undo().mask, first)
    assert np.array_equal(case.redo().mask, second)
    assert [each["id"] for each in case.remove("p2").history] == ["p1"]
    case.stroke("line", [(5, 2, 2), (5, 2, 8)], width=2)
    assert case.names == ["block", "line"]
    with pytest.raises(memseg3d.CaseError, match="take masks"):
        _ = case.mask


def test_what_cannot_be_done_is_told_and_changes_nothing(case: Any) -> None:
    with pytest.raises(memseg3d.CaseError, match="k, j, i from 0, 0, 0 to 9, 23, 19"):
        case.box("block", (5, 8, 6), (5, 15, 40))
    with pytest.raises(memseg3d.CaseError, match="negative points only"):
        case.click("block", (5, 8, 6), positive=False)
    with pytest.raises(memseg3d.CaseError, match="no round to undo"):
        case.undo()
    with pytest.raises(memseg3d.CaseError, match="There is no segment yet"):
        _ = case.mask
    with pytest.raises(memseg3d.CaseError, match="it has no points"):
        case.stroke("block", [])
    with pytest.raises(memseg3d.CaseError, match="it has no points"):
        case.extreme_points("block", [])
    assert case.names == []
    case.box("block", (5, 8, 6), (5, 15, 13))
    assert set(np.unique(case.labels)) == {0, 1}, "a name whose round failed has no number"
    with pytest.raises(memseg3d.CaseError, match="needs its spacing"):
        memseg3d.open(np.zeros((3, 3, 3)))
    with pytest.raises(memseg3d.CaseError, match="another library's image"):
        memseg3d.open(sitk.Image(3, 3, 3, sitk.sitkInt16))  # type: ignore[arg-type]
    hidden = np.ma.masked_less(np.arange(27.0).reshape(3, 3, 3), 5)
    with pytest.raises(memseg3d.CaseError, match="fill them first"):
        memseg3d.open(hidden, (1.0, 1.0, 1.0))
    with pytest.raises(memseg3d.CaseError, match="does not exist"):
        memseg3d.open("nothing.nii.gz")
    with pytest.raises(memseg3d.CaseError, match="no worker at"):
        memseg3d.connect("http://127.0.0.1:9")


def test_arrays_as_numpy_makes_them_are_volumes(voxels: np.ndarray, a_model: Path) -> None:
    for array in (voxels.astype(np.int64), voxels.tolist()):
        with memseg3d.open(array, np.array(SPACING), model=str(a_model), device="cpu") as opened:
            assert opened.voxels.dtype == np.int16
            assert np.array_equal(opened.voxels, voxels)
            assert opened.spacing == SPACING


def test_drawn_and_painted_prompts_are_one_round_and_odd_ones_a_sentence(case: Any) -> None:
    mask = np.zeros((24, 20), bool)
    mask[8:16, 6:14] = True
    painted = {"name": "block", "type": "mask", "index": 5, "mask": mask}
    point = {"name": "block", "type": "point", "position": [4, 12, 10]}
    case.prompts([painted, {**painted, "index": 3}, point])
    assert len(case.history) == 3
    assert np.array_equal(case.mask[5], mask)
    case.undo()
    assert case.history == []
    for odd, said in (
        ([{**point, "position": [1, 2]}], "Prompt 1 is damaged"),
        ([point, {"name": "block"}], "Prompt 2 has the type None"),
        ([{"type": "box"}], "no name"),
        (["block"], "Prompt 1"),
        ([{**painted, "index": 0.5}], "its index"),
        ([{**painted, "name": 3}], "named by a text"),
        ([{**point, "positiv": False}], "Prompt 1 tells 'positiv'"),
        (5, "Prompts are a list"),
    ):
        with pytest.raises(memseg3d.CaseError, match=said):
            case.prompts(odd)
    with pytest.raises(memseg3d.CaseError, match="three numbers"):
        case.click("block", (1, 2))
    with pytest.raises(memseg3d.CaseError, match="True or False"):
        case.click("block", (1, 2, 3), positive="no")
    assert case.names == []


def test_a_case_is_saved_and_shown(case: Any, tmp_path: Path) -> None:
    case.prompts([{"name": "block", "type": "box", "lower": [5, 8, 6], "upper": [5, 15, 13]}])
    written = case.save(tmp_path / "out")
    assert {path.name for path in written.paths} == {
        "overview.png",
        "segmentation.json",
        "segmentation.nii.gz",
        "session.json",
    }
    assert json.loads((tmp_path / "out" / "session.json").read_text(encoding="utf-8"))["image"]["path"] is None
    with pytest.raises(memseg3d.CaseError, match="overwrite=True"):
        case.save(tmp_path / "out")
    assert case._repr_png_().startswith(b"\x89PNG")
    assert "10 x 24 x 20" in repr(case)
    widgets = pytest.importorskip("ipywidgets")
    shown = case.show()
    picture, slider = shown.children
    before = picture.value
    slider.value = 0
    assert isinstance(shown, widgets.VBox)
    assert picture.value != before, "another slice is shown"


@pytest.mark.parametrize(
    ("before", "given", "then"),
    [("import sys", None, "passive"), ("import sys", "active", "active"), ("import torch", None, "None")],
)
def test_threads_of_torch_do_not_spin_unless_the_user_says_so(before: str, given: str | None, then: str) -> None:
    code = f"{before}\nimport os, memseg3d\nprint(os.environ.get('OMP_WAIT_POLICY'))"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if given is not None:
        environment["OMP_WAIT_POLICY"] = given
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == then

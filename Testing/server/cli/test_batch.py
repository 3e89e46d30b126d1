"""`memseg3d batch`: every case has its result or its reason, a stopped run goes on, and what changed is done anew."""

from __future__ import annotations

import csv
import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_model import write_tiny_model
from typer.testing import CliRunner

from memseg3d.cases.batch_list import cases_of
from memseg3d.cli.main import app


@pytest.fixture(scope="module")
def a_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "random.safetensors")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two good volumes with a label file each, one that is cut off, one whose label file lies on another grid."""
    folder = tmp_path / "scans"
    (folder / "labels").mkdir(parents=True)
    for number, name in enumerate(("one", "two", "cut", "odd")):
        k, j, i = (np.linspace(-1, 1, size) for size in (10, 24, 24))
        ball = k[:, None, None] ** 2 + j[None, :, None] ** 2 + i[None, None, :] ** 2 < 0.4
        noise = np.random.default_rng(number).normal(0, 20, ball.shape)
        sitk.WriteImage(sitk.GetImageFromArray((300 * ball + noise).astype(np.int16)), str(folder / f"{name}.nii.gz"))
        label = np.zeros(ball.shape if name != "odd" else (3, 5, 5), np.uint8)
        label[len(label) // 2] = ball[5] if name != "odd" else 1
        sitk.WriteImage(sitk.GetImageFromArray(label), str(folder / "labels" / f"{name}.nii.gz"))
    cut = folder / "cut.nii.gz"
    cut.write_bytes(cut.read_bytes()[:900])
    return folder


def run(model: Path, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """Exit code, and what it says to programs."""
    words = ["batch", *map(str, arguments), "--model", str(model), "--device", "cpu", "--json"]
    result = CliRunner().invoke(app, words)
    assert result.stdout, result.output
    return result.exit_code, json.loads(result.stdout.splitlines()[-1])


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "report.csv").open(encoding="utf-8", newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def test_a_broken_case_stops_none_and_a_second_run_does_what_is_missing(
    a_model: Path, scans: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = [scans, "--mask", "ball=labels/{name}.nii.gz", "--out", out]
    code, told = run(a_model, *arguments)
    assert code == 1
    assert (told["done"], told["failed"]) == (2, 3)
    rows = table(out)
    assert {name: row["status"] for name, row in rows.items()} == {
        "cut": "failed",
        "labels": "failed",
        "odd": "failed",
        "one": "done",
        "two": "done",
    }
    assert "cut.nii.gz" in rows["cut"]["message"]
    assert "grid" in rows["odd"]["message"]
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "one" / "segmentation.nii.gz")))
    assert mask.shape == (10, 24, 24)
    assert mask[5].any()

    # What failed is put right, and the prompt of a case that was done has changed.
    sitk.WriteImage(sitk.ReadImage(str(scans / "one.nii.gz")), str(scans / "cut.nii.gz"))
    label = sitk.ReadImage(str(scans / "labels" / "two.nii.gz"))
    sitk.WriteImage(label, str(scans / "labels" / "odd.nii.gz"))
    sitk.WriteImage(label * 0 + label, str(scans / "labels" / "two.nii.gz"), useCompression=False)
    code, told = run(a_model, *arguments)
    rows = table(out)
    assert {name: rows[name]["status"] for name in ("one", "two", "cut", "odd")} == {
        "one": "done before",
        "two": "done",
        "cut": "done",
        "odd": "done",
    }
    assert (code, list(told["failures"])) == (1, ["labels"]), "a folder without an image is told again"
    assert float(rows["one"]["millilitres"]) > 0, "what was told of it before stands"


def test_rounds_that_were_added_are_kept_and_a_moved_list_computes_nothing_anew(
    a_model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = scans / "cases.csv", tmp_path / "out"
    file.write_text("image,mask\none.nii.gz,ball=labels/one.nii.gz\ntwo.nii.gz,labels/two.nii.gz\n", encoding="utf-8")
    assert run(a_model, file, "--out", out)[0] == 0
    words = ["refine", str(out / "one"), "--point", "ball:+5,12,12", "--model", str(a_model), "--device", "cpu"]
    assert CliRunner().invoke(app, words).exit_code == 0
    session = (out / "one" / "session.json").read_text("utf-8")
    monkeypatch.chdir(scans.parent)
    code, told = run(a_model, "scans/cases.csv", "--out", out)
    assert (code, told["kept"], told["done before"]) == (0, 1, 1)
    assert (out / "one" / "session.json").read_text("utf-8") == session
    (out / "two" / "segmentation.nii.gz").unlink()
    assert run(a_model, file, "--out", out)[1]["done"] == 1
    code, told = run(a_model, file, "--out", out, "--overwrite")
    assert (code, told["done"]) == (0, 2)
    assert (out / "one" / "session.json").read_text("utf-8") != session


def test_a_table_names_cases_and_their_prompts(a_model: Path, scans: Path, tmp_path: Path) -> None:
    file = scans / "cases.csv"
    file.write_text(
        "image,name,box,point\n"
        'one.nii.gz,first,"a:5,4,4,5,20,20|b:4,6,6,4,12,12",\n'
        'two.nii.gz,second,,"a:+5,12,12"\n'
        'gone.nii.gz,third,,"a:+5,12,12"\n',
        encoding="utf-8",
    )
    code, told = run(a_model, file, "--out", tmp_path / "out")
    rows = table(tmp_path / "out")
    assert code == 1
    assert [rows[name]["status"] for name in ("first", "second", "third")] == ["done", "done", "failed"]
    assert rows["first"]["segments"] == "2"
    assert "does not exist" in told["failures"]["third"]


@pytest.mark.parametrize("text", ["\ufeffimage;Name;point\n", "image\tname\tpoint\n", "\nimage , name, point\n\n"])
def test_a_table_of_any_spreadsheet_is_read(tmp_path: Path, text: str) -> None:
    separator = next(each for each in ";\t," if each in text)
    file = tmp_path / "cases.csv"
    file.write_text(text + separator.join(("a.nii", "first", '"x:+1,2,3"')) + "\n\n", encoding="utf-8")
    (case,) = cases_of(file, {})
    assert (case.name, case.image, case.texts) == ("first", tmp_path / "a.nii", {"point": ("x:+1,2,3",)})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("picture\na.nii\n", "it needs `image`"),
        ("image\na/x.nii\nb/x.nii\n", "called x"),
        ("image\n", "no row"),
        ("image,point\na.nii,x:+1,2,3\n", "more cells"),
        ("image,name\na.nii,..\n", "no name"),
        ("image\n.nii.gz\n", "no name"),
        ("image,box,box\na.nii,,\n", "each once"),
        ("image,name\na.nii,report.csv\n", "as a file of the batch is"),
    ],
    ids=["columns", "twice", "empty", "commas", "upwards", "nameless", "column-twice", "report"],
)
def test_a_list_that_is_wrong_is_refused_before_anything_is_computed(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "cases.csv"
    file.write_text(content, encoding="utf-8")
    result = CliRunner().invoke(app, ["batch", str(file), "--box", "a:1,1,1,1,5,5", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert words in " ".join(result.output.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_a_report_that_finds_no_room_ends_in_a_sentence(
    a_model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "report.new")

    monkeypatch.setattr("memseg3d.cases.batch_report.csv.DictWriter", full)
    words = ["--box", "a:5,4,4,5,20,20", "--model", str(a_model), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["batch", str(scans), *words, "--quiet"])
    assert result.exit_code == 1
    assert "The disk is full: report.new could not be written" in result.output
    assert not list((tmp_path / "out").glob("report*"))

"""What is not there is told at once: of every command one mistake, without torch and its seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import typer
from safetensors.numpy import save_file

from memseg3d.cli.main import app
from memseg3d.network.signs import MEMORY_SIGN

GONE = "nothing/here"
BOX = "a:1,1,1,1,5,5"
MISTAKES: dict[str, tuple[str, ...]] = {
    "serve": ("--config", GONE, "--check-config"),
    "segment": (GONE, "--box", "a:1,1,1,1,5,5", "--out", "out"),
    "refine": (GONE, "--undo"),
    "batch": (GONE, "--out", "out"),
    "tokens add": ("a b", "--tokens", GONE),
    "tokens list": ("--tokens", GONE),
    "tokens revoke": ("anna", "--tokens", "t.json"),
    "sessions list": ("--worker", "nowhere", "--token", GONE),
    "sessions end": ("5f", "--worker", "nowhere", "--token", GONE),
    "sessions delete": ("5f", "--worker", "nowhere", "--token", GONE),
    "models": ("--models", GONE),
    "models available": ("--catalogue", GONE),
    "models get": ("x", "--catalogue", GONE),
    "models add": (GONE,),
    "models remove": ("../x",),
    "evaluate memory": ("--data", GONE, "--out", "out"),
    "evaluate compare": (GONE, GONE, "--training-data", GONE),
    "evaluate labelmap": (GONE, GONE),
    "evaluate mem3d": ("--data", GONE, "--out", "out"),
    "evaluate report": (GONE,),
    "evaluate cvpr25": ("--cases", GONE, "--out", "out"),
    "evaluate cvpr25-npz": (GONE, "out"),
    "evaluate video": ("--data", GONE, "--out", "out"),
    "evaluate rounds": ("--data", GONE, "--out", "out"),
    "evaluate hold-out": ("--model", GONE, "--out", "out"),
    "train memrefine": ("--data", GONE, "--model", "x"),
    "train finetune": ("--data", ".", "--model", "nothing-such"),
    "train mem3d": ("--stage", "memory", "--data", GONE),
    "train global-expert": ("--data", GONE),
    "train local-expert": ("--data", GONE),
    "train boxes": ("--weights", GONE),
    "train nano": ("--weights", GONE),
    "train sheet": ("--out", "sheet.txt"),
    "train states": ("--folder", GONE),
    "train clip-sheet": ("--data", GONE),
    "train mean": ("ok.nii.gz", "scans/ok.nii.gz", "--into", "weights/memseg3d-nano.json"),
    "train release": ("--folder", GONE),
    "data check": (GONE,),
    "data convert": (GONE, "out", "--to", "cases"),
    "data split": (GONE,),
    "models accept": ("NO-SUCH-LICENCE",),
    "export": (),
}
OTHERS = {"about"}
"""What tells of torch."""

FURTHER = [
    ("segment", "ok.nii.gz", "--box", "a:1,2", "--out", "out"),
    ("segment", "ok.nii.gz", "--prompts", GONE, "--out", "out"),
    ("segment", "ok.nii.gz", "--mask", f"a={GONE}", "--out", "out"),
    ("segment", "ok.nii.gz", "--box", "a:1,1,1,1,5,5", "--not", GONE, "--out", "out"),
    ("segment", "ok.nii.gz", "--box", "a:1,1,1,1,5,5", "--model", "nothing-such", "--out", "out"),
    ("segment", "ok.nii.gz", "--rounds", GONE, "--out", "out"),
    ("data", "split", ".", "--out", "ok.nii.gz"),
    ("train", "mean", GONE, GONE, "--into", "x"),
    ("train", "release", "--folder", "weights", "--models", "weights"),
    ("train", "release", "--folder", "scans", "--models", "out"),
    ("evaluate", "mem3d", "--data", "grey", "--out", "out"),
    ("evaluate", "mem3d", "--data", "grey", "--label", "9", "--model", "mem3d.safetensors", "--out", "out"),
    ("evaluate", "video", "--data", "grey", "--out", "out"),
    ("sessions", "list", "--worker", "http://127.0.0.1:abc"),
    ("sessions", "list", "--worker", "http://[::1"),
    ("sessions", "list", "--worker", "http://127.0.0.1:1/a b"),
    ("evaluate", "labelmap", "ok.nii.gz", "ok.nii.gz", "--pair", "²=1"),
    ("tokens", "list", "--tokens", "scans"),
    ("tokens", "add", "anna", "--tokens", "scans"),
    ("batch", "scans", "--box", "a:1,1,1,1,5,5", "--coordinates", "xyz", "--out", "out"),
    ("evaluate", "cvpr25", "--cases", "npz", "--model", "memseg3d-nano+nothing-such", "--out", "out"),
    ("evaluate", "cvpr25", "--cases", "npz", "--out", "out"),
    ("evaluate", "cvpr25", "--cases", "whole", "--truths", GONE, "--out", "out"),
    ("evaluate", "cvpr25", "--cases", "whole", "--out", "out"),
    ("evaluate", "cvpr25", "--cases", "judged", "--command", "nothing-such", "--out", "out"),
    ("evaluate", "cvpr25", "--cases", "judged", "--docker", "", "--out", "out"),
    ("evaluate", "video", "--data", "scans", "--out", "out"),
    ("evaluate", "video", "--data", "set", "--layout", "nothing-such", "--out", "out"),
    ("evaluate", "video", "--data", "set", "--image-size", "33", "--out", "out"),
    ("evaluate", "video", "--data", "set", "--out", "ok.nii.gz/out"),
    ("evaluate", "mem3d", "--data", "scans", "--out", "out"),
    ("evaluate", "mem3d", "--data", "set", "--cases", "nothing-such", "--out", "out"),
    ("train", "clip-sheet", "--data", "cases", "--out", "clips.png"),
    ("train", "nano", "--data", "cases", "--folder", "out"),
    ("evaluate", "rounds", "--development", "--training-data", "cases", "--out", "out"),
    ("evaluate", "cvpr25", "--development", "--data", "cases", "--out", "out"),
    ("batch", "scans", "--box", "a:nan,1,1,1,5,5", "--out", "out"),
    ("batch", "scans", "--box", BOX, "--window", "5", "--out", "out"),
    ("batch", "scans", "--box", BOX, "--memory", "nothing-such", "--out", "out"),
    ("batch", "scans", "--prompts", "{nam}.json", "--out", "out"),
    ("batch", "scans", "--mask", "one-for-all.nii.gz", "--out", "out"),
    *(
        (*words, "--device", "abacus")
        for words in (
            ("segment", "ok.nii.gz", "--box", BOX, "--out", "out"),
            ("batch", "scans", "--box", BOX, "--out", "out"),
            ("refine", "scans", "--undo"),
            ("evaluate", "cvpr25", "--cases", "judged", "--out", "out"),
            ("evaluate", "video", "--data", "set", "--out", "out"),
            ("evaluate", "mem3d", "--data", "set", "--out", "out"),
            ("evaluate", "hold-out", "--out", "out"),
            ("train", "nano", "--folder", "out"),
            ("serve", "--no-token"),
        )
    ),
]

PROGRAM = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout

loaded = []
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            loaded.append(name)
            raise ImportError("torch is not wanted here")
sys.meta_path.insert(0, Watch())

from memseg3d.cli.main import app

told = []
for words in json.load(sys.stdin):
    loaded.clear()
    out, code = io.StringIO(), None
    with redirect_stdout(out), redirect_stderr(out):
        try:
            app(words)
        except SystemExit as error:
            code = error.code
        except BaseException as error:
            code = repr(error)
    told.append([code, bool(loaded), out.getvalue()])
json.dump(told, sys.stdout)
"""


def test_mistakes_are_told_without_torch(tmp_path: Path) -> None:
    (tmp_path / "ok.nii.gz").write_bytes(b"not read")
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "ok.nii.gz").write_bytes(b"not read")
    (tmp_path / "npz").mkdir()
    (tmp_path / "npz" / "CT_1.npz").write_bytes(b"not read")
    grey = np.zeros((2, 4, 5), np.uint8)
    for name, arrays in (("whole", {}), ("judged", {"gts": grey})):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "CT_1.npz", imgs=grey, spacing=np.ones(3), **arrays)
    for part in ("images", "labels"):
        (tmp_path / "set" / part).mkdir(parents=True)
        (tmp_path / "set" / part / "ok.nii.gz").write_bytes(b"not read")
        (tmp_path / "grey" / part).mkdir(parents=True)
        sitk.WriteImage(sitk.GetImageFromArray(np.ones((2, 4, 5), np.uint8)), tmp_path / "grey" / part / "one.nii.gz")
    save_file({MEMORY_SIGN: np.zeros(1, np.float32)}, tmp_path / "mem3d.safetensors")
    (tmp_path / "weights").mkdir()
    for name in ("memseg3d-nano.json", "memseg3d-nano.safetensors"):
        (tmp_path / "weights" / name).write_bytes(b"not read")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "MANIFEST.json").write_text('{"one": {"modality": "CT"}}', encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    asked = [[*command.split(), *words] for command, words in MISTAKES.items()] + [list(each) for each in FURTHER]
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps(asked), cwd=tmp_path, capture_output=True, encoding="utf-8"
    )
    assert ran.returncode == 0, ran.stderr
    for words, (code, is_loaded, said) in zip(asked, json.loads(ran.stdout), strict=True):
        # An export that is not installed ends with 1; installed, it asks for its arguments.
        assert code in ((1, 2) if words[0] in ("export", "sessions") else (2,)), (words, code, said)
        assert not is_loaded, words
        assert "Traceback" not in said, (words, said)
        assert said.strip(), words
    left = [path for path in sorted(tmp_path.rglob("*")) if path not in before]
    assert left == []


def test_every_command_is_in_the_table() -> None:
    group = typer.main.get_command(app)
    context = typer.Context(group)
    names = set()
    for name in group.list_commands(context):  # type: ignore[attr-defined]
        command = group.get_command(context, name)  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        names |= {f"{name} {each}" for each in inner} if inner else {name}
        if inner and getattr(command, "invoke_without_command", False):
            names.add(name)
    assert names == set(MISTAKES) | OTHERS

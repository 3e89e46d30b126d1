"""Cases that are whole scripts of commit 250c3ad: run as they are, each import taken to where the file lies today."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from Testing.cases.inputs import ROOT, Skipped, folder_of_cases

MOVED = re.compile(r"^\| `(?:server/)?([\w/]+)\.py` \| `(?:server/)?([\w/]+)\.py`", re.MULTILINE)


def today() -> dict[str, str]:
    """Modules of that commit and where they are now, by docs/moved.md."""
    text = (ROOT / "docs" / "moved.md").read_text("utf-8")
    return {old.replace("/", "."): new.replace("/", ".") for old, new in MOVED.findall(text)}


def translated(script: Path) -> str:
    """The script with today's imports."""
    tree, moved = ast.parse(script.read_text("utf-8")), today()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in moved:
            node.module = moved[node.module]
    return ast.unparse(tree)


def ran(name: str, out: Path, *words: str, within: float = 240) -> str:
    """What a case's script printed. Raises AssertionError where it failed or printed FAIL, Skipped where it is missing.

    name: the script below the folder of cases. Helpers beside it stay importable.
    """
    script = folder_of_cases() / name
    if not script.is_file():
        raise Skipped(f"{name} is not there.")
    out.mkdir(parents=True, exist_ok=True)
    copy = out / script.name
    copy.write_text(translated(script), "utf-8")
    for helper in script.parent.glob("worker_under_test.py"):
        # It looks for the worker's program in the checkout's own environment.
        program = repr(str(Path(sys.executable).with_name("memseg3d")))
        (out / helper.name).write_text(helper.read_text("utf-8").replace('".venv/bin/memseg3d"', program), "utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "server")])}
    done = subprocess.run(
        [sys.executable, str(copy), *words], cwd=ROOT, env=environment, capture_output=True, text=True,
        encoding="utf-8", timeout=within, check=False,
    )  # fmt: skip
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert not failed, failed[0]
    assert not done.returncode, (done.stderr.strip().splitlines() or done.stdout.strip().splitlines())[-1:]
    return done.stdout


def script(name: str, *words: str) -> Callable[[Path], None]:
    """A case that tells by itself whether it holds."""

    def case(out: Path) -> None:
        ran(name, out, *words)

    return case

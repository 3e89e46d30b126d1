"""Where the cases' inputs lie, and how they are made: each case's own `make.py`, run in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Skipped(Exception):
    """A case that cannot be tried here; the reason in a sentence."""


def folder_of_cases() -> Path:
    """MEMSEG3D_CASES, else `shared/cases` in the project or beside it. Raises Skipped where there is none."""
    named = os.environ.get("MEMSEG3D_CASES")
    found = [Path(named)] if named else [ROOT / "shared" / "cases", ROOT.parent / "shared" / "cases"]
    for one in found:
        if one.is_dir():
            return one
    raise Skipped("The cases are not here: set MEMSEG3D_CASES to their folder.")


def made(name: str, out: Path, *words: str) -> Path:
    """The input of a case, made by its own script. Raises Skipped where that is missing."""
    script = folder_of_cases() / name / "make.py"
    if not script.is_file():
        raise Skipped(f"{script.parent.name} has no make.py here.")
    done = subprocess.run([sys.executable, str(script), str(out), *words], capture_output=True, text=True, timeout=120)
    if done.returncode and "ModuleNotFoundError" in done.stderr:
        raise Skipped(f"its make.py needs another package: {done.stderr.strip().splitlines()[-1]}")
    if done.returncode:
        raise AssertionError(f"its make.py failed: {done.stderr.strip().splitlines()[-1:]}")
    return out


def program(name: str, how: str) -> str:
    """The path of a program. Raises Skipped where it is not installed; how: what installs it."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        raise Skipped(f"{name} is not installed ({how}).")
    return found

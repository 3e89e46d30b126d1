"""What MemSeg3D adds to every start of Slicer: modules and seconds of importing its two module files.

    python Testing/benchmarks/startup.py [--runs N] [--modules FOLDER]

Each run is a fresh process in which `slicer`, and Slicer's own parts from the tests' stand-in, are there already; what
Slicer does at `startupCompleted` (registering effect and sample) is counted by itself. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("numpy", "SimpleITK", "requests", "urllib3", "MemSeg3DLib.rounds", "MemSeg3DPanel.panel")

IN_A_FRESH_PROCESS = """
import builtins, json, os, sys, time
from pathlib import Path

root, modules, folder = sys.argv[1:]
sys.path += [root, root + "/Testing"]
from desktop.session import Session
from desktop.standin.generated import emit

(Path(folder) / "none").mkdir()
session = Session(Path(folder), Path(folder) / "none")
session.start()
session.window.hide()
# What the stand-in itself brought is imported anew by whoever asks; numpy cannot be, so its name is listened for.
for name in [one for one in sys.modules if one.split(".")[0] in ("SimpleITK", "requests", "urllib3", "MemSeg3DLib")]:
    del sys.modules[name]
sys.path.insert(0, str(Path(modules).parent))
asked, original = set(), builtins.__import__


def listening(name, globals=None, *rest, **words):
    if "MemSeg3D" in ((globals or {}).get("__file__") or ""):
        asked.add(name.split(".")[0])
    return original(name, globals, *rest, **words)


builtins.__import__ = listening


def measured(action):
    before, began = set(sys.modules), time.perf_counter()
    action()
    seconds = time.perf_counter() - began
    return {"modules": sorted(set(sys.modules) - before), "seconds": seconds, "asked": sorted(asked)}


def load():
    for name in ("MemSeg3D", "SegmentEditorMemSeg3D"):
        session.load_module(Path(modules) / f"{name}.py")


told = {"import": measured(load)}
told["startupCompleted"] = measured(lambda: emit(session.app, "startupCompleted()"))
told["first use"] = measured(lambda: session.show_module("MemSeg3D"))
print(json.dumps(told), flush=True)
# The stand-in is not ended: only its start is measured.
os._exit(0)
"""


def measure(modules: Path = ROOT / "MemSeg3D") -> dict[str, Any]:
    """One fresh process, by "import", "startupCompleted", "first use": modules, seconds, names asked for until then."""
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [sys.executable, "-c", IN_A_FRESH_PROCESS, str(ROOT), str(modules), folder],
            capture_output=True, text=True, check=False, env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        )  # fmt: skip
    if run.returncode:
        raise RuntimeError(run.stderr)
    return dict(json.loads(run.stdout.splitlines()[-1]))


def heavy(told: dict[str, Any]) -> list[str]:
    """Which of HEAVY a step brought, or had been asked for by its end."""
    return [name for name in HEAVY if name in told["modules"] or name in told["asked"]]


def main() -> None:
    """Measure a few times, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--modules", type=Path, default=ROOT / "MemSeg3D", help="the module files of another state")
    given = parser.parse_args()
    runs = [measure(given.modules.resolve()) for _ in range(given.runs)]
    print("| step | modules added | of them heavy ones | seconds (median) |\n|---|---|---|---|")
    for step in runs[0]:
        seconds = statistics.median(run[step]["seconds"] for run in runs)
        names = ", ".join(heavy(runs[0][step])) or "none"
        print(f"| {step} | {len(runs[0][step]['modules'])} | {names} | {seconds:.3f} |")


if __name__ == "__main__":
    main()

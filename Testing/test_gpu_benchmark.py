"""The GPU benchmark runs on any computer, from a bare checkout beside torch, and prints its tables."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parent / "benchmarks" / "gpu.py"
OPTIONAL = ("SimpleITK", "fastapi", "pydantic", "uvicorn", "typer", "rich", "safetensors", "scipy", "sam2", "monai")


def test_it_runs_on_a_cpu_without_the_packages_that_it_does_not_need() -> None:
    hidden = (
        f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL!r})); sys.path.insert(0, {str(BENCHMARK.parent)!r})"
    )
    run = f"{hidden}; import runpy; runpy.run_path({str(BENCHMARK)!r}, run_name='__main__')"
    options = ["--device", "cpu", "--slices", "5", "--size", "64", "--repeats", "1"]
    done = subprocess.run(
        [sys.executable, "-c", f"{hidden}; {run}", *options], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "SAM 2.1 tiny, 64 px, 5 slices" in done.stdout
    assert "embedded, random weights, 5 slices" in done.stdout
    rows = [line.split("|") for line in done.stdout.splitlines() if re.match(r"\| (ours|\d object)", line)]
    assert len(rows) == 11
    for row in rows:
        assert float(row[2]) > 0
        assert int(row[5]) in (5, 10)
    assert "falls back" not in done.stdout

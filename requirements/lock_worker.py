"""Makes Resources/Worker/requirements.lock anew: `python requirements/lock_worker.py` (needs uv and an index)."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "Resources" / "Worker" / "requirements.lock"
HEADER = "# The worker's dependencies, and what torch needs, without torch. Made by requirements/lock_worker.py.\n"
# Torch's own dependencies that every build of it shares; torch itself depends on the computer and is not locked here.
OF_TORCH = [
    "filelock",
    "fsspec>=0.8.5",
    "jinja2",
    "networkx>=2.5.1",
    "setuptools",
    "sympy>=1.13.3",
    "typing-extensions>=4.10",
]


def main() -> None:
    """Resolve for every system and processor, from Python 3.11 on, and write versions with hashes."""
    project = tomllib.loads((ROOT / "server" / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [one for one in project["dependencies"] if not one.startswith("torch")] + OF_TORCH
    command = ["uv", "pip", "compile", "-", "--universal", "--generate-hashes", "--python-version", "3.11"]
    told = subprocess.run(
        [*command, "--no-header", "--no-annotate", "--quiet"],
        input="\n".join(wanted),
        capture_output=True,
        text=True,
        check=True,
    )
    LOCK.write_text(HEADER + told.stdout, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

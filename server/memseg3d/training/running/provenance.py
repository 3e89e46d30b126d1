"""By what code and libraries weights were made, so that a card can say it and a cache is never mistaken."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from memseg3d import __version__

_PACKAGE = Path(__file__).resolve().parents[2]
SOURCES = ("training/running", "training/synthetic", "training/clips", "training/nano", "network/nano")


@functools.cache
def sources_sha256() -> str:
    """SHA-256 over the Python files that decide how weights come out; line ends do not count."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(path.relative_to(_PACKAGE).as_posix().encode())
            digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def made_by() -> dict[str, str]:
    """Versions of this program, its training code, torch, Python and the platform."""
    return {
        "memseg3d": __version__,
        "sources_sha256": sources_sha256(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def write_card(model: Path, **words: Any) -> None:
    """The card beside a model's file, with its name and sum; whole or not at all."""
    card = {"name": model.stem, "sha256": hashlib.sha256(model.read_bytes()).hexdigest(), **words}
    partial = model.with_suffix(".card.partial")
    partial.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, model.with_suffix(".json"))

"""What the pages of docs show is run: blocks marked `console` with their output, and the example of a policy."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import write_tiny_model
from typer.testing import Result

from memseg3d.propagation.memory.policies import MADE_OF

from .conftest import MODEL

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    (f"{page.stem}-{place}", block)
    for page in PAGES
    for place, block in enumerate(
        re.findall(r"^```console\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    )
]


def plain(text: str) -> str:
    """Words alone: frames and line breaks follow the terminal."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text).strip()


@pytest.mark.parametrize("block", [block for _, block in BLOCKS], ids=[name for name, _ in BLOCKS])
def test_what_a_page_shows_is_what_is_printed(
    block: str, memseg3d: Callable[..., Result], a_volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(a_volume.parent)
    (a_volume.parent / "models").mkdir()
    write_tiny_model(a_volume.parent / "models" / f"{MODEL}.safetensors")
    monkeypatch.setenv("MEMSEG3D_MODELS", str(a_volume.parent / "models"))
    commands = block.split("$ ")[1:]
    assert commands
    for command in commands:
        line, _, expected = command.partition("\n")
        program, *arguments = shlex.split(line)
        assert program == "memseg3d"
        assert plain(memseg3d(*arguments).output) == plain(expected), line


def test_the_example_of_a_policy_runs_and_changes_what_is_remembered(
    monkeypatch: pytest.MonkeyPatch, a_model: Path
) -> None:
    monkeypatch.setitem(MADE_OF, "stm", MADE_OF["stm"])
    text = (ROOT / "docs" / "researchers.md").read_text("utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    scope: dict[str, Any] = {}
    exec(compile(block, "researchers.md", "exec"), scope)
    k, j, i = np.indices((16, 40, 40))
    truth = (2 * (k - 8)) ** 2 + (j - 20) ** 2 + (i - 18) ** 2 < 12**2
    voxels = (300 * truth + np.random.default_rng(0).normal(0, 20, truth.shape)).astype(np.int16)
    with_own = scope["dice_with"]("stm", voxels, truth, device="cpu", model=str(a_model), precision="fp32")
    assert 0 < with_own <= 1
    policy = MADE_OF["stm"]
    assert policy is scope["EverySecondPolicy"]

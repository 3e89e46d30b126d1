"""What README and docs show is run: blocks marked `console` with their output, and those of Python that use memseg3d.

Blocks are run in a folder in which `make demo` has run, page by page, in their order. `...` stands for what differs
from run to run (times, ids); numbers with a decimal point may differ a little, for processors round differently.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from memseg3d.network.seam import Network
from memseg3d.propagation.memory.bank.policy import MemoryPolicy
from memseg3d.propagation.memory.policies import MADE_OF

ROOT = Path(__file__).resolve().parents[2]
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {page.stem: page for page in FILES}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WORKER = "http://127.0.0.1:8123"
"""The worker's address on the pages."""


def blocks(page: str, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(PAGES[page].read_text("utf-8")) if kind == language]


CONSOLE = [page for page in PAGES if blocks(page, "console")]
PYTHON = [
    (f"{page}-{place}", text)
    for page in PAGES
    for place, text in enumerate(blocks(page, "python"))
    if "import memseg3d" in text
]


def plain(text: str) -> str:
    """Words alone: frames and line breaks follow the terminal."""
    return re.sub(r"[\s│┃┏┓┗┛┡┩┳┷╇╈╭╮╰╯─━┬┴┼├┤└┘┌┐]+", " ", text).strip()


def agrees(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed."""
    numbers: list[float] = []

    def pattern(part: str) -> str:
        numbers.append(float(part))
        return r"([-+]?\d+\.\d+)"

    parts = re.split(r"(\.\.\.|[-+]?(?<![\w.])\d+\.\d+(?![\w.]))", plain(shown))
    made = "".join(
        ".*?" if part == "..." else pattern(part) if re.fullmatch(r"[-+]?\d+\.\d+", part) else re.escape(part)
        for part in parts
    )
    found = re.fullmatch(made, plain(printed))
    return found is not None and all(
        abs(float(got) - number) <= max(0.03, 0.05 * abs(number))
        for got, number in zip(found.groups(), numbers, strict=True)
    )


@dataclass
class Desk:
    """A folder in which the demo has run, and the programs that pages call."""

    folder: Path
    demo: str
    worker: Callable[[], Any]
    status: int = field(default=0)

    def run(self, line: str) -> str:
        """What a command of a page prints."""
        program, *arguments = shlex.split(line, comments=True)
        if program == "make":
            assert arguments == ["demo"]
            return self.demo
        if program == "echo":
            assert arguments == ["$?"]
            return str(self.status)
        if program == "ls":
            return " ".join(sorted(path.name for path in (self.folder / arguments[0]).iterdir()))
        if program == ".venv/bin/python":
            return self._module(arguments)
        assert program in ("memseg3d", ".venv/bin/memseg3d"), program
        return self._memseg3d(arguments)

    def _memseg3d(self, arguments: list[str]) -> str:
        from memseg3d.cli.main import app

        url = WORKER
        if WORKER in arguments:
            url = self.worker().url
        result = CliRunner().invoke(app, [url if each == WORKER else each for each in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        self.status = result.exit_code
        # The progress bar is gone from a terminal when the round has ended.
        lines = [line for line in str(result.output).replace("\r", "\n").splitlines() if "━ " not in line]
        return "\n".join(lines).replace(url, WORKER)

    def _module(self, arguments: list[str]) -> str:
        assert arguments[:2] == ["-m", "MemSeg3DLib.export.dicom.command"]
        from MemSeg3DLib.export.dicom.command import main

        with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.redirect_stderr(told):
            self.status = main(arguments[2:])
        return told.getvalue()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """The demo has run here; commands and blocks run in this folder."""
    from demo.__main__ import main

    folder, before = tmp_path_factory.mktemp("desk"), Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        patch.delenv("MEMSEG3D_MODELS", raising=False)
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()) as told:
                assert main([]) == 0

            def worker() -> Any:
                found = request.getfixturevalue("a_worker")
                patch.setenv("MEMSEG3D_TOKEN", found.token)
                return found

            yield Desk(folder, told.getvalue(), worker)
        finally:
            os.chdir(before)


def test_every_block_says_what_it_is() -> None:
    unmarked = [page for page in PAGES if blocks(page, "")]
    assert unmarked == [], "mark blocks as console (run as tests), text, python or json"


@pytest.mark.parametrize("page", CONSOLE)
def test_what_a_page_shows_is_what_is_printed(desk: Desk, page: str) -> None:
    for block in blocks(page, "console"):
        for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, expected = command.partition("\n")
            while line.endswith("\\"):
                more, _, expected = expected.partition("\n")
                line = line[:-1] + more
            printed = desk.run(line)
            assert agrees(expected, printed), f"$ {line}\nthe page shows:\n{expected}\nprinted:\n{printed}"


def test_the_demo_s_click_gains(desk: Desk) -> None:
    """One click is worth at least 0.05 of Dice where a box was not enough, and takes nothing away elsewhere."""
    gains = [float(value) for value in re.findall(r"[-+]0\.\d{3}", desk.demo)]
    assert len(gains) == 2
    assert min(gains) > -0.01
    assert max(gains) >= 0.05


@pytest.mark.parametrize("block", [text for _, text in PYTHON], ids=[name for name, _ in PYTHON])
def test_python_on_a_page_runs(
    desk: Desk, a_model: Path, block: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a network that is quick and knows nothing; `ct.nii.gz` is the demo's volume."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ct.nii.gz").write_bytes((desk.folder / "out/demo/image.nii.gz").read_bytes())
    (tmp_path / "memseg3d-nano.safetensors").write_bytes(a_model.read_bytes())
    monkeypatch.setenv("MEMSEG3D_MODELS", str(tmp_path))
    monkeypatch.setitem(MADE_OF, "stm", MADE_OF["stm"])  # as the page says, to try a policy
    (tmp_path / "token").write_text(desk.worker().token if "connect(" in block else "", encoding="utf-8")
    code = block.replace("https://worker.hospital:8443", desk.worker().url if "connect(" in block else "")
    code = code.replace('open("token")', f"open({str(tmp_path / 'token')!r})")
    with contextlib.redirect_stdout(io.StringIO()) as told:
        exec(compile(code, "page.py", "exec"), {})
    for shown in re.findall(r"^print\(.*#: (.*)$", block, re.MULTILINE):
        assert agrees(f"...{shown}...", told.getvalue())


@pytest.mark.parametrize(("protocol", "count"), [(MemoryPolicy, "six"), (Network, "four")], ids=["policy", "network"])
def test_the_page_for_researchers_names_every_call_of_the_seams(protocol: type, count: str) -> None:
    calls = [name for name, value in vars(protocol).items() if callable(value) and not name.startswith("_")]
    text = PAGES["researchers"].read_text("utf-8")
    assert [name for name in calls if f"`{name}`" not in text and f"def {name}(" not in text] == []
    assert {"six": 6, "four": 4}[count] == len(calls)
    assert f"{count} calls" in text


def test_a_difference_is_found() -> None:
    assert agrees("liver 0.91 in ... s\n", "│ liver │ 0.93 in 12 s │")
    assert not agrees("liver 0.91", "liver 0.71")
    assert not agrees("slice 40", "slice 41")
    assert not agrees("liver", "liver 3")

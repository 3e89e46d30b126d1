"""The command line as a user calls it, and words without their line breaks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from memseg3d.cli.main import app


@pytest.fixture
def memseg3d(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Calls `memseg3d data` with arguments."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path | int | float) -> Result:
        return CliRunner().invoke(app, ["data", *(str(argument) for argument in arguments)])

    return call


def words(result: Result) -> str:
    """Everything printed, in one line without frames."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", result.output)

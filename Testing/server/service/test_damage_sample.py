"""A small sample of `make audit-kills`: damage of every kind; the worker serves what is sound and tells the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from audits import damage

SAMPLE = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> damage.Original:
    return damage.original(tmp_path_factory.mktemp("original"))


def test_nothing_is_served_that_fails_its_checksum(made: damage.Original, tmp_path: Path) -> None:
    found = [damage.one_damage(made, 5_000 + seed, tmp_path) for seed in range(SAMPLE)]
    assert [wrong for _, each in found for wrong in each] == []
    assert len({what for what, _ in found}) > 4


def test_the_lines_of_a_round_are_checked_too(made: damage.Original, tmp_path: Path) -> None:
    """A flipped bit in a mask is still a line of JSON."""
    session, name = next(iter(made.lines))
    (folder := tmp_path / "data").mkdir()

    shutil.copytree(made.folder, folder, dirs_exist_ok=True)
    file = folder / "sessions" / session / f"{name}.ndjson"
    content = file.read_bytes()
    at = content.index(b'"quality":0.') + len(b'"quality":0.')
    file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with damage.started(folder, made.model) as worker:
        assert damage._lines(worker, session, name) is None
        assert damage.state_of(worker, session)["applied"] == damage.ROUNDS

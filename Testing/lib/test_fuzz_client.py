"""A small sample of `Testing/audits/fuzz_client.py`: nothing but the library's own errors comes out."""

from __future__ import annotations

import pytest
from audits.fuzz_client import TARGETS

SAMPLE = 25


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_the_librarys_own_error_comes_out(name: str) -> None:
    outcomes, wrong = TARGETS.run(name, SAMPLE, seed=1_000_000)
    assert wrong == []
    assert sum(outcomes.values()) == SAMPLE

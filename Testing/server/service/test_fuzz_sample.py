"""A small sample of every audit of `Testing/audits`, so that a change that breaks one is seen before the next audit."""

from __future__ import annotations

import pytest
from audits import fuzz_files, fuzz_http

from .conftest import TOKEN, WorkerProcess

SAMPLE = 40


@pytest.mark.parametrize("name", fuzz_files.TARGETS)
def test_nothing_but_the_right_error_comes_out(name: str) -> None:
    outcomes, wrong = fuzz_files.TARGETS.run(name, SAMPLE, seed=1_000_000)
    assert wrong == []
    assert sum(outcomes.values()) == SAMPLE


def test_no_changed_request_is_answered_with_5xx(a_worker: WorkerProcess) -> None:
    outcomes, wrong = fuzz_http.mutations(fuzz_http.Target(a_worker.url, TOKEN), SAMPLE, seed=1)
    assert wrong == []
    assert sum(outcomes.values()) == SAMPLE

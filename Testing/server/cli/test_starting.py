"""The start of commands that compute: no garbage collection while torch is imported, nor of what is there after."""

from __future__ import annotations

import gc
import sys

import pytest

from memseg3d.cli.starting import without_collections


def test_what_the_imports_leave_is_not_looked_through_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    try:
        with without_collections():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_the_collector_is_on_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    before = gc.get_freeze_count()
    with pytest.raises(ValueError, match="no"), without_collections():
        raise ValueError("no")
    assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_a_program_that_has_torch_already_is_left_as_it_is() -> None:
    before = gc.get_freeze_count()
    with without_collections():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before

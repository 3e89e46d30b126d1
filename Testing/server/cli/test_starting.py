"""The start of commands that compute: no garbage collection while torch is imported, nor of what is there after;
and torch comes while a large image is read.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from memseg3d.cli.starting import WORTH_A_THREAD, without_collections


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


def test_torch_comes_while_a_large_image_is_read_and_not_while_a_small_one_is(tmp_path: Path) -> None:
    for name, size in (("small", WORTH_A_THREAD - 1), ("large", WORTH_A_THREAD)):
        (tmp_path / name).write_bytes(bytes(size))
    program = (
        "import gc, sys; from pathlib import Path; from memseg3d.cli.starting import TorchMeanwhile\n"
        "for name in ('gone', 'small', 'large'):\n"
        "    assert 'torch' not in sys.modules\n"
        "    TorchMeanwhile(Path(name)).wait()\n"
        "assert hasattr(sys.modules['torch'], 'compiler') and gc.isenabled() and gc.get_freeze_count()\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)

"""Runs of the training tests are validated on two volumes: on the usual ten it takes as long as the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from memseg3d.training.nano import loop


@pytest.fixture(autouse=True, scope="package")
def a_small_hold_out() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "HOLD_OUT_VOLUMES", 2)
        yield

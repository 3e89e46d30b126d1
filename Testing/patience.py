"""What tests of other threads and programs wait with: look again and again, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether a condition comes to hold within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Until a condition holds; fails after so many seconds."""
    assert eventually(condition, seconds), "it takes too long"

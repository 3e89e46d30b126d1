"""How long one round waits for a worker that asks to come again, and why it stops to."""

from __future__ import annotations

from MemSeg3DLib.base.errors import WorkerError

WAIT_SECONDS, WAITS = 20.0, 3
"""A worker that asks to be left alone for a while is, for so long at most, and so often in one round."""

CROWDED = ("overloaded", "too_many")
"""Codes of a worker that has others to serve: one's turn comes, so that it is waited for longer."""

CROWDED_WAIT_SECONDS, CROWDED_SECONDS = 60.0, 600.0
"""How long such a worker may ask for at once, and how long it is waited for in one round."""


class Patience:
    """What one round has waited so far."""

    def __init__(self) -> None:
        self._waits, self._waited = 0, 0.0

    def asked(self, error: WorkerError) -> float | None:
        """Seconds after which the worker is asked again, as it wants; None where it is not."""
        if error.wait is None:
            return None
        self._waits += 1
        self._waited += max(error.wait, 1.0)
        if error.code in CROWDED:
            goes_on = error.wait <= CROWDED_WAIT_SECONDS and self._waited <= CROWDED_SECONDS
        else:
            goes_on = error.wait <= WAIT_SECONDS and self._waits <= WAITS
        return error.wait if goes_on else None

"""Errors that nobody would see in Slicer but a red line in its console: kept here, so that a test can fail of them."""

from __future__ import annotations

import functools
import inspect
import sys
import traceback
from collections.abc import Callable
from typing import Any

heard: list[str] = []
"""Tracebacks of callbacks that failed, and Qt's own complaints, since the last `take`."""


def note(text: str) -> None:
    """Keep one for the test."""
    heard.append(text)


def take() -> list[str]:
    """What has gone wrong since the last call."""
    taken = list(heard)
    heard.clear()
    return taken


def _positional(function: Callable[..., Any]) -> int | None:
    """How many arguments a callable takes at most; None: any number, or unknown."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters):
        return None
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(1 for one in parameters if one.kind in kinds)


def as_slot(function: Callable[..., Any], sent: int | None = None) -> Callable[..., Any]:
    """A callable as PythonQt calls it: with no more arguments than it takes, its errors noted and not raised.

    sent: how many arguments the signal sends; None: as many as come.
    """
    most = _positional(function)
    limit = most if sent is None else (sent if most is None else min(sent, most))

    @functools.wraps(function, updated=())
    def slot(*arguments: Any) -> None:
        try:
            function(*arguments[:limit])
        # A slot that fails must neither end Qt's loop nor go unseen: the session raises it when it closes.
        except Exception:
            note(traceback.format_exc())
            traceback.print_exc(file=sys.stderr)

    # Qt asks for the number of arguments of what it calls.
    del slot.__wrapped__  # type: ignore[attr-defined]
    return slot

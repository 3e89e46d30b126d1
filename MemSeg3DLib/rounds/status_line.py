"""The status line: one sentence that always says what the worker is doing and where it runs."""

from __future__ import annotations

from typing import Any

from MemSeg3DLib.base.units import MEGABYTE
from MemSeg3DLib.rounds.running.states import RunProgress, RunState


def status_line(state: RunState, progress: RunProgress | None, worker: Any) -> str:
    """What is being done, how far it is, and where; or what the user has yet to do.

    worker: a WorkerSource, which may have a `describe()` and an `unready()`.
    """
    describe = getattr(worker, "describe", None)
    where = str(describe()) if callable(describe) else str(getattr(worker, "url", ""))
    unready = getattr(worker, "unready", None)
    if state is RunState.IDLE and callable(unready) and (to_do := unready()):
        return f"Not ready: {to_do}"
    doing = _doing(state, progress if progress is not None and progress.state is state else None)
    return f"{doing} \u00b7 {where}" if where else doing


def _doing(state: RunState, progress: RunProgress | None) -> str:
    if state is RunState.IDLE:
        return "Ready"
    if progress is not None and progress.words:
        return progress.words
    if state is RunState.PREPARING:
        return "Preparing: checking the volume, and reaching where it runs"
    if state is RunState.UPLOADING:
        if progress is None or not progress.total:
            return "Uploading the volume"
        return f"Uploading the volume: {progress.done // MEGABYTE} of {progress.total // MEGABYTE} MB"
    if state is RunState.PROMPTED:
        return "Segmenting the prompted slices"
    if progress is None or not progress.total:
        return "Propagating through the slices"
    return f"Propagating: {progress.done} of {progress.total} slices"

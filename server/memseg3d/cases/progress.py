"""A progress bar while a round runs: on a terminal, in a notebook, or none; and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memseg3d.propagation.prompts.events import Event


def followed(job: Callable[[Callable[[Event], None]], object], shown: bool | None) -> dict[str, float | None]:
    """Run a job that tells its events to what it is given; seconds until its first mask, and of the round.

    shown: None: where somebody can see it.
    """
    from rich import progress as bars
    from rich.console import Console

    from memseg3d.propagation.prompts.events import Progress, RoundDone, SliceDone

    console = Console(stderr=True)
    is_shown = (console.is_jupyter or sys.stderr.isatty()) if shown is None else shown
    seconds: dict[str, float | None] = {"first_mask": None, "round": None}
    started = time.perf_counter()
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=console, disable=not is_shown) as bar:
        task = bar.add_task("first mask", total=None)

        def follow(event: Event) -> None:
            if isinstance(event, SliceDone):
                if seconds["first_mask"] is None:
                    seconds["first_mask"] = time.perf_counter() - started
            elif isinstance(event, Progress):
                bar.update(task, description=event.note or event.phase, completed=event.done, total=event.total or None)
            elif isinstance(event, RoundDone):
                seconds["round"] = event.seconds

        job(follow)
    return seconds

"""Classical methods run with the robot's prompts, for `memseg3d evaluate rounds --baselines`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from memseg3d.evaluation.baselines import BaselineRow
    from memseg3d.evaluation.classical import Method
    from memseg3d.evaluation.results import Protocol, TargetResult
    from memseg3d.evaluation.rounds import Start
    from memseg3d.propagation.volume.volume import Volume


def run_baselines(
    run: Callable[[Start, Protocol], list[TargetResult]], corrections: int, grow_cut: Path | None
) -> dict[str, dict[str, BaselineRow]]:
    """Rows of grow-cut and random walker by "case/label". run: plays the robot. grow_cut: program that runs it."""
    from memseg3d.evaluation.baselines import rows_of
    from memseg3d.evaluation.classical import GROW_CUT_SHELL, WALKER_SHELL, ClassicalSegmenter, random_walker
    from memseg3d.evaluation.grow_cut import GrowCutProgram, ProgramFailed
    from memseg3d.evaluation.results import Protocol

    rows: dict[str, dict[str, BaselineRow]] = {}
    try:
        with GrowCutProgram(grow_cut) as program:
            methods: dict[str, tuple[Method, int]] = {
                "A_growcut": (program.segment, GROW_CUT_SHELL),
                "B_random_walker": (random_walker, WALKER_SHELL),
            }
            for name, (method, shell) in methods.items():

                def start(volume: Volume, method: Method = method, shell: int = shell) -> ClassicalSegmenter:
                    return ClassicalSegmenter(volume, method, shell)

                rows[name] = rows_of(name, run(start, Protocol(corrections, "truth", name, "")))
    except ProgramFailed as error:
        raise typer.BadParameter(str(error), param_hint="--grow-cut") from error
    return rows

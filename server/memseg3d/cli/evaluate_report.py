"""`memseg3d evaluate report` and `--report`: runs side by side on one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from memseg3d.cli.early_checks import check_all_exist
from memseg3d.cli.folders import make_folder

ReportOption = Annotated[
    bool, typer.Option("--report", help="Also one page, report.html: curves, worst cases with pictures, the command.")
]


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders that `memseg3d evaluate` wrote, one or more.")],
    out: Annotated[Path, typer.Option(help="The page.")] = Path("report.html"),
    title: Annotated[str, typer.Option(help="Its heading.")] = "Evaluation",
) -> None:
    """Put any runs side by side on one page: means over targets that all have, curves, worst cases, every target."""
    check_all_exist(folders, "FOLDERS")
    make_folder(out.parent)
    write_reports(folders, out.parent, out.name, title)


def write_reports(folders: Sequence[Path], out: Path, name: str = "", title: str = "Evaluation") -> None:
    """Write the page and say where. Raises `typer.BadParameter` for a folder without results."""
    from memseg3d.evaluation.page import PAGE, command_words, runs_in, write_page
    from memseg3d.files import UnreadableFile

    try:
        several = len(folders) > 1
        # A single run's page is written by the command that made the run.
        made = "" if several or name else command_words()
        runs = [run for folder in folders for run in runs_in(folder, folder.name if several else "", made)]
        typer.echo(f"Wrote {write_page(out / (name or PAGE), runs, title)}")
    except UnreadableFile as error:
        raise typer.BadParameter(str(error), param_hint="FOLDERS") from error

"""`memseg3d evaluate`: the published protocols on volumes with truth."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from memseg3d.cli.folders import make_folder
from memseg3d.cli.networks import DeviceOption, ModelOption, ModelsOption, ThreadsOption, open_network

app = typer.Typer(help="Judge a model on volumes with truth.", no_args_is_help=True)


@app.callback()
def evaluate() -> None:
    """Judge a model on volumes with truth."""


@app.command()
def rounds(
    data: Annotated[
        Path,
        typer.Option(envvar="MEMSEG3D_DATA", help="Folder of MANIFEST.json and <case>/image.nii.gz, label.nii.gz."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results; targets found there are not run again.")],
    corrections: Annotated[int, typer.Option(min=0, max=50, help="Clicks after the box.")] = 5,
    advice: Annotated[
        Literal["truth", "quality", "random"],
        typer.Option(help="Slice to correct: largest error, lowest predicted quality, or any that is wrong."),
    ] = "truth",
    reach: Annotated[
        float | None,
        typer.Option(min=0.01, help="Propagate so many box sides at most; the baselines get 0.6."),
    ] = None,
    cases: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    targets: Annotated[list[str] | None, typer.Option(help="Only this case/label; may be repeated.")] = None,
    baselines: Annotated[
        Path | None,
        typer.Option(help="Table to compare with; else MEMSEG3D_BASELINES, or ../facts/baselines.csv of the data."),
    ] = None,
    against: Annotated[str, typer.Option(help="Method of that table.")] = "A_growcut",
    model: ModelOption = None,
    models: ModelsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """A robot user draws one box on the largest slice and then clicks into the largest error, round after round.

    Writes rounds.md (tables), rounds.csv and rounds.json.
    """
    _require_extra()
    from memseg3d.evaluation.baselines import find_baselines, read_baselines
    from memseg3d.evaluation.report import write_report
    from memseg3d.evaluation.rounds import Protocol, run_rounds
    from memseg3d.evaluation.targets import find_cases
    from memseg3d.files import UnreadableFile
    from memseg3d.propagation.errors import PropagationError

    try:
        table = find_baselines(data, baselines)
        compared = read_baselines(table, against) if table else {}
    except UnreadableFile as error:
        raise typer.BadParameter(str(error), param_hint="--baselines") from error
    try:
        find_cases(data, cases)  # a wrong path is told before a network is loaded
    except UnreadableFile as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    network = open_network(model, models, device, threads)
    make_folder(out)
    protocol = Protocol(corrections, advice, network.info.name, network.info.sha256, reach)
    try:
        results = run_rounds(data, out, network, protocol, cases, targets, typer.echo)
    except (UnreadableFile, PropagationError) as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    report = write_report(out, protocol, results, compared)
    typer.echo(report.read_text(encoding="utf-8"))
    typer.echo(f"Wrote {report}")


def _require_extra() -> None:
    """The metrics and the robot need packages that a worker does without."""
    missing = [name for name in ("scipy", "surface_distance") if find_spec(name) is None]
    if missing:
        typer.echo(f"memseg3d evaluate needs {' and '.join(missing)}: pip install 'memseg3d[evaluate]'.", err=True)
        raise typer.Exit(1)

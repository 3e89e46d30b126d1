"""`memseg3d evaluate rounds --development` and `memseg3d evaluate compare`: how candidates are chosen between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memseg3d.cli.early_checks import check_exists, check_training_data
from memseg3d.cli.evaluate_baselines import run_baselines
from memseg3d.cli.folders import make_folder

if TYPE_CHECKING:
    from memseg3d.evaluation.results import Protocol, TargetResult
    from memseg3d.evaluation.rounds import Start
    from memseg3d.network.seam import Network


def run_development(
    data: Path | None,
    out: Path,
    half: bool,
    open_network: Callable[[], Network],
    protocol_of: Callable[[Network], Protocol],
    baselines: bool,
    grow_cut: Path | None,
) -> None:
    """Play the robot on the development set and write development.md and development.json into `out`."""
    from memseg3d.evaluation.development import chosen_groups
    from memseg3d.evaluation.development import run_development as play
    from memseg3d.evaluation.development_report import write_development
    from memseg3d.evaluation.segmenters import SessionSegmenter
    from memseg3d.files import UnreadableFile
    from memseg3d.propagation.volume.errors import PropagationError
    from memseg3d.propagation.volume.volume import Volume

    if data is None:
        raise typer.BadParameter(
            "Name the folder of MANIFEST.json and DEVELOPMENT.json, or set MEMSEG3D_TRAINING_DATA.",
            param_hint="--training-data",
        )
    folder = data
    try:
        groups = chosen_groups(folder, half)
    except UnreadableFile as error:
        raise typer.BadParameter(str(error), param_hint="--training-data") from error
    network = open_network()
    protocol = protocol_of(network)
    make_folder(out)

    def start(volume: Volume) -> SessionSegmenter:
        return SessionSegmenter(volume, network, protocol.options)

    def run(start: Start, protocol: Protocol) -> list[TargetResult]:
        return play(folder, groups, out, start, protocol, typer.echo)

    try:
        results = run(start, protocol)
        rows = run_baselines(run, protocol.corrections, grow_cut) if baselines else {}
    except (UnreadableFile, PropagationError) as error:
        raise typer.BadParameter(str(error), param_hint="--training-data") from error
    report = write_development(out, protocol, results, groups, rows)
    typer.echo(report.read_text(encoding="utf-8"))
    typer.echo(f"Wrote {report}")


def compare(
    later: Annotated[Path, typer.Argument(help="development.json of a candidate.")],
    earlier: Annotated[Path, typer.Argument(help="development.json that it is compared with.")],
    data: Annotated[
        Path,
        typer.Option("--training-data", envvar="MEMSEG3D_TRAINING_DATA", help="Folder that has DEVELOPMENT.json."),
    ],
) -> None:
    """Compare two runs on the development set target by target: mean over groups, intervals by case."""
    check_exists(later, "LATER")
    check_exists(earlier, "EARLIER")
    check_training_data(data, "--training-data", is_judged_by=True)
    from memseg3d.evaluation.development import chosen_groups
    from memseg3d.evaluation.development_report import comparison, paired, read_dice
    from memseg3d.files import UnreadableFile

    try:
        (ours, protocol), (theirs, other) = read_dice(later), read_dice(earlier)
        found = paired(ours, theirs, chosen_groups(data))
    except (UnreadableFile, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    names = [f"{each.get('model')} {str(each.get('model_sha256'))[:8]}" for each in (protocol, other)]
    typer.echo("\n".join(comparison(names[0], names[1], found)))

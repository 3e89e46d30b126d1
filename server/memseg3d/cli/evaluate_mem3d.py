"""`memseg3d evaluate mem3d`: one prompted slice, memory for the others, and rounds about advised slices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from memseg3d.cli.early_checks import NO_MEM3D, check_is_folder, check_is_mem3d, check_model
from memseg3d.cli.evaluate_extra import require_extra
from memseg3d.cli.evaluate_report import ReportOption, write_reports
from memseg3d.cli.folders import check_folder, make_folder
from memseg3d.cli.networks import DeviceOption, ModelOption, ModelsOption, ThreadsOption, open_network


def mem3d(
    data: Annotated[Path, typer.Option(help="A data set in Mem3D's layout, or any that `memseg3d data check` knows.")],
    out: Annotated[Path, typer.Option(help="Folder of the results; cases found there are not played again.")],
    interaction: Annotated[
        Literal["dextr", "inter", "two_point", "scribble", "hybrid", "mask"],
        typer.Option(help="Network that answers the prompts; mask: the truth of the prompted slice."),
    ] = "dextr",
    refine_time: Annotated[int, typer.Option(min=0, max=50, help="Rounds of correction; the release has 0.")] = 3,
    advice: Annotated[
        Literal["quality", "truth", "random"],
        typer.Option(help="Who chooses the slice of a round: the quality head, the truth (as the release), or chance."),
    ] = "quality",
    cap: Annotated[
        int, typer.Option(min=0, help="Slices that a round corrects at most; 0: all between annotated ones.")
    ] = 5,
    small: Annotated[
        Literal["judged", "fine"], typer.Option(help="Slices of few pixels: as judged, or fine (as the release).")
    ] = "judged",
    extent: Annotated[
        Literal["object", "whole"], typer.Option(help="Slices: those that show the object (as the release), or all.")
    ] = "object",
    prompted: Annotated[
        Literal["one", "every"], typer.Option(help="One slice; or every one, to judge an interaction network alone.")
    ] = "one",
    label: Annotated[int, typer.Option(min=1, help="The label that is segmented.")] = 1,
    layout: Annotated[str | None, typer.Option(help="Read the folder as this layout.")] = None,
    cases: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Save slices as the release does: OUT/MSD, OUT/Results2.")
    ] = False,
    report: ReportOption = False,
    model: ModelOption = None,
    models: ModelsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Mem3D's protocol: prompt one slice, follow the object through the others, correct the slice that is advised.

    Cases that the set keeps for testing, or all. Writes rounds.md, rounds.csv, rounds.json, and with --report one page.
    """
    require_extra()
    check_model(model, models)
    check_folder(out)
    check_is_folder(data, "--data")
    from memseg3d.datasets.door import open_data
    from memseg3d.datasets.errors import DataSetError
    from memseg3d.evaluation.mem3d.cases import chosen_cases, require_label
    from memseg3d.files import UnreadableFile

    try:
        found = open_data(data, layout)
        chosen = chosen_cases(found, cases)
        check_is_mem3d(model, models)
        require_label(chosen, label)
    except (DataSetError, UnreadableFile) as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    from memseg3d.evaluation.mem3d.protocol import Mem3dProtocol
    from memseg3d.evaluation.mem3d.running import require_parts, run_mem3d
    from memseg3d.evaluation.mem3d.slices import saver
    from memseg3d.evaluation.page import command_words
    from memseg3d.evaluation.report import Evaluation, write_report
    from memseg3d.network.mem3d import Mem3dNetwork

    network = open_network(model, models, device, threads, precision="fp32")
    if not isinstance(network, Mem3dNetwork):
        raise typer.BadParameter(NO_MEM3D.format(name=network.info.name), param_hint="--model")
    make_folder(out)
    try:
        protocol = Mem3dProtocol(
            refine_time if prompted == "one" else 0,
            advice,
            network.info.name,
            network.info.sha256,
            interaction=interaction,
            cap=cap,
            small=small,
            extent=extent,
            label=label,
            prompted=prompted,
        )
        try:
            require_parts(network, protocol)
        except DataSetError as error:
            raise typer.BadParameter(str(error), param_hint="--model") from error
        results = run_mem3d(found, out, network, protocol, cases, saver(out, "MSD") if save else None, typer.echo)
    except (DataSetError, UnreadableFile) as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    evaluation = Evaluation(protocol, {advice: results}, judged=False, command=command_words())
    table = write_report(out, evaluation, with_pictures=not report)
    typer.echo(table.read_text(encoding="utf-8"))
    if report:
        write_reports([out], out)

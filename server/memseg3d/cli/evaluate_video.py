"""`memseg3d evaluate video`: SAM 2 for 3D, one prompted slice propagated both ways, cropped or on whole volumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from memseg3d.cli.early_checks import TWO_WINDOWS, check_image_size, check_is_folder, check_model, check_one_window
from memseg3d.cli.evaluate_extra import require_extra
from memseg3d.cli.evaluate_report import ReportOption, write_reports
from memseg3d.cli.folders import check_folder, make_folder
from memseg3d.cli.networks import DeviceOption, ModelOption, ModelsOption, PrecisionOption, ThreadsOption, open_network


def video(
    data: Annotated[Path, typer.Option(help="Folder of a data set in any layout that `memseg3d data check` knows.")],
    out: Annotated[Path, typer.Option(help="Folder of the results; objects found there are not run again.")],
    protocol: Annotated[
        Literal["full", "paper"], typer.Option(help="Whole volumes, or the published crop to the object's slices.")
    ] = "full",
    prompt: Annotated[Literal["mask", "box", "clicks"], typer.Option(help="Given on one slice.")] = "mask",
    place: Annotated[
        Literal["middle", "largest"], typer.Option("--slice", help="Which slice of the object.")
    ] = "middle",
    steps: Annotated[int, typer.Option(min=1, max=50, help="Clicks at most.")] = 5,
    threshold: Annotated[int, typer.Option(min=0, help="Pixels from which the paper's crop keeps a slice.")] = 256,
    merged: Annotated[
        bool | None, typer.Option("--merged/--apart", help="All labels as one object (paper), or each apart (full).")
    ] = None,
    layout: Annotated[str | None, typer.Option(help="Read the set as this layout, whatever is recognised.")] = None,
    report: ReportOption = False,
    model: ModelOption = None,
    models: ModelsOption = None,
    image_size: Annotated[int | None, typer.Option(min=32, help="Side of SAM 2's input in pixels.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """SAM 2 for 3D: prompt one slice of every object, propagate forwards, then backwards, and score the volume.

    Writes video.csv (one line an object) and video.json (protocol, scores, means).
    """
    require_extra()
    check_model(model, models)
    check_folder(out)
    check_is_folder(data, "--data")
    check_image_size(image_size)
    from memseg3d.datasets.door import open_data
    from memseg3d.datasets.errors import DataSetError
    from memseg3d.evaluation.video.protocol import VideoProtocol
    from memseg3d.files import UnreadableFile

    try:
        found = open_data(data, layout)
    except (DataSetError, UnreadableFile) as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    if not any(case.labels for case in found.cases):
        raise typer.BadParameter(f"{data} holds no case with labels to be judged by.", param_hint="--data")
    check_one_window(model, models)
    from memseg3d.evaluation.results import precision_told
    from memseg3d.evaluation.video.running import RESULTS, run_video
    from memseg3d.video.predictor import VideoPredictor

    together = protocol == "paper" if merged is None else merged
    asked = VideoProtocol(protocol, prompt, place, steps, threshold, together)
    try:
        network = open_network(model, models, device, threads, image_size, precision)
        if network.info.channels != 1:
            raise typer.BadParameter(TWO_WINDOWS.format(name=network.info.name), param_hint="--model")
        make_folder(out)
        told: dict[str, Any] = {"name": network.info.name, "sha256": network.info.sha256}
        # What is left out was so in results of earlier versions.
        told |= {"precision": found_in} if (found_in := precision_told(network)) else {}
        told |= {} if image_size is None else {"image_size": image_size}
        table = run_video(found, out, VideoPredictor(network), asked, told, typer.echo)
    except (DataSetError, UnreadableFile) as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    means = json.loads((out / RESULTS).read_text(encoding="utf-8"))["means"]
    typer.echo(", ".join(f"{name} {value:.4f}" for name, value in means.items()))
    typer.echo(f"Wrote {table}")
    if report:
        write_reports([out], out)

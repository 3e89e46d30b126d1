"""`memseg3d segment`: boxes and points on a volume of one's own -> a labelmap and what is known of each segment."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memseg3d.cli.folders import check_folder
from memseg3d.cli.networks import DeviceOption, ModelOption, ModelsOption, ThreadsOption, open_network
from memseg3d.cli.prompt_options import BOX_FORM, POINT_FORM, read_prompts
from memseg3d.cli.segment_output import SegmentResults

if TYPE_CHECKING:
    from memseg3d.files import VolumeFile
    from memseg3d.propagation.options import Options
    from memseg3d.propagation.prompts import Prompt
    from memseg3d.propagation.session import Session
    from memseg3d.propagation.volume import Volume

INPUT = "INPUT"


def segment(
    source: Annotated[Path, typer.Argument(metavar=INPUT, help="NIfTI, NRRD, MHA or .npz file, or a DICOM folder.")],
    out: Annotated[Path, typer.Option(help="Folder for segmentation.nii.gz and segmentation.json.")],
    box: Annotated[
        list[str] | None, typer.Option(help=f"{BOX_FORM}: a box on one slice. Voxel indices from 0, inclusive.")
    ] = None,
    point: Annotated[list[str] | None, typer.Option(help=f"{POINT_FORM}: a point inside (+) or outside (-).")] = None,
    labelmap_format: Annotated[Literal["nii.gz", "nrrd"], typer.Option("--format", help="Of the labelmap.")] = "nii.gz",
    axis: Annotated[
        int | None,
        typer.Option(min=0, max=2, help="Slices of points: 0 (k), 1 (j), 2 (i); else the box's, or 0."),
    ] = None,
    window: Annotated[str | None, typer.Option(help="Grey values shown as black and white: low,high.")] = None,
    series: Annotated[str | None, typer.Option(help="DICOM series by UID, number or description.")] = None,
    model: ModelOption = None,
    models: ModelsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results of an earlier run.")] = False,
) -> None:
    """Segment a volume from boxes and points, one round; every NAME is one segment.

    Names stay on this computer: they are in segmentation.json, the labelmap holds numbers.
    """
    results = SegmentResults(out, labelmap_format)
    check_folder(out)
    if not overwrite and results.existing():
        raise typer.BadParameter(
            f"{out} holds the results of an earlier run; choose another folder, or --overwrite.", param_hint="--out"
        )
    options = _options(window, axis)
    file, volume = _open_volume(source, series)
    prompts, names = read_prompts(box or [], point or [], volume.shape, axis)
    network = open_network(model, models, device, threads)
    results.prepare()
    for note in file.notes:
        typer.echo(note)
    from memseg3d.propagation.session import Session

    session = Session(volume, network, options)
    _run(session, prompts, results)
    results.write(session, names.numbers, file.geometry, network.info)


def _options(window: str | None, axis: int | None) -> Options:
    from memseg3d.propagation.errors import PropagationError
    from memseg3d.propagation.options import Options

    edges = None
    if window is not None:
        try:
            low, high = (float(part) for part in window.split(","))
        except ValueError as error:
            raise typer.BadParameter(f"{window}: write two numbers, low,high.", param_hint="--window") from error
        edges = (low, high)
    try:
        return Options(window=edges, axis=axis)
    except PropagationError as error:
        raise typer.BadParameter(str(error), param_hint="--window") from error


def _open_volume(source: Path, series: str | None) -> tuple[VolumeFile, Volume]:
    from memseg3d.files import UnreadableFile, read_volume
    from memseg3d.propagation.volume import Volume, VolumeError

    try:
        file = read_volume(source, series)
        return file, Volume(file.voxels, file.spacing)
    except (UnreadableFile, VolumeError) as error:
        raise typer.BadParameter(str(error), param_hint=INPUT) from error


def _run(session: Session, prompts: list[Prompt], results: SegmentResults) -> None:
    """One round, shown as a progress bar on stderr."""
    from rich import progress as bars
    from rich.console import Console

    from memseg3d.propagation.events import Progress, RoundDone, SliceDone

    started = time.perf_counter()
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task("first mask", total=None)
        for event in session.begin("round-1", prompts):
            if isinstance(event, SliceDone):
                results.add(event, time.perf_counter() - started)
            elif isinstance(event, Progress):
                shown.update(task, description=event.phase, completed=event.done, total=event.total)
            elif isinstance(event, RoundDone):
                results.close(event)

"""`memseg3d segment`: boxes and points on a volume of one's own -> a labelmap and what is known of each segment."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from memseg3d.cli.folders import check_folder
from memseg3d.cli.networks import DeviceOption, ModelOption, ModelsOption, PrecisionOption, ThreadsOption, open_network
from memseg3d.cli.prompt_options import (
    BOX_FORM,
    LIMITS_FORM,
    LINE_FORM,
    POINT_FORM,
    PromptTexts,
    read_limits,
    read_prompts,
)
from memseg3d.cli.rounds_file import Replay, StoredRounds, read_rounds
from memseg3d.cli.segment_output import Segmented, SegmentResults

if TYPE_CHECKING:
    from memseg3d.files import VolumeFile
    from memseg3d.network.seam import Network
    from memseg3d.propagation.prompts.events import Event
    from memseg3d.propagation.prompts.options import Options
    from memseg3d.propagation.volume.volume import Volume

INPUT = "INPUT"
Follow: TypeAlias = "Callable[[Event], None]"


def segment(
    source: Annotated[Path, typer.Argument(metavar=INPUT, help="NIfTI, NRRD, MHA or .npz file, or a DICOM folder.")],
    out: Annotated[Path, typer.Option(help="Folder for segmentation.nii.gz and segmentation.json.")],
    box: Annotated[
        list[str] | None,
        typer.Option(help=f"{BOX_FORM}: a box on one slice, or in space. Voxel indices from 0, inclusive."),
    ] = None,
    point: Annotated[list[str] | None, typer.Option(help=f"{POINT_FORM}: a point inside (+) or outside (-).")] = None,
    scribble: Annotated[
        list[str] | None, typer.Option(help=f"{LINE_FORM}: a stroke over the segment (+) or over something else (-).")
    ] = None,
    lasso: Annotated[
        list[str] | None,
        typer.Option(help=f"{LINE_FORM}: a closed line round the segment (+) or round none of it (-)."),
    ] = None,
    width: Annotated[float | None, typer.Option(min=0, help="Of scribbles in mm; two voxels otherwise.")] = None,
    limits: Annotated[
        list[str] | None, typer.Option(help=f"{LIMITS_FORM}: slices that the segment stays within, inclusive.")
    ] = None,
    rounds: Annotated[
        Path | None, typer.Option(help="Run the rounds of this document again, instead of prompts given here.")
    ] = None,
    any_volume: Annotated[
        bool, typer.Option("--any-volume", help="With --rounds: also where they were made on another volume.")
    ] = False,
    labelmap_format: Annotated[Literal["nii.gz", "nrrd"], typer.Option("--format", help="Of the labelmap.")] = "nii.gz",
    layers: Annotated[
        bool, typer.Option("--layers", help="One file a segment: where segments overlap, both keep the voxels.")
    ] = False,
    axis: Annotated[
        int | None,
        typer.Option(min=0, max=2, help="Slices of points: 0 (k), 1 (j), 2 (i); else the box's, or 0."),
    ] = None,
    window: Annotated[str | None, typer.Option(help="Grey values shown as black and white: low,high.")] = None,
    memory: Annotated[
        str, typer.Option(help="Policy: default, stm, self_sorting, quality, distractor, motion or tree.")
    ] = "default",
    consensus: Annotated[
        bool, typer.Option("--consensus", help="Propagate along all three axes and let them vote on every voxel.")
    ] = False,
    series: Annotated[
        str | None, typer.Option(help="DICOM series by UID, number or description, or a part by the words of messages.")
    ] = None,
    model: ModelOption = None,
    models: ModelsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results of an earlier run.")] = False,
) -> None:
    """Segment a volume from prompts, one round; every NAME is one segment. Or run exported rounds again.

    Names stay on this computer: they are in segmentation.json, the labelmap holds numbers.
    """
    results = SegmentResults(out, labelmap_format, layers)
    check_folder(out)
    if not overwrite and results.existing():
        raise typer.BadParameter(
            f"{out} holds the results of an earlier run; choose another folder, or --overwrite.", param_hint="--out"
        )
    texts = PromptTexts(box or [], point or [], scribble or [], lasso or [], axis, width)
    chosen = window is not None or limits or memory != "default" or consensus
    if rounds is not None and (chosen or texts != PromptTexts([], [], [], [])):
        raise typer.BadParameter(
            "The rounds bring their own prompts, limits and options; leave the others out.", param_hint="--rounds"
        )
    options = _options(window, axis, memory, consensus)
    # What is mapped from there has been let go of when the folder is deleted.
    with tempfile.TemporaryDirectory(prefix="memseg3d-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        file, volume = _open_volume(source, series, scratch)
        if rounds is not None:
            stored = read_rounds(rounds, file, any_volume)
            job: Callable[[Network, Follow], Segmented] = partial(_run_again, stored, scratch)
            numbers = _numbers_by_name(stored)
        else:
            job, numbers = _one_round(volume, options, texts, limits or [], scratch)
        network = open_network(model, models, device, threads, precision=precision)
        results.prepare()
        for note in file.notes:
            typer.echo(note)
        results.write(_shown(partial(job, network), results), numbers, file.geometry, network.info)
        del file, volume, job


def _one_round(
    volume: Volume, options: Options, texts: PromptTexts, limits: list[str], scratch: Path
) -> tuple[Callable[[Network, Follow], Segmented], dict[str, int]]:
    """What runs the prompts of the command line, and the numbers of its segments by name."""
    from memseg3d.propagation.rounds.session import Session
    from memseg3d.propagation.volume.errors import PropagationError

    prompts, names = read_prompts(texts, volume)
    bounds = read_limits(limits, names, prompts, texts.axis)
    for number, each in bounds.items():
        try:
            each.check(number, volume.shape, [prompt for prompt in prompts if prompt.object == number])
        except PropagationError as error:
            raise typer.BadParameter(str(error), param_hint="--limits") from error

    def run(network: Network, follow: Follow) -> Segmented:
        session = Session(volume, network, options, folder=scratch)
        for event in session.begin("round-1", prompts, limits=bounds):
            follow(event)
        return session

    return run, names.numbers


def _run_again(stored: StoredRounds, scratch: Path, network: Network, follow: Follow) -> Segmented:
    replay = Replay(stored, network, scratch)
    replay.run(follow)
    return replay


def _numbers_by_name(stored: StoredRounds) -> dict[str, int]:
    """The document's objects by name; where two have the same name the number tells them apart."""
    names = list(stored.names.values())
    return {name if names.count(name) == 1 else f"{name} ({number})": number for number, name in stored.names.items()}


def _options(window: str | None, axis: int | None, memory: str, consensus: bool) -> Options:
    from memseg3d.propagation.prompts.options import Options
    from memseg3d.propagation.volume.errors import PropagationError

    edges = None
    if window is not None:
        try:
            low, high = (float(part) for part in window.split(","))
        except ValueError as error:
            raise typer.BadParameter(f"{window}: write two numbers, low,high.", param_hint="--window") from error
        edges = (low, high)
    try:
        Options(memory=memory)
    except PropagationError as error:
        raise typer.BadParameter(str(error), param_hint="--memory") from error
    try:
        return Options(window=edges, axis=axis, memory=memory, consensus=consensus)
    except PropagationError as error:
        raise typer.BadParameter(str(error), param_hint="--window") from error


def _open_volume(source: Path, series: str | None, scratch: Path) -> tuple[VolumeFile, Volume]:
    from memseg3d.files import UnreadableFile, read_volume
    from memseg3d.propagation.volume.volume import Volume, VolumeError

    try:
        file = read_volume(source, series, scratch)
        return file, Volume(file.voxels, file.spacing)
    except (UnreadableFile, VolumeError) as error:
        raise typer.BadParameter(str(error), param_hint=INPUT) from error


def _shown(job: Callable[[Follow], Segmented], results: SegmentResults) -> Segmented:
    """Run the job with a progress bar on stderr."""
    from rich import progress as bars
    from rich.console import Console

    from memseg3d.propagation.prompts.events import Progress, RoundDone, SliceDone

    started = time.perf_counter()
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task("first mask", total=None)

        def follow(event: Event) -> None:
            if isinstance(event, SliceDone):
                results.add(event, time.perf_counter() - started)
            elif isinstance(event, Progress):
                shown.update(task, description=event.phase, completed=event.done, total=event.total)
            elif isinstance(event, RoundDone):
                results.close(event)

        return job(follow)

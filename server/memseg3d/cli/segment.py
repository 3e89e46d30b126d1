"""`memseg3d segment`: prompts on a volume of one's own -> a labelmap, what is known of it, and its session."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memseg3d.cases.gallery import make_pictures
from memseg3d.cases.results import Outcome, ResultFolder
from memseg3d.cli.case_errors import ask, told
from memseg3d.cli.case_options import (
    ApartOption,
    AxisOption,
    BetweenOption,
    BoxOption,
    CoordinatesOption,
    ExtremeOption,
    JsonOption,
    KeySlicesOption,
    LassoOption,
    LimitsOption,
    MaskOption,
    NotOption,
    PointOption,
    PromptsOption,
    PromptTexts,
    QuietOption,
    RangeOption,
    RegionOption,
    ReportOption,
    ScribbleOption,
    WidthOption,
    YesOption,
)
from memseg3d.cli.case_output import Talk, Watch, leave
from memseg3d.cli.early_checks import check_all_exist, check_exists, check_model
from memseg3d.cli.folders import check_folder, make_folder
from memseg3d.cli.limit_options import Asked, LimitTexts, rounds_of
from memseg3d.cli.networks import (
    BackendOption,
    DeviceOption,
    ModelOption,
    ModelsOption,
    PrecisionOption,
    ThreadsOption,
    choose_device,
    open_network,
)
from memseg3d.cli.rounds_file import Replay, StoredRounds, read_rounds
from memseg3d.cli.starting import TorchMeanwhile

if TYPE_CHECKING:
    from memseg3d.cases.documents import SessionDocument
    from memseg3d.cases.drafts import Draft
    from memseg3d.cases.local import Image
    from memseg3d.network.seam import Network
    from memseg3d.propagation.prompts.options import Options

INPUT = "INPUT"


def segment(
    source: Annotated[Path, typer.Argument(metavar=INPUT, help="NIfTI, NRRD, MHA or .npz file, or a DICOM folder.")],
    out: Annotated[Path, typer.Option(help="Folder for segmentation.nii.gz, segmentation.json and session.json.")],
    box: BoxOption = None,
    point: PointOption = None,
    scribble: ScribbleOption = None,
    lasso: LassoOption = None,
    extreme: ExtremeOption = None,
    prompts: PromptsOption = None,
    mask: MaskOption = None,
    coordinates: CoordinatesOption = "kji",
    width: WidthOption = None,
    limits: LimitsOption = None,
    grey_range: RangeOption = None,
    others: NotOption = None,
    between: BetweenOption = None,
    apart: ApartOption = False,
    rounds: Annotated[
        Path | None, typer.Option(help="Run the rounds of this document (session.json) again, instead of prompts.")
    ] = None,
    any_volume: Annotated[
        bool, typer.Option("--any-volume", help="With --rounds: also where they were made on another volume.")
    ] = False,
    labelmap_format: Annotated[Literal["nii.gz", "nrrd"], typer.Option("--format", help="Of the labelmap.")] = "nii.gz",
    layers: Annotated[
        bool, typer.Option("--layers", help="One file a segment: where segments overlap, both keep the voxels.")
    ] = False,
    axis: AxisOption = None,
    window: Annotated[str | None, typer.Option(help="Grey values shown as black and white: low,high.")] = None,
    memory: Annotated[
        str, typer.Option(help="Policy: default, stm, self_sorting, quality, distractor, motion or tree.")
    ] = "default",
    consensus: Annotated[
        bool, typer.Option("--consensus", help="Propagate along all three axes and let them vote on every voxel.")
    ] = False,
    key_slices: KeySlicesOption = False,
    region: RegionOption = "auto",
    series: Annotated[
        str | None, typer.Option(help="DICOM series by UID, number or description, or a part by the words of messages.")
    ] = None,
    model: ModelOption = None,
    models: ModelsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
    backend: BackendOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results of an earlier run.")] = False,
    report: ReportOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Segment a volume from prompts, one round; every NAME is one segment. Or run stored rounds again.

    `memseg3d refine OUT` goes on from there. Names stay on this computer: the labelmap holds numbers.
    """
    results, talk = ResultFolder(out, labelmap_format, layers), Talk(as_json, quiet)
    check_folder(out)
    check_exists(source, INPUT)
    if not overwrite and results.existing():
        raise typer.BadParameter(
            f"{out} holds the results of an earlier run; choose another folder, go on with `memseg3d refine {out}`, or "
            "--overwrite.",
            param_hint="--out",
        )
    texts = PromptTexts(
        box, point, scribble, lasso, extreme, prompts, mask, axis=axis, width=width, coordinates=coordinates
    )
    bounds = LimitTexts(limits, grey_range, others, between, apart)
    chosen = (
        window is not None
        or not bounds.is_empty
        or memory != "default"
        or consensus
        or key_slices
        or region != "auto"
        or axis is not None
        or width is not None
    )
    if rounds is not None and (chosen or not texts.is_empty):
        raise typer.BadParameter(
            "The rounds bring their own prompts, limits and options; leave the others out.", param_hint="--rounds"
        )
    check_model(model, models)
    with told():
        drafts = texts.drafts()
        check_all_exist(texts.label_files, "--mask")
        check_all_exist(bounds.others or (), "--not")
        check_exists(rounds, "--rounds")
        results.check_kept([source, *texts.all_files, *(bounds.others or ())])
    if rounds is None and texts.is_empty:
        raise typer.BadParameter(
            "Nothing to segment: give at least one --box NAME:k0,j0,i0,k1,j1,i1 or --point NAME:+k,j,i."
        )
    options = segment_options(window, axis, memory, consensus, key_slices, region)
    # What is mapped from there has been let go of when the folder is deleted.
    with tempfile.TemporaryDirectory(prefix="memseg3d-", ignore_cleanup_errors=True) as folder, told():
        from memseg3d.cases.local import Image

        torch = TorchMeanwhile(source)
        image = Image.read(source, series, Path(folder))
        watch, chooser = Watch(talk), partial(_network, model, models, device, threads, precision, backend, torch)
        if rounds is not None:
            stored = read_rounds(rounds, image.file, any_volume)
            outcome, document = _run_again(stored, image, chooser, watch, results)
        else:
            outcome, document = _one_round(image, options, texts, drafts, bounds, yes, chooser, watch, results, threads)
        pictures = partial(make_pictures, image, None, report, document)
        leave(results, outcome, document, pictures, talk, texts.order, image.file.notes)
        del image, outcome, pictures


def _network(
    model: str | None,
    models: Path | None,
    device: str,
    threads: int | None,
    precision: PrecisionOption,
    backend: BackendOption,
    torch: TorchMeanwhile,
) -> tuple[Network, str]:
    torch.wait()
    chosen = choose_device(device, threads)
    return open_network(model, models, chosen, precision=precision, backend=backend), chosen


def _one_round(
    image: Image,
    options: Options,
    texts: PromptTexts,
    drafts: list[Draft],
    bounds: LimitTexts,
    yes: bool,
    chooser: partial[tuple[Network, str]],
    watch: Watch,
    results: ResultFolder,
    threads: int | None,
) -> tuple[Outcome, SessionDocument]:
    """The round of the command line, run."""
    from memseg3d.cases.drafts import SegmentNames
    from memseg3d.cases.local import LocalCase
    from memseg3d.cases.questions import questions
    from memseg3d.propagation.prompts.prompts import is_positive
    from memseg3d.propagation.volume.errors import PropagationError

    names = SegmentNames()
    prompts = texts.prompts(drafts, names, image)
    positive = {prompt.object for prompt in prompts if is_positive(prompt)}
    for name, number in names.numbers.items():
        if number not in positive:
            raise typer.BadParameter(f"'{name}' has negative prompts only; add a box or a positive point.")
    rounds = list(rounds_of(Asked(prompts, names.numbers, image.geometry, texts.axis), bounds))
    ask(questions(prompts, names, image.volume, options, texts.order, texts.axis), yes)
    # The document tells it: it takes a moment that is there now, while torch is being imported.
    _ = image.volume.id
    network, device = chooser()
    make_folder(results.folder)
    case = LocalCase.begin(image, network, options, device, threads)
    case.names = names
    try:
        watch.run(lambda follow: [case.run(each.prompts, limits=each.limits, follow=follow) for each in rounds])
    except PropagationError as error:
        raise typer.BadParameter(names.said(error)) from error
    case.seconds = watch.seconds
    return case.outcome(), case.document(results.words)


def _run_again(
    stored: StoredRounds, image: Image, chooser: partial[tuple[Network, str]], watch: Watch, results: ResultFolder
) -> tuple[Outcome, SessionDocument]:
    network, device = chooser()
    make_folder(results.folder)
    replay = Replay(stored, network, image.scratch)
    watch.run(replay.run)
    names = list(stored.names.values())
    # Where two have the same name the number tells them apart.
    numbers = {
        name if names.count(name) == 1 else f"{name} ({number})": number for number, name in stored.names.items()
    }
    document = replay.document(image, numbers, device, results.words)
    outcome = Outcome(replay, numbers, image.geometry, document.model, replay.prompts(), watch.seconds, replay.prompted)
    return outcome, document


def segment_options(
    window: str | None, axis: int | None, memory: str, consensus: bool, key_slices: bool, region: RegionOption
) -> Options:
    """The session's options as the command line says them. Raises `typer.BadParameter`."""
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
        return Options(
            window=edges, axis=axis, memory=memory, consensus=consensus, key_slices=key_slices, region=region
        )
    except PropagationError as error:
        raise typer.BadParameter(str(error), param_hint="--window") from error

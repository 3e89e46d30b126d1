"""`memseg3d refine`: goes on from the session.json of an earlier run: another round, undo, redo, or where to look."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memseg3d.cases.documents import NAME, SessionDocument, read_document
from memseg3d.cases.gallery import make_pictures
from memseg3d.cases.json_files import read_json
from memseg3d.cases.orders import order_named
from memseg3d.cases.results import ResultFolder
from memseg3d.cli.case_errors import REFUSED, ask, told
from memseg3d.cli.case_options import (
    ApartOption,
    AxisOption,
    BetweenOption,
    BoxOption,
    CoordinatesOption,
    ExtremeOption,
    JsonOption,
    LassoOption,
    LimitsOption,
    MaskOption,
    NotOption,
    PointOption,
    PromptsOption,
    PromptTexts,
    QuietOption,
    RangeOption,
    ReportOption,
    ScribbleOption,
    WidthOption,
    YesOption,
)
from memseg3d.cli.case_output import Talk, Watch, leave
from memseg3d.cli.early_checks import check_all_exist, check_model
from memseg3d.cli.limit_options import Asked, LimitTexts, rounds_of
from memseg3d.cli.networks import (
    BackendOption,
    DeviceOption,
    ModelOption,
    ModelsOption,
    Precision,
    PrecisionOption,
    ThreadsOption,
    choose_device,
    open_network,
)
from memseg3d.cli.starting import TorchMeanwhile

if TYPE_CHECKING:
    from memseg3d.cases.drafts import Draft
    from memseg3d.cases.local import LocalCase

OUT = "OUT"


def refine(
    out: Annotated[Path, typer.Argument(metavar=OUT, help="Folder of `memseg3d segment`, with its session.json.")],
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
    axis: AxisOption = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="Take the prompt of this id back (--show lists them).")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last round back.")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Bring the round back that was taken back last.")] = False,
    look: Annotated[bool, typer.Option("--next", help="Print the slice to look at next; compute nothing.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print rounds and prompts; compute nothing.")] = False,
    image: Annotated[Path | None, typer.Option(help="The image, where it does not lie where it did.")] = None,
    model: ModelOption = None,
    models: ModelsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
    backend: BackendOption = "auto",
    report: ReportOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Correct a segmentation: add prompts as another round, or take one back. Everything else in OUT stays as it is.

    memseg3d refine out/case --point liver:+60,70,64
    """
    talk = Talk(as_json, quiet)
    if out.name == NAME and out.is_file():
        out = out.parent
    texts = PromptTexts(
        box, point, scribble, lasso, extreme, prompts, mask, axis=axis, width=width, coordinates=coordinates
    )
    bounds = LimitTexts(limits, grey_range, others, between, apart)
    with told():
        document, order, drafts = read_document(out / NAME), order_named(coordinates), texts.drafts()
        wanted = [not texts.is_empty or bool(remove), undo, redo, look, show]
        if sum(wanted) != 1:
            raise typer.BadParameter("Name one thing to do: prompts (or --remove), --undo, --redo, --next or --show.")
        if not (wanted[0] or bounds.is_empty):
            raise typer.BadParameter("What bounds segments holds for a round: give prompts, or --remove, with it.")
        if look or show:
            (_next if look else _show)(document, out, talk)
            return
        known = {str(prompt["id"]): int(prompt["object"]) for prompt in document.prompts()}
        for each in remove or ():
            if each not in known:
                raise typer.BadParameter(
                    f"There is no prompt {each}; there are: {', '.join(known)}.", param_hint="--remove"
                )
        check_all_exist(texts.label_files, "--mask")
        check_all_exist(bounds.others or (), "--not")
        source = image or (Path(document.image["path"]) if document.image.get("path") else None)
        if source is None or not source.exists():
            where = "The session names no image" if source is None else f"{source} does not exist"
            raise typer.BadParameter(f"{where}; say where the image is now.", param_hint="--image")
        check_model(model, models)
        with tempfile.TemporaryDirectory(prefix="memseg3d-", ignore_cleanup_errors=True) as scratch:
            from memseg3d.cases.local import Image, LocalCase, check_image

            torch = TorchMeanwhile(source)
            read = Image.read(source, document.image.get("series"), Path(scratch), "--image")
            check_image(document, read)
            torch.wait()
            chosen = choose_device(device, threads)
            was: Any = document.model.get("precision")
            wanted_precision: Precision = was if precision == "auto" and was in ("fp32", "bf16", "int8") else precision
            network = open_network(model, models, chosen, precision=wanted_precision, backend=backend)
            case = LocalCase.restore(document, read, network, chosen, threads)
            watch = Watch(talk)
            _step(case, texts, drafts, bounds, {each: known[each] for each in remove or ()}, undo, redo, yes, watch)
            case.seconds = watch.seconds
            results = ResultFolder(out, document.files.get("format", "nii.gz"), document.files.get("layers", False))
            after = case.document(results.words)
            pictures = partial(make_pictures, read, case.session.window, report, after)
            leave(results, case.outcome(), after, pictures, talk, order, read.file.notes)
            del read, case, pictures


def _step(
    case: LocalCase,
    texts: PromptTexts,
    drafts: list[Draft],
    bounds: LimitTexts,
    removed: dict[str, int],
    undo: bool,
    redo: bool,
    yes: bool,
    watch: Watch,
) -> None:
    """What is asked for, done."""
    from memseg3d.cases.questions import questions
    from memseg3d.propagation.volume.errors import PropagationError

    try:
        if undo:
            case.session.undo()
        elif redo:
            case.session.redo()
        else:
            prompts = texts.prompts(drafts, case.names, case.image, case.axes)
            asked = Asked(prompts, case.names.numbers, case.image.geometry, texts.axis, removed, case.axes)
            rounds = list(rounds_of(asked, bounds))
            ask(questions(prompts, case.names, case.image.volume, case.session.options, texts.order, texts.axis), yes)
            watch.run(lambda follow: [case.run(each.prompts, each.removed, each.limits, follow) for each in rounds])
    except PropagationError as error:
        typer.echo(f"memseg3d refine: {case.names.said(error)}", err=True)
        raise typer.Exit(REFUSED) from error


def _next(document: SessionDocument, out: Path, talk: Talk) -> None:
    """The slices to look at, as the side-car of the last round has them."""
    side_car = out / "segmentation.json"
    words = read_json(side_car, "side-car of a labelmap", OUT)
    try:
        found = {each["name"]: each["look_next"] for each in words["segments"]}
        places = {
            name: f"slice {place['index']} ({'kji'[place['axis']]})" if place else "no slice"
            for name, place in found.items()
        }
    except (KeyError, TypeError, IndexError) as error:
        raise typer.BadParameter(f"{side_car} is damaged; run a round again.", param_hint=OUT) from error
    for name, place in places.items():
        talk.answer(f"{name}: {place}")
    talk.result({"look_next": found})


def _show(document: SessionDocument, out: Path, talk: Talk) -> None:
    """Rounds and prompts of the document, in (k, j, i)."""
    for place, one in enumerate(document.rounds, start=1):
        state = "" if place <= document.applied else ", taken back"
        talk.answer(f"round {place}: {len(one['prompts'])} prompts, {len(one['removed'])} removed{state}")
    standing = document.prompts()
    for prompt in standing:
        name = document.names.get(prompt["object"], str(prompt["object"]))
        sign = {True: "+", False: "-"}.get(prompt.get("positive"), "")  # type: ignore[arg-type]
        talk.answer(f"  {prompt['id']}  {name}{sign}  {prompt['type']}  {_where(prompt)}")
    talk.result({"rounds": len(document.rounds), "applied": document.applied, "prompts": standing})


def _where(prompt: dict[str, Any]) -> str:
    """Its place in words: k, j, i."""
    if "position" in prompt:
        places = [prompt["position"]]
    elif "lower" in prompt:
        places = [prompt["lower"], prompt["upper"]]
    elif "points" in prompt:
        places = prompt["points"][:1]
    else:
        return "k, j, i in " + str(prompt["extent"])
    return "k, j, i = " + " to ".join(", ".join(f"{value:g}" for value in place) for place in places)

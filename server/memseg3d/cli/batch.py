"""`memseg3d batch`: many volumes, one after the other; a broken one is told and stops none; a stopped run goes on."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memseg3d.cases.batch_list import BatchCase, cases_of
from memseg3d.cases.batch_report import REPORT, BatchReport, CaseLine, CaseMark, made_from
from memseg3d.cases.errors import CaseError
from memseg3d.cases.results import ResultFolder
from memseg3d.cli.case_errors import FAILED, told
from memseg3d.cli.case_options import (
    AxisOption,
    BoxOption,
    CoordinatesOption,
    JsonOption,
    KeySlicesOption,
    PointOption,
    PromptTexts,
    QuietOption,
    RegionOption,
    ScribbleOption,
    WidthOption,
)
from memseg3d.cli.case_output import Talk
from memseg3d.cli.early_checks import check_model
from memseg3d.cli.folders import check_folder, make_folder, one_run
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
from memseg3d.cli.segment import segment_options

if TYPE_CHECKING:
    from memseg3d.network.seam import Network
    from memseg3d.propagation.prompts.events import Event
    from memseg3d.propagation.prompts.options import Options

log = logging.getLogger(__name__)
KEPT = "Its session.json is not as batch has written it: --overwrite computes it anew and drops the rounds in it."
Texts = list[str] | None


def batch(
    cases: Annotated[
        Path, typer.Argument(metavar="CASES", help="A CSV file with a column `image`, or a folder of volumes.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for one folder a case, as `segment` writes it, and report.csv.")],
    prompts: Annotated[
        Texts, typer.Option(help="FILE or NAME=FILE of prompts; {name} stands for the case: prompts/{name}.json.")
    ] = None,
    mask: Annotated[
        Texts, typer.Option(help="FILE or NAME=FILE, a label file as first prompt: labels/{name}.nii.gz.")
    ] = None,
    box: BoxOption = None,
    point: PointOption = None,
    scribble: ScribbleOption = None,
    coordinates: CoordinatesOption = "kji",
    width: WidthOption = None,
    axis: AxisOption = None,
    window: Annotated[str | None, typer.Option(help="Grey values shown as black and white: low,high.")] = None,
    memory: Annotated[str, typer.Option(help="Policy, as of `segment`.")] = "default",
    consensus: Annotated[bool, typer.Option("--consensus", help="Let three axes vote on every voxel.")] = False,
    key_slices: KeySlicesOption = False,
    region: RegionOption = "auto",
    model: ModelOption = None,
    models: ModelsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
    backend: BackendOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Compute also what is there already.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Segment many volumes by their own prompts, in one process. Run again, it does what is missing or has changed.

    A case that cannot be done is told in report.csv and at the end, and stops none of the others; the exit code is 1
    then.
    """
    talk = Talk(as_json, quiet)
    if not cases.exists():
        raise typer.BadParameter(f"{cases} does not exist; check the path.", param_hint="CASES")
    given = {"prompts": prompts, "mask": mask, "box": box, "point": point, "scribble": scribble}
    check_model(model, models)
    check_folder(out)
    options = segment_options(window, axis, memory, consensus, key_slices, region)
    with told():
        # What is said for all cases is read once: a mistake in it would be each one's.
        PromptTexts(box, point, scribble, coordinates=coordinates, width=width).drafts()
        listed = cases_of(cases, {name: texts for name, texts in given.items() if texts})
    if not any(case.texts for case in listed):
        raise typer.BadParameter("Nothing to segment: give --prompts, --mask, --box or --point, or columns of these.")
    make_folder(out)
    with one_run(out, "--out", "batch"):
        from memseg3d.network.precision import precision_of

        chosen = choose_device(device, threads)
        network = open_network(model, models, chosen, precision=precision, backend=backend)
        settings = {
            "model": network.info.sha256,
            "options": options.to_json(),
            "coordinates": coordinates,
            "width": width,
            "axis": axis,
            "precision": precision_of(network),
        }

        def run(case: BatchCase, follow: Callable[[Event], None]) -> CaseLine:
            folder, source = out / case.name, made_from(case, settings)
            mark = CaseMark(folder)
            if not overwrite:
                if mark.is_others():
                    return CaseLine(case.name, "kept", message=KEPT)
                if (before := mark.result_of(source)) is not None:
                    return before
            texts = PromptTexts(
                boxes=list(case.texts.get("box", ())),
                points=list(case.texts.get("point", ())),
                scribbles=list(case.texts.get("scribble", ())),
                lassos=list(case.texts.get("lasso", ())),
                extremes=list(case.texts.get("extreme", ())),
                files=list(case.texts.get("prompts", ())),
                masks=list(case.texts.get("mask", ())),
                axis=axis,
                width=width,
                coordinates=coordinates,
            )
            results = ResultFolder(folder)
            line = one_case(case, texts, options, network, chosen, threads, results, mark, follow)
            mark.keep(source, line)
            return line

        report = _followed(listed, run, BatchReport(out, {case.name for case in listed}), talk)
    _tell(report, out, talk)


def one_case(
    case: BatchCase,
    texts: PromptTexts,
    options: Options,
    network: Network,
    device: str,
    threads: int | None,
    results: ResultFolder,
    mark: CaseMark,
    follow: Callable[[Event], None],
) -> CaseLine:
    """Compute a case and write it. Raises whatever is wrong with it."""
    from memseg3d.cases.drafts import SegmentNames
    from memseg3d.cases.local import Image, LocalCase
    from memseg3d.propagation.prompts.prompts import is_positive

    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="memseg3d-", ignore_cleanup_errors=True) as folder:
        drafts = texts.drafts()
        image = Image.read(case.image, None, Path(folder))
        names = SegmentNames()
        prompts = texts.prompts(drafts, names, image)
        if not any(is_positive(prompt) for prompt in prompts):
            raise CaseError("There is no prompt that shows a segment.")
        work = LocalCase.begin(image, network, options, device, threads)
        work.names = names
        work.run(prompts, follow=follow)
        document = work.document(results.words)
        mark.expect(document.to_text())
        written = results.write(work.outcome(), document)
        del image, work
    means = [
        sum(each["quality"] for each in segment["slices"]) / len(segment["slices"])
        for segment in written.segments
        if segment["slices"]
    ]
    empty = [segment["name"] for segment in written.segments if not segment["voxels"]]
    return CaseLine(
        case.name,
        "done",
        seconds=round(time.perf_counter() - started, 2),
        segments=len(written.segments),
        millilitres=round(sum(float(segment["mL"]) for segment in written.segments), 3),
        quality=round(min(means), 3) if means else None,
        message=f"Nothing was found for {', '.join(empty)}." if empty else "",
    )


def _followed(
    listed: list[BatchCase],
    run: Callable[[BatchCase, Callable[[Event], None]], CaseLine],
    report: BatchReport,
    talk: Talk,
) -> BatchReport:
    """All cases with a bar on stderr; whatever one of them throws is told and ends nothing."""
    from rich import progress as bars
    from rich.console import Console

    from memseg3d.propagation.prompts.events import Progress

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), disable=talk.is_silent) as bar:
        task = bar.add_task("", total=len(listed))
        for case in listed:

            def follow(event: Event, name: str = case.name) -> None:
                if isinstance(event, Progress) and event.total:
                    bar.update(task, description=f"{name}: {event.done} of {event.total} slices")

            bar.update(task, description=case.name)
            started = time.perf_counter()
            try:
                line = run(case, follow)
            except Exception as error:  # one broken case must not cost the others their night; the report tells it
                log.debug("a case failed", exc_info=True)
                line = CaseLine(case.name, "failed", round(time.perf_counter() - started, 2), message=_said(error))
            report.add(line)
            bar.advance(task)
    return report


def _said(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "The memory does not suffice for this volume."
    return str(error).strip() or type(error).__name__


def _tell(report: BatchReport, out: Path, talk: Talk) -> None:
    counts: dict[str, int] = {}
    for line in report.lines:
        counts[line.status] = counts.get(line.status, 0) + 1
    words: dict[str, Any] = {"folder": str(out), "report": str(out / REPORT), **counts}
    talk.result({**words, "failures": {line.case: line.message for line in report.failed}})
    talk.say(f"{', '.join(f'{count} {status}' for status, count in counts.items())}: {out / REPORT}")
    for line in [each for each in report.lines if each.status in ("failed", "kept")]:
        talk.warn(f"{line.case}: {line.message}")
    if report.failed:
        raise typer.Exit(FAILED)

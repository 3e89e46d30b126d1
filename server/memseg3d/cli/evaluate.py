"""`memseg3d evaluate`: the published protocols on volumes with truth."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memseg3d.cli.case_options import KeySlicesOption, RegionOption
from memseg3d.cli.early_checks import check_exists, check_has_manifest, check_model, check_training_data
from memseg3d.cli.evaluate_baselines import run_baselines
from memseg3d.cli.evaluate_cvpr25 import cvpr25, cvpr25_npz
from memseg3d.cli.evaluate_development import compare, run_development
from memseg3d.cli.evaluate_extra import require_extra
from memseg3d.cli.evaluate_labelmap import labelmap
from memseg3d.cli.evaluate_mem3d import mem3d
from memseg3d.cli.evaluate_memory import memory
from memseg3d.cli.evaluate_report import ReportOption, report, write_reports
from memseg3d.cli.evaluate_video import video
from memseg3d.cli.folders import check_folder, make_folder
from memseg3d.cli.networks import DeviceOption, ModelOption, ModelsOption, PrecisionOption, ThreadsOption, open_network

if TYPE_CHECKING:
    from memseg3d.evaluation.baselines import Agreement
    from memseg3d.evaluation.results import Protocol, TargetResult
    from memseg3d.evaluation.robot import Advice
    from memseg3d.evaluation.rounds import Start
    from memseg3d.network.seam import Network

app = typer.Typer(help="Judge a model on volumes with truth.", no_args_is_help=True)
app.command()(memory)
app.command()(compare)
app.command()(labelmap)
app.command()(mem3d)
app.command()(report)
app.command()(cvpr25)
app.command()(cvpr25_npz)
app.command()(video)

CasesOption = Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")]
TargetsOption = Annotated[list[str] | None, typer.Option(help="Only this case/label; may be repeated.")]
MemoryOption = Annotated[
    str, typer.Option("--memory", help="Policy: default, stm, self_sorting, quality, distractor, motion or tree.")
]
ConsensusOption = Annotated[bool, typer.Option("--consensus", help="Three axes vote on every voxel.")]
PICTURES = ("curves.png", "reliability.png")


@app.callback()
def evaluate() -> None:
    """Judge a model on volumes with truth."""


@app.command()
def rounds(
    out: Annotated[Path, typer.Option(help="Folder of the results; targets found there are not run again.")],
    data: Annotated[
        Path | None,
        typer.Option(envvar="MEMSEG3D_DATA", help="Folder of MANIFEST.json and <case>/image.nii.gz, label.nii.gz."),
    ] = None,
    corrections: Annotated[int, typer.Option(min=0, max=50, help="Clicks after the box.")] = 5,
    advice: Annotated[
        list[str] | None,
        typer.Option(help="Slice to correct: by truth, quality (predicted) or random; may be repeated to compare."),
    ] = None,
    reach: Annotated[
        float | None,
        typer.Option(min=0.01, help="Propagate so many box sides at most; the baselines get 0.6."),
    ] = None,
    cases: CasesOption = None,
    targets: TargetsOption = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Run grow-cut and random walker anew, with the same prompts.")
    ] = False,
    grow_cut: Annotated[
        Path | None, typer.Option(help="Python program that runs grow-cut; else Testing/benchmarks of the checkout.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="Table to compare with; else MEMSEG3D_BASELINES, or ../facts/baselines.csv of the data."),
    ] = None,
    against: Annotated[str, typer.Option(help="Method that gains are over.")] = "A_growcut",
    pictures: Annotated[Path | None, typer.Option(help="Folder that gets copies of the pictures.")] = None,
    development: Annotated[
        bool, typer.Option("--development", help="The development set of --training-data instead of --data.")
    ] = False,
    development_half: Annotated[
        bool, typer.Option("--development-half", help="A fixed half of it, to look at candidates.")
    ] = False,
    training_data: Annotated[
        Path | None,
        typer.Option(envvar="MEMSEG3D_TRAINING_DATA", help="Folder of MANIFEST.json and DEVELOPMENT.json."),
    ] = None,
    policy: MemoryOption = "default",
    consensus: ConsensusOption = False,
    key_slices: KeySlicesOption = False,
    region: RegionOption = "auto",
    page: ReportOption = False,
    model: ModelOption = None,
    models: ModelsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """A robot user draws one box on the largest slice and then clicks into the largest error, round after round.

    Writes rounds.md (tables), rounds.csv, rounds.json, curves.png and reliability.png; with --development (groups of
    real targets for choosing between candidates) development.md and development.json.
    """
    require_extra(baselines)
    check_model(model, models)
    check_exists(table, "--table")
    check_exists(grow_cut, "--grow-cut")
    check_folder(out)
    if development or development_half:
        check_training_data(training_data, "--training-data", is_judged_by=True)
    else:
        check_has_manifest(data, "--data")
    from memseg3d.evaluation.baselines import agreement, find_baselines, read_all_baselines
    from memseg3d.evaluation.page import command_words
    from memseg3d.evaluation.report import Evaluation, write_report
    from memseg3d.evaluation.results import Protocol
    from memseg3d.evaluation.rounds import run_robot, run_rounds
    from memseg3d.evaluation.targets import find_cases
    from memseg3d.files import UnreadableFile
    from memseg3d.propagation.volume.errors import PropagationError

    ways = _ways(advice)
    _check_memory(policy)

    def opened() -> Network:
        return open_network(model, models, device, threads, precision=precision)

    def protocol_of(network: Network, way: Advice = ways[0]) -> Protocol:
        info = network.info
        known = (info.name, info.sha256, reach, policy)
        return Protocol(corrections, way, *known, consensus=consensus, **_how(network, key_slices, region))

    if development or development_half:
        run_development(training_data, out, development_half, opened, protocol_of, baselines, grow_cut)
        return
    if data is None:
        raise typer.BadParameter("Name the folder of cases, or set MEMSEG3D_DATA.", param_hint="--data")
    folder = data
    try:
        found = find_baselines(data, table)
        known = read_all_baselines(found) if found else {}
        if found and against not in known:
            raise UnreadableFile(f"{found} has no rows of the method {against}; it has: {', '.join(known)}.")
    except UnreadableFile as error:
        raise typer.BadParameter(str(error), param_hint="--table") from error
    try:
        find_cases(data, cases)  # a wrong path is told before a network is loaded
    except UnreadableFile as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    network = opened()
    make_folder(out)
    runs = {}
    agreements: list[Agreement] = []

    def run(start: Start, protocol: Protocol) -> list[TargetResult]:
        return run_robot(folder, out, start, protocol, cases, targets, typer.echo)

    try:
        for way in ways:
            runs[way] = run_rounds(data, out, network, protocol_of(network, way), cases, targets, typer.echo)
        if not any(runs.values()):
            raise UnreadableFile(f"No label of {data} is large enough to be a target.")
        if baselines:
            anew = run_baselines(run, corrections, grow_cut)
            compared = [agreement(rows, known.get(name, {})) for name, rows in anew.items()]
            agreements = [each for each in compared if each is not None]
            known = {**known, **anew}
    except (UnreadableFile, PropagationError) as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    protocol = protocol_of(network)
    evaluation = Evaluation(protocol, runs, known, against, agreements, command=command_words())
    written = write_report(out, evaluation)
    _copy_pictures(out, pictures)
    typer.echo(written.read_text(encoding="utf-8"))
    typer.echo(f"Wrote {written}")
    if page:
        write_reports([out], out)


def _how(network: Network, key_slices: bool, region: str) -> dict[str, Any]:
    """What of the way in which slices are computed belongs to a protocol."""
    from memseg3d.evaluation.results import precision_told

    return {"key_slices": key_slices, "region": region, "precision": precision_told(network)}


@app.command("hold-out")
def hold_out(
    out: Annotated[Path, typer.Option(help="Folder of the results; targets found there are not run again.")] = Path(
        "out/hold-out"
    ),
    volumes: Annotated[
        Path | None, typer.Option(help="Folder of the volumes, made there when absent; else OUT/volumes.")
    ] = None,
    corrections: Annotated[int, typer.Option(min=0, max=50, help="Clicks after the box.")] = 2,
    policy: MemoryOption = "default",
    consensus: ConsensusOption = False,
    key_slices: KeySlicesOption = False,
    region: RegionOption = "auto",
    page: ReportOption = False,
    model: ModelOption = None,
    models: ModelsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """The robot user on synthetic volumes that no training saw: how networks are compared while they are made.

    The volumes are written once and then stay: keep their folder to compare networks over time.
    """
    require_extra()
    check_model(model, models)
    check_folder(out)
    from memseg3d.evaluation.page import command_words
    from memseg3d.evaluation.report import Evaluation, write_report
    from memseg3d.evaluation.results import Protocol
    from memseg3d.evaluation.rounds import run_rounds
    from memseg3d.evaluation.targets import read_traits
    from memseg3d.training.synthetic.hold_out import make_hold_out

    _check_memory(policy)
    network = open_network(model, models, device, threads, precision=precision)
    make_folder(out)
    folder = volumes or out / "volumes"
    make_folder(folder, "--volumes")
    make_hold_out(folder, say=typer.echo)
    info = network.info
    known = (info.name, info.sha256, None, policy)
    protocol = Protocol(corrections, "truth", *known, consensus=consensus, **_how(network, key_slices, region))
    results = run_rounds(folder, out, network, protocol, say=typer.echo)
    traits = read_traits(folder)
    evaluation = Evaluation(protocol, {"truth": results}, traits=traits, judged=False, command=command_words())
    written = write_report(out, evaluation)
    typer.echo(written.read_text(encoding="utf-8"))
    typer.echo(f"Wrote {written}")
    if page:
        write_reports([out], out)


def _ways(advice: list[str] | None) -> list[Advice]:
    """The ways to choose slices, each once, in the order in which they were named."""
    from typing import cast, get_args

    from memseg3d.evaluation.robot import Advice

    known = get_args(Advice)
    wrong = [way for way in advice or () if way not in known]
    if wrong:
        choices = ", ".join(repr(way) for way in known)
        raise typer.BadParameter(f"{wrong[0]!r} is not one of {choices}.", param_hint="--advice")
    return cast("list[Advice]", list(dict.fromkeys(advice or ["truth"])))


def _check_memory(policy: str) -> None:
    from memseg3d.propagation.prompts.options import Options
    from memseg3d.propagation.volume.errors import PropagationError

    try:
        Options(memory=policy)
    except PropagationError as error:
        raise typer.BadParameter(str(error), param_hint="--memory") from error


def _copy_pictures(out: Path, folder: Path | None) -> None:
    if folder is None:
        return
    make_folder(folder, "--pictures")
    for name in PICTURES:
        if (out / name).is_file():
            shutil.copyfile(out / name, folder / name)

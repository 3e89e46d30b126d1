"""`memseg3d evaluate cvpr25` and `cvpr25-npz`: the CVPR 2025 challenge's protocol, and volumes as its cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memseg3d.cli.case_errors import FAILED
from memseg3d.cli.early_checks import check_has_manifest, check_is_folder, check_model, check_training_data
from memseg3d.cli.evaluate_extra import require_extra
from memseg3d.cli.folders import check_folder, make_folder
from memseg3d.cli.networks import DeviceOption, ModelsOption, PrecisionOption, ThreadsOption, open_network

if TYPE_CHECKING:
    from memseg3d.evaluation.cvpr25.players import Player
    from memseg3d.evaluation.cvpr25.scoring import CaseScore


def cvpr25(
    out: Annotated[Path, typer.Option(help="Folder of the results; cases found there are not played again.")],
    cases: Annotated[
        Path | None, typer.Option("--cases", help="Folder of the challenge's npz files (3D_val_npz).")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A data folder (MANIFEST.json) instead, turned into cases in OUT/cases first.")
    ] = None,
    development: Annotated[
        bool, typer.Option("--development", help="Of --data, which is the training data, the development set.")
    ] = False,
    truths: Annotated[
        Path | None, typer.Option(help="Folder of npz files with gts; left out: the cases hold their truth.")
    ] = None,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    command: Annotated[
        str | None, typer.Option(help="Judge this command, run in a folder with inputs and outputs, once a round.")
    ] = None,
    docker: Annotated[str | None, typer.Option(help="Judge this container's predict.sh.")] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="With --docker: give it the first GPU.")] = False,
    nsd_always: Annotated[
        bool, typer.Option("--nsd-always", help="Surface Dice also where Dice is 0.2 or less; officially 0.")
    ] = False,
    forget_answers: Annotated[
        bool, typer.Option("--forget-answers", help="A round that fails is empty; officially the last answer counts.")
    ] = False,
    turn_spacing: Annotated[
        bool, typer.Option("--turn-spacing", help="Spacing as (z, y, x); officially (x, y, z) is used as it stands.")
    ] = False,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Name or path of a model, or NETWORK+EXPERT; may be repeated: a row each."),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option("--baselines", help="Rows for grow-cut (a checkout and Slicer's libraries) and random walker."),
    ] = False,
    models: ModelsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Play cases as the official evaluator does: a box, then five clicks into the largest error of every class.

    Writes OUT/<name>-<digest>/<name>_metrics.csv with its columns, and all answers of each case, for every player;
    table.md has a row each. The digest is of the weights or the command, and of how scores are taken. A model of this
    engine plays in this process, anything else by --command or --docker.
    """
    require_extra(False)
    if (cases is None) == (data is None):
        raise typer.BadParameter("Give --cases, or --data (and not both).", param_hint="--cases")
    if development and data is None:
        raise typer.BadParameter("Name the training data by --data.", param_hint="--development")
    if gpu and docker is None:
        raise typer.BadParameter("Name a container by --docker; other models have --device.", param_hint="--gpu")
    check_folder(out)
    for named in model or []:
        check_model(named, models)
    if development:
        check_training_data(data, "--data", is_judged_by=True)
    check_has_manifest(data, "--data")
    check_is_folder(truths, "--truths")
    files = _listed(cases, case or [], truths) if cases is not None else []
    from memseg3d.evaluation.cvpr25.players import CannotPlay, CommandPlayer, DockerPlayer
    from memseg3d.evaluation.cvpr25.running import folder_of, forget, known_cases, play_all, table
    from memseg3d.evaluation.cvpr25.scoring import Quirks
    from memseg3d.files import UnreadableFile

    foreign: dict[str, CommandPlayer] = {}
    try:
        if docker is not None:
            foreign["--docker"] = DockerPlayer(docker, gpu)
        if command is not None:
            foreign["--command"] = CommandPlayer(command)
    except CannotPlay as error:
        hint = "--command" if docker is None or foreign else "--docker"
        raise typer.BadParameter(str(error), param_hint=hint) from error
    make_folder(out)
    if data is not None:
        files = _cases_of(data, development, case or [], out / "cases")
    wanted: list[str | None] = [*(model or [])] or ([] if foreign or baselines else [None])
    quirks = Quirks(-1.0 if nsd_always else 0.2, not forget_answers, not turn_spacing)
    rows: dict[str, list[CaseScore]] = {}

    def play(player: Player) -> None:
        folder = folder_of(out, player, quirks)
        make_folder(folder)
        typer.echo(player.name)
        before = known_cases(folder, player)
        try:
            scores = play_all(files, truths, player, folder, quirks, _tell)
        except UnreadableFile as error:
            raise typer.BadParameter(str(error), param_hint="--cases") from error
        codes = getattr(player, "codes", [])
        if codes and all(codes):
            # Kept, they would count as this command's results once it is mended.
            forget(folder, player, before)
            raise typer.BadParameter(
                f"It failed in each of {len(codes)} rounds (exit code {codes[-1]}): there is nothing to score.",
                param_hint=next(option for option, each in foreign.items() if each is player),
            )
        # two of one name are told apart as their folders are
        rows[folder.name if player.name in rows else player.name] = scores
        (out / "table.md").write_text(table(rows), encoding="utf-8")

    for player in foreign.values():
        play(player)
    for each in wanted:
        from memseg3d.evaluation.cvpr25.engine import EnginePlayer

        play(EnginePlayer(open_network(each, models, device, threads, precision=precision)))
    if baselines:
        _play_baselines(play)
    typer.echo(table(rows))
    late = [f"{score.name} ({name})" for name, scores in rows.items() for score in scores if score.is_late]
    if late:
        typer.echo(f"Longer than 90 s a class, which the challenge scores as 0: {', '.join(late)}")


def _listed(folder: Path, names: list[str], truths: Path | None) -> list[Path]:
    """The npz files of a folder, or those named, with or without their ending; each can be read and has a truth."""
    from memseg3d.evaluation.cvpr25.cases import check_case, check_truth
    from memseg3d.files import UnreadableFile

    check_is_folder(folder, "--cases")
    found = {path.stem: path for path in sorted(folder.glob("*.npz"))}
    if not found:
        raise typer.BadParameter(f"{folder} holds no npz files.", param_hint="--cases")
    wanted = dict.fromkeys(name.removesuffix(".npz") for name in names)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise typer.BadParameter(f"{folder} holds no {', '.join(missing)}.", param_hint="--case")
    files = [found[name] for name in wanted or found]
    hint = "--cases"
    try:
        shapes = {path: check_case(path) for path in files}
        hint = "--truths"
        for path, shape in shapes.items():
            if truths is not None and not (truths / path.name).is_file():
                raise UnreadableFile(f"{truths} holds no {path.name}.")
            check_truth(path if truths is None else truths / path.name, path, shape)
    except UnreadableFile as error:
        raise typer.BadParameter(str(error), param_hint=hint) from error
    return files


def _cases_of(data: Path, development: bool, names: list[str], destination: Path) -> list[Path]:
    """A data folder as cases."""
    from memseg3d.evaluation.cvpr25.from_targets import data_cases, development_set, write_cases
    from memseg3d.files import UnreadableFile

    try:
        found = development_set(data, names) if development else data_cases(data, names)
        files = write_cases(found, destination, say=typer.echo)
    except UnreadableFile as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    if not files:
        raise typer.BadParameter(f"No label of {data} is large enough to be scored.", param_hint="--data")
    return files


def _play_baselines(play: Callable[[Player], None]) -> None:
    from memseg3d.evaluation.classical import GROW_CUT_SHELL, WALKER_SHELL, random_walker
    from memseg3d.evaluation.cvpr25.classical import ClassicalPlayer
    from memseg3d.evaluation.grow_cut import GrowCutProgram, ProgramFailed

    try:
        with GrowCutProgram() as program:
            play(ClassicalPlayer("grow-cut", program.segment, GROW_CUT_SHELL))
    except ProgramFailed as error:
        typer.echo(str(error), err=True)
    play(ClassicalPlayer("random-walker", random_walker, WALKER_SHELL))


def cvpr25_npz(
    source: Annotated[Path, typer.Argument(help="Folder of a data set in any layout that `data check` knows.")],
    destination: Annotated[Path, typer.Argument(help="A new folder, or one where this was stopped.")],
    boxes: Annotated[bool, typer.Option("--boxes/--no-boxes", help="With a box for every class.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of how far boxes are moved outward.")] = 0,
) -> None:
    """Turn volumes with labels into cases of the challenge: imgs in 8 bits, gts, spacing and boxes.

    Ends with 0 where every case was written, 1 where broken ones were left out (each is named).
    """
    import zlib
    from dataclasses import replace

    from memseg3d.datasets.conversion.converting import convert, target_name
    from memseg3d.datasets.conversion.options import Options
    from memseg3d.datasets.door import open_data
    from memseg3d.datasets.errors import DataSetError
    from memseg3d.evaluation.cvpr25.boxes import class_boxes
    from memseg3d.evaluation.cvpr25.cases import read_array, read_case, write_case
    from memseg3d.files import UnreadableFile

    check_is_folder(source, "SOURCE")
    check_folder(destination, "DESTINATION")
    try:
        record = convert(open_data(source, None, None, None), destination, target_name("cvpr25"), Options())
        for path in sorted(destination.glob("3D_*_npz/*.npz")) if boxes else []:
            made = read_case(path)
            apart = destination / "3D_val_gt" / path.name
            truth = read_array(apart, "gts") if made.gts is None and apart.is_file() else made.gts
            if truth is not None and made.boxes is None:
                drawn = class_boxes(truth, seed + zlib.crc32(path.stem.encode()))
                write_case(path, replace(made, boxes=drawn))
    except (DataSetError, UnreadableFile) as error:
        raise typer.BadParameter(str(error), param_hint="SOURCE") from error
    typer.echo(f"{len(record.cases)} cases are in {destination}.")
    for name, why in record.skipped.items():
        typer.echo(f"Left out: {name}: {why}")
    if record.skipped:
        raise typer.Exit(FAILED)


def _tell(score: CaseScore) -> None:
    rounds = " ".join(f"{each.dsc:.3f}" for each in score.rounds)
    areas = f"AUC {score.dsc_auc:.3f}, NSD AUC {score.nsd_auc:.3f}"
    typer.echo(f"{score.name}: DSC {rounds}; {areas}; {score.seconds:.1f} s")

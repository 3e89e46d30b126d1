"""`memseg3d train global-expert` and `local-expert`: DualClickMed's two networks on npz cases or synthetic volumes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memseg3d.cli.early_checks import check_exists
from memseg3d.cli.folders import check_folder, one_run
from memseg3d.cli.networks import DeviceOption, ThreadsOption, choose_device

if TYPE_CHECKING:
    from memseg3d.training.experts.begin import ExpertRequest

DataOption = Annotated[
    Path | None,
    typer.Option(help="A set in any layout that `memseg3d data check` knows, such as the challenge's 3D_train_npz."),
]
SyntheticOption = Annotated[bool, typer.Option("--synthetic", help="Generated volumes instead of --data.")]
FolderOption = Annotated[Path, typer.Option(help="Where the run is kept, resumed from, and its model written.")]
SizeOption = Annotated[
    Literal["published", "small", "tiny"],
    typer.Option(help="Widths of fresh weights: as published; for CPUs; or just enough to try a command."),
]
InitialOption = Annotated[
    Path | None, typer.Option("--model", help="Path or name of a checkpoint of the same layout to begin from.")
]
StepsOption = Annotated[int | None, typer.Option(min=1, help="Steps of the optimiser, instead of epochs.")]
MendedOption = Annotated[
    bool,
    typer.Option("--mended/--as-published", help="Without the release's mistakes, or with them (docs/experts.md)."),
]
ScheduleOption = Annotated[Literal["milestones", "cosine"], typer.Option(help="How learning rates fall.")]
SaveOption = Annotated[float, typer.Option(min=0.0, help="Minutes between two states.")]
JudgeOption = Annotated[int, typer.Option(min=1, help="Steps between two looks at held-out targets.")]
EpochsOption = Annotated[
    int | None, typer.Option(min=1, help="Times that every class of every case is seen; 144 (global), 20 (local).")
]
SkipBrokenOption = Annotated[bool, typer.Option("--skip-broken", help="Leave broken cases out and name them.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of weights, samples and clicks.")]
CurvesOption = Annotated[bool, typer.Option(help="Curves in FOLDER/tensorboard, where it is installed.")]
StopOption = Annotated[int | None, typer.Option(min=1, help="End after so many steps; go on by the same words.")]


def global_expert(
    data: DataOption = None,
    synthetic: SyntheticOption = False,
    folder: FolderOption = Path("runs/global-expert"),
    size: SizeOption = "published",
    initial: InitialOption = None,
    epochs: EpochsOption = None,
    steps: StepsOption = None,
    batch: Annotated[int, typer.Option(min=1, help="Cubes at once, for each process.")] = 4,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches whose gradients make one step.")] = 8,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Of the image encoder.")] = 8e-4,
    other_rate: Annotated[float, typer.Option(min=0.0, help="Of prompt encoder and mask decoder.")] = 8e-5,
    candidates: Annotated[int, typer.Option(min=1, help="Clicks that are tried at once.")] = 6,
    clicks: Annotated[int, typer.Option(min=1, help="Rounds of clicks after the first answer.")] = 5,
    schedule: ScheduleOption = "milestones",
    mended: MendedOption = True,
    skip_broken: SkipBrokenOption = False,
    seed: SeedOption = 1,
    save_minutes: SaveOption = 10.0,
    judge_every: JudgeOption = 500,
    stop_after: StopOption = None,
    tensorboard: CurvesOption = True,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Train the global expert: SAM-Med3D's network on cubes of 64 voxels scaled to the object's box.

    The folder holds state.pt (the same command resumes to the step), log.jsonl and global-expert.safetensors, which
    `--model` takes everywhere. Start it by torchrun for several devices.
    """
    chosen = _epochs(data, synthetic, epochs, steps, 144)
    check_folder(folder, "--folder")
    from memseg3d.evaluation.page import command_words
    from memseg3d.training.experts.begin import ExpertRequest
    from memseg3d.training.experts.settings import ExpertSettings

    settings = ExpertSettings(
        kind="global",
        steps=steps or 20_000,
        batch=batch,
        accumulate=accumulate,
        learning_rate=learning_rate,
        other_rate=other_rate,
        candidates=candidates,
        rounds=clicks,
        schedule=schedule,
        mended=mended,
        seed=seed,
    )
    place, command = choose_device(device, threads), command_words()
    request = ExpertRequest(folder, data, settings, size, initial, chosen, place, command, skip_broken, tensorboard)
    run_request(request, save_minutes, judge_every, stop_after)


def local_expert(
    data: DataOption = None,
    synthetic: SyntheticOption = False,
    folder: FolderOption = Path("runs/local-expert"),
    size: SizeOption = "published",
    initial: InitialOption = None,
    epochs: EpochsOption = None,
    steps: StepsOption = None,
    batch: Annotated[int, typer.Option(min=1, help="Patches at once, for each process.")] = 1,
    side: Annotated[int, typer.Option(min=4, help="Voxels of a patch along each side.")] = 128,
    learning_rate: Annotated[
        float | None, typer.Option(min=0.0, help="2e-7 with --model, as published; 2e-4 for fresh weights.")
    ] = None,
    clicks: Annotated[int, typer.Option(min=1, help="Clicks of a sample.")] = 5,
    schedule: ScheduleOption = "cosine",
    mended: MendedOption = True,
    skip_broken: SkipBrokenOption = False,
    seed: SeedOption = 1,
    save_minutes: SaveOption = 10.0,
    judge_every: JudgeOption = 500,
    stop_after: StopOption = None,
    tensorboard: CurvesOption = True,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Train the local expert: VISTA3D's point branch on patches around clicks.

    Mended, it is shown the previous mask and maps of the clicks as well; each click lies in the last answer's error.
    The folder holds state.pt (the same command resumes to the step), log.jsonl and local-expert.safetensors.
    """
    chosen = _epochs(data, synthetic, epochs, steps, 20)
    check_folder(folder, "--folder")
    from memseg3d.evaluation.page import command_words
    from memseg3d.training.experts.begin import ExpertRequest
    from memseg3d.training.experts.settings import ExpertSettings

    settings = ExpertSettings(
        kind="local",
        steps=steps or 20_000,
        batch=batch,
        accumulate=1,
        learning_rate=(2e-4 if initial is None else 2e-7) if learning_rate is None else learning_rate,
        weight_decay=1e-5,
        rounds=clicks,
        schedule=schedule,
        side=side,
        mended=mended,
        seed=seed,
    )
    place, command = choose_device(device, threads), command_words()
    request = ExpertRequest(folder, data, settings, size, initial, chosen, place, command, skip_broken, tensorboard)
    run_request(request, save_minutes, judge_every, stop_after)


def run_request(
    request: ExpertRequest, save_minutes: float = 10.0, judge_every: int = 500, stop_after: int | None = None
) -> None:
    """The whole run; what keeps it from going on is told as a sentence, with exit status 2."""
    from memseg3d.training.experts.begin import REFUSALS, facts_of, open_expert_run

    check_folder(request.folder, "--folder")
    with one_run(request.folder):
        try:
            run = open_expert_run(request, typer.echo)
            first = run.processes.is_first
            if first:
                typer.echo(f"Training in {request.folder} from step {run.step} to {run.settings.steps}.")
            model = run.run(facts_of(request), save_minutes, judge_every, stop_after)
            run.processes.leave()
        except (*REFUSALS, ValueError) as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from error
    if first:
        typer.echo(f"Model: {model}")


def _epochs(data: Path | None, synthetic: bool, epochs: int | None, steps: int | None, default: int) -> int | None:
    """The epochs to train for; None where steps are counted. Raises `typer.BadParameter` for what would be ignored."""
    if synthetic == (data is not None):
        raise typer.BadParameter("Give a data set, or --synthetic (and not both).", param_hint="--data")
    check_exists(data, "--data")
    if epochs is not None and (synthetic or steps is not None):
        other = "Generated volumes have no epochs: give --steps." if synthetic else "Give --epochs, or --steps."
        raise typer.BadParameter(other, param_hint="--epochs")
    return None if synthetic or steps is not None else epochs or default

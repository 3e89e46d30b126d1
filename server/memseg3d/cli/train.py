"""`memseg3d train`: make the embedded network's weights, look at what it is taught, publish."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from memseg3d.cli.early_checks import (
    OverwriteOption,
    check_exists,
    check_is_folder,
    check_is_new,
    check_picture,
    check_training_data,
)
from memseg3d.cli.folders import check_folder, make_folder, one_run
from memseg3d.cli.networks import DeviceOption, choose_device
from memseg3d.cli.train_boxes import boxes
from memseg3d.cli.train_experts import global_expert, local_expert
from memseg3d.cli.train_mem3d import mem3d
from memseg3d.cli.train_sam2 import finetune, memrefine
from memseg3d.network.models import DEFAULT_MODEL

app = typer.Typer(help="Train networks.", no_args_is_help=True)
app.command()(boxes)
app.command()(memrefine)
app.command()(finetune)
app.command()(mem3d)
app.command()(global_expert)
app.command()(local_expert)


@app.callback()
def train() -> None:
    """Train networks."""


@app.command()
def nano(
    folder: Annotated[Path, typer.Option(help="Where the run is kept and resumed from.")] = Path("runs/nano"),
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps in all.")] = 6000,
    single_steps: Annotated[int, typer.Option(min=0, help="Steps of stage one: single slices.")] = 1200,
    decay_steps: Annotated[int, typer.Option(min=1, help="Last steps, over which the learning rate falls.")] = 1500,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Learning rate before it falls.")] = 6e-4,
    seed: Annotated[int, typer.Option(min=0, help="Seed of volumes, prompts and weights.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Clips of a batch, for each process.")] = 6,
    length: Annotated[int, typer.Option(min=2, max=40, help="Slices of a clip: memory is tracked through them.")] = 5,
    single_batch: Annotated[int, typer.Option(min=1, help="Slices of a batch where single slices are trained.")] = 16,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches whose gradients make one step.")] = 1,
    precision: Annotated[
        Literal["auto", "bf16", "fp32"], typer.Option(help="What is multiplied in; auto: what the device is faster in.")
    ] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the network.")] = 2,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make synthetic volumes.")] = 1,
    cache_volumes: Annotated[
        int, typer.Option(min=0, help="Keep the clips of so many volumes on disk and show them again, changed.")
    ] = 0,
    states: Annotated[
        bool, typer.Option("--states", help="Learn from FOLDER/states as well, which `memseg3d train states` fills.")
    ] = False,
    light_state: Annotated[
        bool, typer.Option("--light-state", help="A state of a quarter of the size, without the optimiser's moments.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Begin where the run that wrote these weights had come to, in a new folder.")
    ] = None,
    save_minutes: Annotated[float, typer.Option(min=0.0, help="Minutes between two states.")] = 4.0,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between two looks at the hold-out.")] = 500,
    data: Annotated[
        Path | None,
        typer.Option(envvar="MEMSEG3D_TRAINING_DATA", help="Folder of real label maps and images to learn from."),
    ] = None,
    shapes: Annotated[float, typer.Option(min=0, max=1, help="Share of the volumes with real label maps.")] = 0.25,
    pictures: Annotated[float, typer.Option(min=0, max=1, help="Share of the volumes that are real images.")] = 0.15,
    teacher_steps: Annotated[
        int, typer.Option(min=1, help="Steps after stage one with memories of the truth among the network's own.")
    ] = 1500,
    tensorboard: Annotated[bool, typer.Option(help="Curves in FOLDER/tensorboard, where it is installed.")] = True,
    device: DeviceOption = "cpu",
) -> None:
    """Train the embedded network: single slices first, then clips with memory and corrections among them.

    Volumes are synthetic; with --data real label maps and images that its manifest allows for weights come to them.

    The folder holds state.pt (resumes to the step), the averaged weights as safetensors, and log.jsonl. Start it by
    torchrun for several devices.
    """
    check_folder(folder, "--folder")
    check_training_data(data, "--data")
    check_exists(weights, "--weights")
    import torch

    from memseg3d.files import UnreadableFile
    from memseg3d.network.nano import MAPS, NanoConfig
    from memseg3d.network.precision import fastest_name
    from memseg3d.training.clips.clips import ClipSettings
    from memseg3d.training.nano.loop import HOLD_OUT_SEED, Trainer, TrainSettings
    from memseg3d.training.running.logs import LOG
    from memseg3d.training.running.preflight import CannotTrain

    if seed == HOLD_OUT_SEED:
        raise typer.BadParameter("This seed is the hold-out's: choose another one.", param_hint="--seed")
    chosen = choose_device(device)
    settings = TrainSettings(
        steps=steps,
        single_steps=single_steps,
        decay_steps=min(decay_steps, steps),
        batch=batch,
        accumulate=accumulate,
        single_batch=single_batch,
        learning_rate=learning_rate,
        precision=fastest_name(torch.device(chosen)) if precision == "auto" else precision,
        seed=seed,
        threads=threads,
        workers=workers,
        cache_volumes=cache_volumes,
        states=states,
        light_state=light_state,
        tensorboard=tensorboard,
        save_minutes=save_minutes,
        validate_every=validate_every,
        teacher_steps=teacher_steps,
        clips=ClipSettings(length=length, slices=length + 2, shapes=shapes, pictures=pictures),
    )
    if weights is not None and (folder / "state.pt").is_file():
        raise typer.BadParameter(f"{folder} holds a run already: name a new folder.", param_hint="--weights")
    with one_run(folder):
        try:
            trainer = Trainer(folder, NanoConfig(maps=MAPS), settings, chosen, weights, data)
        except UnreadableFile as error:
            raise typer.BadParameter(str(error), param_hint="--data") from error
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--weights") from error
        first = trainer.processes.is_first
        if trainer.step >= steps:
            typer.echo(f"The run is at step {trainer.step} of {steps} already: ask for more --steps.")
        elif first:
            log = folder / LOG
            typer.echo(
                f"Training in {folder} from step {trainer.step} to {steps} in {settings.precision}; the log is {log}."
            )
        try:
            trainer.run(typer.echo)
        except CannotTrain as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from error
        if first:
            typer.echo(f"Weights: {folder / (trainer.network.config.name + '.safetensors')}")


@app.command()
def sheet(
    out: Annotated[Path, typer.Option(help="The picture.")] = Path("docs/synthetic.png"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the volumes shown.")] = 5,
) -> None:
    """Draw a page of examples: every kind of synthetic volume with its target outlined."""
    if find_spec("matplotlib") is None:
        typer.echo("memseg3d train sheet needs matplotlib: pip install 'memseg3d[report]'.", err=True)
        raise typer.Exit(1)
    check_picture(out)
    from memseg3d.training.synthetic.sheet import draw_sheet

    make_folder(out.parent)
    typer.echo(f"Wrote {draw_sheet(out, seed)}")


@app.command()
def states(
    folder: Annotated[Path, typer.Option(help="Folder of the run, whose weights play and whose states are filled.")],
    data: Annotated[
        Path | None,
        typer.Option(envvar="MEMSEG3D_TRAINING_DATA", help="Folder of real label maps and images to learn from."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="States to make; those of the same numbers are replaced.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="Seed of volumes and prompts.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the network.")] = 1,
) -> None:
    """Play sessions with a run's weights, beside the run, and leave their states for it to learn from."""
    weights = folder / "memseg3d-nano.safetensors"
    if not weights.is_file():
        raise typer.BadParameter(f"There are no weights in {folder} yet: train first.", param_hint="--folder")
    check_training_data(data, "--data")
    from memseg3d.cli.networks import open_network
    from memseg3d.datasets.training_data import training_cases
    from memseg3d.training.clips.play_states import fill_states

    cases = training_cases(data) if data else []
    made = fill_states(folder, open_network(str(weights), None, "cpu", threads), cases, seed, count, typer.echo)
    typer.echo(f"{made} states in {folder / 'states'}")


@app.command("clip-sheet")
def clip_sheet(
    out: Annotated[Path, typer.Option(help="The picture.")] = Path("docs/clips.png"),
    data: Annotated[
        Path | None,
        typer.Option(envvar="MEMSEG3D_TRAINING_DATA", help="Folder of real label maps and images to learn from."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the clips shown.")] = 5,
) -> None:
    """Draw a page of clips: what the network is shown with every kind of first prompt, from every source."""
    if find_spec("matplotlib") is None:
        typer.echo("memseg3d train clip-sheet needs matplotlib: pip install 'memseg3d[report]'.", err=True)
        raise typer.Exit(1)
    check_picture(out)
    check_training_data(data, "--data")
    from memseg3d.datasets.training_data import training_cases

    cases = training_cases(data) if data else []
    from memseg3d.training.clips.sheet import draw_clips

    make_folder(out.parent)
    typer.echo(f"Wrote {draw_clips(out, seed, cases)}")


@app.command()
def mean(
    first: Annotated[Path, typer.Argument(help="Weights of a run.")],
    second: Annotated[Path, typer.Argument(help="Later weights of the same run.")],
    into: Annotated[Path, typer.Option(help="The file to write.")],
    overwrite: OverwriteOption = False,
) -> None:
    """Write the mean of two checkpoints of one run, which forgets less of the first than the second does."""
    check_exists(first, "FIRST")
    check_exists(second, "SECOND")
    if into.resolve() in (first.resolve(), second.resolve()):
        raise typer.BadParameter(f"{into} is one of the two: name a new file.", param_hint="--into")
    check_is_new([into], overwrite, "--into")
    from memseg3d.training.nano.weights import save_mean

    try:
        save_mean(first, second, into)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"Wrote {into}")


@app.command()
def release(
    folder: Annotated[Path, typer.Option(help="Folder of the training run.")] = Path("runs/nano"),
    models: Annotated[Path, typer.Option(help="Where the weights and their card go.")] = Path("Resources/Models"),
    note: Annotated[str, typer.Option(help="How the run differed from its command, for the card.")] = "",
    hold_out: Annotated[
        Path | None, typer.Option(help="rounds.json of `memseg3d evaluate hold-out` with these weights, for the card.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(envvar="MEMSEG3D_TRAINING_DATA", help="The real data that the run was given, for the card."),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Publish a run: copy its weights into the models' folder and write their card."""
    check_is_folder(folder, "--folder")
    if not (folder / f"{DEFAULT_MODEL}.safetensors").is_file():
        raise typer.BadParameter(f"There are no weights in {folder}: train first.", param_hint="--folder")
    check_exists(hold_out, "--hold-out")
    check_is_new([models / f"{DEFAULT_MODEL}{suffix}" for suffix in (".safetensors", ".json")], overwrite, "--models")
    from memseg3d.training.nano.release import ReleaseError
    from memseg3d.training.nano.release import release as publish

    try:
        typer.echo(f"Wrote {publish(folder, models, note, hold_out=hold_out, data=data)}")
    except ReleaseError as error:
        raise typer.BadParameter(str(error), param_hint="--folder") from error


if __name__ == "__main__":
    app()

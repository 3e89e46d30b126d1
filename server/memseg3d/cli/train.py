"""`memseg3d train nano`: make the embedded network's weights from synthetic volumes alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from memseg3d.cli.folders import make_folder
from memseg3d.cli.networks import DeviceOption, choose_device

app = typer.Typer(help="Train networks.", no_args_is_help=True)


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
    seed: Annotated[int, typer.Option(help="Seed of volumes, prompts and weights.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Clips of a step.")] = 6,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the network.")] = 2,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make synthetic volumes.")] = 1,
    device: DeviceOption = "cpu",
) -> None:
    """Train the embedded network on synthetic volumes: single slices first, then clips with memory and corrections.

    The folder holds state.pt (resumes to the step), the averaged weights as safetensors, and log.jsonl.
    """
    from memseg3d.network.nano import NanoConfig
    from memseg3d.training.loop import HOLD_OUT_SEED, Trainer, TrainSettings

    if seed == HOLD_OUT_SEED:
        raise typer.BadParameter("This seed is the hold-out's: choose another one.", param_hint="--seed")
    make_folder(folder, "--folder")
    if decay_steps > steps:
        decay_steps = steps
    settings = replace(
        TrainSettings(),
        steps=steps,
        single_steps=single_steps,
        decay_steps=decay_steps,
        learning_rate=learning_rate,
        seed=seed,
        batch=batch,
        threads=threads,
        workers=workers,
    )
    trainer = Trainer(folder, NanoConfig(), settings, choose_device(device))
    typer.echo(f"Training in {folder} from step {trainer.step} to {steps}; the log is {folder / 'log.jsonl'}.")
    trainer.run()
    typer.echo(f"Weights: {folder / (trainer.network.config.name + '.safetensors')}")


@app.command()
def release(
    folder: Annotated[Path, typer.Option(help="Folder of the training run.")] = Path("runs/nano"),
    models: Annotated[Path, typer.Option(help="Where the weights and their card go.")] = Path("Resources/Models"),
    note: Annotated[str, typer.Option(help="How the run differed from its command, for the card.")] = "",
) -> None:
    """Publish a run: copy its weights into the models' folder and write their card."""
    from memseg3d.training.release import ReleaseError
    from memseg3d.training.release import release as publish

    try:
        typer.echo(f"Wrote {publish(folder, models, note)}")
    except ReleaseError as error:
        raise typer.BadParameter(str(error), param_hint="--folder") from error


if __name__ == "__main__":
    app()

"""`memseg3d train boxes`: the embedded network's decoder for boxes that leave room about their object."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memseg3d.cli.early_checks import check_exists, check_training_data
from memseg3d.cli.folders import check_folder, one_run


def boxes(
    weights: Annotated[Path, typer.Option(help="Weights of the embedded network that the decoder is for.")],
    folder: Annotated[Path, typer.Option(help="Where the run is kept and resumed from.")] = Path("runs/boxes"),
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps in all.")] = 2600,
    decay_steps: Annotated[int, typer.Option(min=1, help="Last steps, over which the learning rate falls.")] = 900,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Learning rate before it falls.")] = 5e-4,
    batch: Annotated[int, typer.Option(min=1, help="Boxes of a step.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Seed of volumes and boxes.")] = 1,
    data: Annotated[
        Path | None,
        typer.Option(envvar="MEMSEG3D_TRAINING_DATA", help="Folder of real label maps and images to learn from."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the network.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make volumes.")] = 0,
) -> None:
    """Train a decoder for boxes with room; all other weights stay as they are. Stop it and start it at will."""
    check_exists(weights, "--weights")
    check_training_data(data, "--data")
    check_folder(folder, "--folder")
    import torch

    from memseg3d.files import UnreadableFile
    from memseg3d.training.nano.roomy import RoomySettings, RoomyTrainer
    from memseg3d.training.running.preflight import CannotTrain

    torch.set_num_threads(threads)
    settings = RoomySettings(steps, decay_steps, batch, learning_rate, seed=seed, workers=workers)
    with one_run(folder):
        try:
            trainer = RoomyTrainer(folder, weights, settings, data)
            typer.echo(f"Training in {folder} from step {trainer.step} to {steps}.")
            trainer.run(typer.echo)
        except UnreadableFile as error:
            raise typer.BadParameter(str(error), param_hint="--data") from error
        except CannotTrain as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from error
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--weights") from error
        typer.echo(f"Weights: {trainer.file}. Fit the rule that says when the decoder is meant: fit_boxes.py.")

"""`memseg3d train mem3d`: Mem3D's networks, stage by stage, into one model that the worker serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from memseg3d.cli.early_checks import check_exists
from memseg3d.cli.folders import check_folder
from memseg3d.cli.networks import DeviceOption, choose_device


def mem3d(
    stage: Annotated[Literal["interaction", "memory", "quality"], typer.Option(help="What is learnt.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of MSD/TaskNN_origin or KiTS/origin, or any set that `memseg3d data check` knows."),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the run is kept, resumed from, and its model written.")] = Path(
        "runs/mem3d"
    ),
    network: Annotated[
        Literal["dextr", "inter", "two_point", "scribble", "hybrid"], typer.Option(help="Of --stage interaction.")
    ] = "dextr",
    task: Annotated[int, typer.Option(min=1, max=99, help="The number in TaskNN.")] = 10,
    label: Annotated[int, typer.Option(min=1, help="The label that is learnt.")] = 1,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Generated volumes, seen through regions, instead of --data.")
    ] = False,
    size: Annotated[
        Literal["published", "small", "tiny"],
        typer.Option(help="Widths: as published; about 2 million parameters; or just enough to try a command."),
    ] = "published",
    image_size: Annotated[int, typer.Option(min=32, help="Pixels of a side that the networks see.")] = 512,
    epochs: Annotated[int | None, typer.Option(min=1, help="400 for memory and quality, 200 for interaction.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="2 clips for memory and quality, 5 slices else.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=0.0, help="1e-5 for memory and quality; 1e-8 (heads ten times that) else.")
    ] = None,
    decoder: Annotated[Literal["aspp", "plain"], typer.Option(help="Mem3D's, or STM's own.")] = "aspp",
    quality_head: Annotated[
        Literal["release", "figure"], typer.Option(help="As in the release, or as the paper draws it.")
    ] = "release",
    initial: Annotated[
        Path | None, typer.Option(help="Weights to begin from by key: STM (YouTube-VOS) or Mem3D.")
    ] = None,
    backbone: Annotated[Path | None, typer.Option(help="A ResNet of torchvision's names to begin from.")] = None,
    norms: Annotated[
        Literal["auto", "frozen", "batch"],
        typer.Option(help="Statistics of batch norms: kept (as the release), or learnt; auto: kept with --initial."),
    ] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option(help="What is multiplied in; auto: what the device is faster in. Published: fp32."),
    ] = "fp32",
    average_decay: Annotated[
        float, typer.Option(min=0.0, max=0.9999, help="Write a moving average of the weights (0.998, say); 0: none.")
    ] = 0.0,
    tensorboard: Annotated[bool, typer.Option(help="Curves in FOLDER/tensorboard, where it is installed.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, clips and prompts.")] = 1,
    stop_after: Annotated[
        int | None, typer.Option(min=1, help="End after so many steps; go on by the same words.")
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Train a part of Mem3D: an interaction network, the memory network, or memory and quality head together.

    FOLDER/mem3d.safetensors holds every part that the folder has; `memseg3d segment --model` and the worker take it.
    Start it by torchrun for several devices: every process takes batches of its own.
    """
    if synthetic == (data is not None):
        raise typer.BadParameter("Give a data set, or --synthetic (and not both).", param_hint="--data")
    check_exists(data, "--data")
    check_exists(backbone, "--backbone")
    check_folder(folder, "--folder")
    import torch

    from memseg3d.evaluation.page import command_words
    from memseg3d.network.precision import fastest_name
    from memseg3d.training.mem3d.begin import SIZES, Sources, interaction_stage, memory_stage
    from memseg3d.training.mem3d.objects import open_task
    from memseg3d.training.mem3d.run import run_stage
    from memseg3d.training.mem3d.settings import InteractionSettings, MemorySettings
    from memseg3d.training.mem3d.stages import Stage
    from memseg3d.training.running.one_run import one_run
    from memseg3d.training.running.parallel import Processes

    processes = Processes(torch.device(choose_device(device)))
    computed_in = fastest_name(processes.device) if precision == "auto" else precision
    sources = Sources(initial, backbone)
    begun: Stage
    with sentences(), one_run(folder):
        found = open_task(data, task=task) if data is not None else None
        if stage == "interaction":
            told = InteractionSettings(
                kind=network,
                input_size=image_size,
                epochs=epochs or 200,
                batch=batch or 5,
                learning_rate=1e-8 if learning_rate is None else learning_rate,
                norms=norms,
                label=label,
                seed=seed,
                crop=synthetic,
                precision=computed_in,
                average_decay=average_decay,
            )
            begun = interaction_stage(folder, found, told, SIZES[size], sources, processes, typer.echo)
        else:
            settings = MemorySettings(
                input_size=image_size,
                epochs=epochs or 400,
                train_batch=batch or 2,
                learning_rate=1e-5 if learning_rate is None else learning_rate,
                norms=norms,
                label=label,
                seed=seed,
                crop=synthetic,
                precision=computed_in,
                average_decay=average_decay,
            )
            aspp = decoder == "aspp"
            begun = memory_stage(
                stage, folder, found, settings, SIZES[size], sources, processes, quality_head, aspp, typer.echo
            )
        facts = {"command": command_words(), "size": size, "data": "synthetic" if found is None else found.layout}
        model = run_stage(folder, begun, facts, typer.echo, stop_after=stop_after, curves=tensorboard)
    if processes.is_first:
        typer.echo(f"Model: {model}")
    processes.leave()


@contextmanager
def sentences() -> Iterator[None]:
    """What is wrong with data, weights, settings or disk is a sentence on the terminal, and ends with 2."""
    from memseg3d.datasets.errors import DataSetError
    from memseg3d.files import UnreadableFile
    from memseg3d.network.checkpoint_files import UnknownCheckpoint
    from memseg3d.training.running.preflight import CannotTrain

    try:
        yield
    except (DataSetError, UnreadableFile, UnknownCheckpoint, CannotTrain, ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error

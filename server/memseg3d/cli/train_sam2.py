"""`memseg3d train memrefine` and `memseg3d train finetune`: SAM 2 on a user's own set, then installed as a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memseg3d.cli.early_checks import check_exists, check_is_folder, check_model
from memseg3d.cli.folders import check_folder
from memseg3d.cli.networks import DeviceOption, choose_device

if TYPE_CHECKING:
    from memseg3d.training.sam2.whole_run import RunRequest

DataOption = Annotated[Path, typer.Option(help="Folder of a data set in any layout that `memseg3d data check` knows.")]
CheckpointOption = Annotated[
    str, typer.Option("--model", help="Checkpoint to begin from: a path, or the name of a model that is installed.")
]
LayoutOption = Annotated[str | None, typer.Option(help="Read the set as this layout, whatever is recognised.")]
SplitsOption = Annotated[Path | None, typer.Option(help="File that `memseg3d data split` wrote.")]
ImageSizeOption = Annotated[
    int | None, typer.Option(min=32, help="Side of the network's input; by default the checkpoint's.")
]
NameOption = Annotated[str | None, typer.Option(help="Name of the model that is installed.")]
ModelsFolder = Annotated[
    Path | None,
    typer.Option("--models", help="Folder that gets the model; else MEMSEG3D_MODELS, else the worker's own."),
]
SkipOption = Annotated[bool, typer.Option("--skip-broken", help="Leave broken cases out and name them.")]
CheckpointingOption = Annotated[
    bool, typer.Option("--checkpointing", help="Gradient checkpointing: less memory, a third more time.")
]
PrecisionOption = Annotated[Literal["bf16", "fp32"], typer.Option(help="What is multiplied in.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="CPU threads; torch's own choice if left out.")]


def memrefine(
    data: DataOption,
    checkpoint: CheckpointOption,
    folder: Annotated[Path, typer.Option(help="Where the run is kept and resumed from.")] = Path("runs/memrefine"),
    epochs: Annotated[int, typer.Option(min=1, help="Times that a clip of every case is seen.")] = 100,
    video_length: Annotated[int, typer.Option(min=1, help="Slices of a clip.")] = 2,
    prompt: Annotated[Literal["bbox", "click"], typer.Option(help="Of the prompted slices.")] = "bbox",
    prompt_freq: Annotated[int, typer.Option(min=1, help="Every so many slices of a clip are prompted.")] = 2,
    val_freq: Annotated[int, typer.Option(min=1, help="Epochs between two validations.")] = 5,
    cpgf: Annotated[bool, typer.Option(help="Guidance across slices from memory.")] = True,
    use_lgff: Annotated[bool, typer.Option(help="The gated local-global refiner.")] = True,
    cpgf_heads: Annotated[int, typer.Option(min=1)] = 4,
    cpgf_dim: Annotated[int, typer.Option(min=1, help="Channels of a head.")] = 32,
    cpgf_topk: Annotated[int, typer.Option(min=1, help="Memories that guide, at most.")] = 3,
    cpgf_alpha_cap: Annotated[float, typer.Option(min=0.01, max=1.0, help="Most weight of guidance.")] = 0.4,
    cpgf_mode: Annotated[
        Literal["attn", "release"], typer.Option(help="Attention to memories' pixels, or the published formula.")
    ] = "attn",
    blend: Annotated[
        Literal["gated", "release"], typer.Option(help="By the predicted IoU, or the release's fixed shares.")
    ] = "gated",
    most_objects: Annotated[int, typer.Option(min=0, help="Objects of a clip at most; 0: all.")] = 0,
    average_decay: Annotated[float, typer.Option(min=0.0, max=0.9999, help="Of averaged weights; 0: none.")] = 0.0,
    image_size: ImageSizeOption = None,
    layout: LayoutOption = None,
    splits: SplitsOption = None,
    skip_broken: SkipOption = False,
    seed: Annotated[int, typer.Option(min=0)] = 42,
    precision: PrecisionOption = "fp32",
    checkpointing: CheckpointingOption = False,
    save_minutes: Annotated[float, typer.Option(min=0.0, help="Minutes between two states.")] = 10.0,
    tensorboard: Annotated[bool, typer.Option(help="Curves in FOLDER/tensorboard, where it is installed.")] = True,
    name: NameOption = None,
    models: ModelsFolder = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Train MemRefine-MedSAM3D on SAM 2: losses, schedules, prompts and validation as published; then install it.

    The folder holds state.pt (the same command resumes to the step), best.safetensors, latest.safetensors, log.jsonl.
    """
    _check(data, checkpoint, folder, splits)
    from memseg3d.evaluation.page import command_words
    from memseg3d.network.memrefine import MemRefineConfig
    from memseg3d.training.sam2.settings import Sam2Settings
    from memseg3d.training.sam2.whole_run import RunRequest

    refine = MemRefineConfig(cpgf, use_lgff, cpgf_heads, cpgf_dim, cpgf_topk, cpgf_alpha_cap, cpgf_mode, blend)
    settings = Sam2Settings(
        method="memrefine",
        epochs=epochs,
        video_length=video_length,
        prompt=prompt,
        prompt_freq=prompt_freq,
        most_objects=most_objects,
        val_freq=val_freq,
        seed=seed,
        average_decay=average_decay,
        precision=precision,
        checkpointing=checkpointing,
        save_minutes=save_minutes,
        tensorboard=tensorboard,
    )
    place, own, said = choose_device(device, threads), name or folder.name, command_words()
    seen = image_size, layout, splits, skip_broken
    _run(RunRequest(folder, data, checkpoint, settings, refine, *seen, place, models, own, said))


def finetune(
    data: DataOption,
    checkpoint: CheckpointOption,
    folder: Annotated[Path, typer.Option(help="Where the run is kept and resumed from.")] = Path("runs/finetune"),
    epochs: Annotated[int, typer.Option(min=1, help="Times that a clip of every case is seen.")] = 100,
    video_length: Annotated[int, typer.Option(min=1, help="Slices of a clip.")] = 8,
    prompt: Annotated[
        Literal["bbox", "click", "mixed"], typer.Option(help="mixed: box, click, or box with clicks.")
    ] = "mixed",
    most_objects: Annotated[int, typer.Option(min=0, help="Objects of a clip at most; 0: all.")] = 3,
    learning_rate: Annotated[float, typer.Option(min=0.0)] = 5e-5,
    encoder_rate: Annotated[float, typer.Option(min=0.0, help="Learning rate of the image encoder.")] = 3e-5,
    freeze_encoder: Annotated[bool, typer.Option("--freeze-encoder", help="The image encoder does not learn.")] = False,
    val_freq: Annotated[int, typer.Option(min=1, help="Epochs between two validations.")] = 5,
    average_decay: Annotated[float, typer.Option(min=0.0, max=0.9999, help="Of averaged weights; 0: none.")] = 0.999,
    image_size: ImageSizeOption = 512,
    layout: LayoutOption = None,
    splits: SplitsOption = None,
    skip_broken: SkipOption = False,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    precision: PrecisionOption = "fp32",
    checkpointing: CheckpointingOption = False,
    save_minutes: Annotated[float, typer.Option(min=0.0, help="Minutes between two states.")] = 10.0,
    tensorboard: Annotated[bool, typer.Option(help="Curves in FOLDER/tensorboard, where it is installed.")] = True,
    name: NameOption = None,
    models: ModelsFolder = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Fine-tune SAM 2, SAM 2.1 or MedSAM2 on your own folder, and install the result as a model of the worker.

    Clips are prompted on their first or middle slice and tracked both ways. Give the same command again to resume.
    """
    _check(data, checkpoint, folder, splits)
    from memseg3d.evaluation.page import command_words
    from memseg3d.training.sam2.settings import Sam2Settings
    from memseg3d.training.sam2.whole_run import RunRequest

    settings = Sam2Settings(
        method="finetune",
        epochs=epochs,
        video_length=video_length,
        prompt=prompt,
        prompt_freq=video_length,
        most_objects=most_objects,
        val_freq=val_freq,
        seed=seed,
        learning_rate=learning_rate,
        encoder_rate=encoder_rate,
        freeze_encoder=freeze_encoder,
        average_decay=average_decay,
        precision=precision,
        checkpointing=checkpointing,
        save_minutes=save_minutes,
        tensorboard=tensorboard,
    )
    place, own, said = choose_device(device, threads), name or folder.name, command_words()
    seen = image_size, layout, splits, skip_broken
    _run(RunRequest(folder, data, checkpoint, settings, None, *seen, place, models, own, said))


def _check(data: Path, checkpoint: str, folder: Path, splits: Path | None) -> None:
    """What is not there is told before torch is loaded."""
    check_is_folder(data, "--data")
    check_model(checkpoint, None)
    check_exists(splits, "--splits")
    check_folder(folder, "--folder")


def _run(request: RunRequest) -> None:
    """The whole run; what keeps it from going on is told as a sentence, with exit status 1."""
    from memseg3d.training.running.one_run import one_run
    from memseg3d.training.sam2.whole_run import REFUSALS, open_run, run_and_install

    try:
        with one_run(request.folder):
            run_and_install(open_run(request, typer.echo), request, typer.echo)
    except REFUSALS as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error

"""A whole run: what it begins from and learns from is looked at, it trains, and its weights become a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memseg3d.datasets.errors import DataSetError
from memseg3d.files import UnreadableFile
from memseg3d.network.checkpoint_files import UnknownCheckpoint
from memseg3d.network.loading import load_network
from memseg3d.network.memrefine import MemRefineConfig, MemRefineNetwork
from memseg3d.network.models import ModelDamaged, ModelNotFound, find_model
from memseg3d.network.sam2 import Sam2Network
from memseg3d.training.cases.sets import open_training_set
from memseg3d.training.running.logs import LOG, first_alone
from memseg3d.training.running.one_run import FolderHeld
from memseg3d.training.running.preflight import CannotTrain
from memseg3d.training.sam2.install import install, models_folder
from memseg3d.training.sam2.settings import Sam2Settings
from memseg3d.training.sam2.trainer import BEST, LATEST, Sam2Trainer

REFUSALS = (CannotTrain, FolderHeld, DataSetError, UnreadableFile, UnknownCheckpoint, ModelNotFound, ModelDamaged)
"""What ends a run with a sentence for the user."""


@dataclass(frozen=True)
class RunRequest:
    """folder: of the run. data: folder of the set. checkpoint: path or name of a model. refine: MemRefine's modules, or
    None. image_size: None: as the checkpoint says. models: folder that gets the model `name`. command: for the card.
    """

    folder: Path
    data: Path
    checkpoint: str
    settings: Sam2Settings
    refine: MemRefineConfig | None
    image_size: int | None
    layout: str | None
    splits: Path | None
    skip_broken: bool
    device: str
    models: Path | None
    name: str
    command: str


def open_run(request: RunRequest, say: Callable[[str], None] = print) -> Sam2Trainer:
    """Checkpoint, set and folder looked at in this order, so that what is wrong is told soon. Raises `REFUSALS`."""
    say = first_alone(say)
    path = find_model(request.checkpoint, request.models)
    network = load_network(path, request.image_size, "cpu")
    if not isinstance(network, Sam2Network):
        raise CannotTrain(f"{path} holds {network.info.name}, which is no SAM 2: begin from a SAM 2 or MedSAM2 file.")
    if request.refine is not None:
        network = refined(network, request.refine, path)
    say(f"Looking through {request.data} ...")
    settings = request.settings
    found = open_training_set(request.data, request.layout, request.splits, request.skip_broken, say, settings.seed)
    say(
        f"{found.data.layout}: {len(found.train)} cases to train, {len(found.validation)} to validate, labels "
        f"{', '.join(map(str, found.labels))}."
    )
    return Sam2Trainer(request.folder, network, found, settings, request.device, say=say)


def run_and_install(trainer: Sam2Trainer, request: RunRequest, say: Callable[[str], None] = print) -> Path | None:
    """Train to the end, then install the best weights where some were judged, else the last.

    Returns the model's file, None in a process that is not the first. Raises `REFUSALS`.
    """
    first = trainer.processes.is_first
    if first and trainer.step >= trainer.steps:
        say(f"The run in {trainer.folder} has come to its end ({trainer.steps} steps): nothing is left to train.")
    elif first:
        log = trainer.folder / LOG
        say(f"Training in {trainer.folder} from step {trainer.step} to {trainer.steps}; the log is {log}.")
    trainer.run()
    if first and not (trainer.folder / LATEST).is_file():
        trainer.save()
    trainer.processes.leave()
    if not first:
        return None
    weights = trainer.folder / (BEST if (trainer.folder / BEST).is_file() else LATEST)
    facts, info = trainer.facts(), trainer.network.info
    card: dict[str, Any] = {
        "licence": info.licence or "that of the checkpoint and of the data it was trained on",
        "recipe": f"{info.name}, trained further by `{request.command}` on {facts['cases']} cases.",
        "command": request.command,
        "begun_from": {"name": info.name, "sha256": info.sha256},
        "training": facts,
    }
    target = install(weights, models_folder(request.models), request.name, card)
    say(f"Installed {target}. Use it: memseg3d segment --model {request.name}, or choose it in Slicer's panel.")
    return target


def refined(network: Sam2Network, options: MemRefineConfig, path: Path) -> MemRefineNetwork:
    """SAM 2 with MemRefine's modules; one that has them already keeps them. Raises CannotTrain where they differ."""
    if not isinstance(network, MemRefineNetwork):
        return MemRefineNetwork.of(network, options)
    if network.refine.__dict__ | {"epoch": 0} != options.__dict__ | {"epoch": 0}:
        raise CannotTrain(f"{path} has other modules than asked for ({network.refine}): give the same options.")
    return network

"""From options to a run: what is learnt from, how wide the network is, and the weights that it begins from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import nn

from memseg3d.datasets.description import Case
from memseg3d.datasets.errors import DataSetError
from memseg3d.datasets.sources.npz_arrays import NpzArray
from memseg3d.experts.sam_med3d.network import SamMed3D
from memseg3d.experts.sam_med3d.shapes import DUAL_CLICK, SamMed3DShape, is_sam_med3d, narrow
from memseg3d.experts.vista3d.network import Vista3D, widened
from memseg3d.experts.vista3d.shapes import MAPS, PUBLISHED, SMALL, TINY, Vista3DShape, is_vista3d
from memseg3d.files import UnreadableFile
from memseg3d.network.checkpoint_files import UnknownCheckpoint, read_checkpoint
from memseg3d.network.models import ModelNotFound, find_model
from memseg3d.training.cases.sets import open_training_set
from memseg3d.training.experts.run import ExpertRun, at_least
from memseg3d.training.experts.settings import ExpertSettings
from memseg3d.training.experts.stages import GlobalStage, LocalStage, Stage
from memseg3d.training.experts.targets import CaseTargets, SyntheticTargets, Targets
from memseg3d.training.running.logs import first_alone
from memseg3d.training.running.preflight import CannotTrain
from memseg3d.training.synthetic.hold_out import SEED as HOLD_OUT_SEED

N = TypeVar("N", bound=nn.Module)
Size = Literal["published", "small", "tiny"]
REFUSALS = (CannotTrain, DataSetError, UnreadableFile, UnknownCheckpoint, ModelNotFound)
"""What ends a run with a sentence for the user."""
GLOBAL_SIZES: dict[Size, SamMed3DShape] = {
    "published": DUAL_CLICK,
    "small": narrow(),
    "tiny": narrow(width=64, depth=3, prompt_width=48, side=32),
}
LOCAL_SIZES: dict[Size, Vista3DShape] = {"published": PUBLISHED, "small": SMALL, "tiny": TINY}


@dataclass(frozen=True)
class ExpertRequest:
    """data: a set in any layout, None for synthetic volumes. initial: a checkpoint to begin from or its name, None:
    fresh weights of `size`. epochs: of the data, None: `settings.steps` counts. command: for the card.
    """

    folder: Path
    data: Path | None
    settings: ExpertSettings
    size: Size
    initial: Path | None
    epochs: int | None
    device: str
    command: str
    skip_broken: bool = False
    tensorboard: bool = True


def open_expert_run(request: ExpertRequest, say: Callable[[str], None] = print) -> ExpertRun:
    """Weights, data and folder looked at in this order. Raises `REFUSALS`."""
    say = first_alone(say)
    settings = request.settings
    if settings.seed == HOLD_OUT_SEED:
        raise CannotTrain("This seed is the hold-out's: choose another one.")
    torch.manual_seed(settings.seed)
    stage: Stage
    if settings.kind == "global":
        network = _global(request)
        stage = GlobalStage(network, settings)
    else:
        patched = _local(request)
        if settings.side % patched.shape.multiple or settings.side < 2 * patched.shape.multiple:
            raise CannotTrain(f"The side of a patch is a multiple of {patched.shape.multiple}, twice that at least.")
        stage = LocalStage(patched, settings)
    targets, held_out = _targets(request, say)
    if request.epochs is not None:
        settings = at_least(settings, request.epochs, targets.count, 1)
    device = torch.device(request.device)
    run = ExpertRun(request.folder, stage, targets, settings, device, held_out, say, request.tensorboard)
    if request.epochs is not None and run.processes.world > 1:
        run.settings = at_least(settings, request.epochs, targets.count, run.processes.world)
    return run


def facts_of(request: ExpertRequest) -> dict[str, Any]:
    """What a card says of where weights come from."""
    return {
        "command": request.command,
        "data": "synthetic volumes" if request.data is None else request.data.name,
        "begun_from": None if request.initial is None else request.initial.name,
    }


def _targets(request: ExpertRequest, say: Callable[[str], None]) -> tuple[Targets, Targets | None]:
    settings = request.settings
    if request.data is None:
        return SyntheticTargets(settings.seed, settings.per_volume), SyntheticTargets(settings.seed + 1_000_003, 2)
    cache = request.folder / "cache"
    if request.data.suffix == ".json":
        return CaseTargets(_listed(request.data), cache, settings.seed, say), None
    say(f"Looking through {request.data} ...")
    found = open_training_set(request.data, skip_broken=request.skip_broken, say=say, seed=settings.seed)
    train = CaseTargets(found.train, cache, settings.seed, say)
    if not found.validation:
        return train, None
    return train, CaseTargets(found.validation, cache, settings.seed, say)


def _listed(path: Path) -> list[Case]:
    """Cases of a JSON list of npz files with imgs and gts (`train_subsetall.json`); paths as seen from the list."""
    try:
        found = [path.parent / str(each) for each in json.loads(path.read_text(encoding="utf-8-sig"))]
    except (OSError, ValueError, RecursionError, TypeError) as error:
        raise CannotTrain(f"{path} is no JSON list of npz files: give one, or a folder of them.") from error
    return [Case(each.stem, (NpzArray(each, "imgs"),), NpzArray(each, "gts")) for each in found]


def _global(request: ExpertRequest) -> SamMed3D:
    if request.initial is None:
        network = SamMed3D(GLOBAL_SIZES[request.size])
        _begin(network)
        return network
    tensors = read_checkpoint(find_model(request.initial)).tensors
    if not is_sam_med3d(tensors):
        raise UnknownCheckpoint(f"{request.initial.name} is no SAM-Med3D: begin from one, or from fresh weights.")
    return _learning(SamMed3D.of, tensors, request.initial.name)


def _local(request: ExpertRequest) -> Vista3D:
    mended = request.settings.mended
    if request.initial is None:
        shape = LOCAL_SIZES[request.size]
        return Vista3D(replace(shape, channels=MAPS) if mended else shape)
    tensors = read_checkpoint(find_model(request.initial)).tensors
    if not is_vista3d(tensors):
        raise UnknownCheckpoint(f"{request.initial.name} is no VISTA3D: begin from one, or from fresh weights.")
    return _learning(Vista3D.of, widened(tensors) if mended else tensors, request.initial.name)


def _learning(make: Callable[[dict[str, torch.Tensor]], N], tensors: dict[str, torch.Tensor], name: str) -> N:
    try:
        return make({key: value.float() if value.is_floating_point() else value for key, value in tensors.items()})
    except (KeyError, ValueError, RuntimeError) as error:
        raise UnknownCheckpoint(f"{name} is only a part of one: {str(error)[:200]}.") from error


def _begin(network: SamMed3D) -> None:
    """Small positions, so that fresh tokens can be told apart; all else as torch begins it."""
    torch.nn.init.trunc_normal_(network.image_encoder.pos_embed, std=0.02)

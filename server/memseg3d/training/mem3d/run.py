"""A stage from where its folder left it to the end: states, log, weights, and the model that the worker serves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memseg3d.network.mem3d import Mem3dNetwork, Sight
from memseg3d.network.mem3d.checkpoint import read_mem3d, write_mem3d
from memseg3d.network.mem3d.interaction import InteractionNetwork
from memseg3d.network.mem3d.memory_network import MemoryNetwork
from memseg3d.network.mem3d.shapes import KINDS
from memseg3d.training.mem3d.stages import Stage, optimiser_state
from memseg3d.training.running.logs import LOG, RunLog, Told, first_alone
from memseg3d.training.running.preflight import CannotTrain, on_disk
from memseg3d.training.running.provenance import made_by, write_card
from memseg3d.training.running.settings import differing, words_of
from memseg3d.training.running.states import Average, save_state, taken_up

MODEL = "mem3d.safetensors"
"""All parts that a folder holds, as one file for the worker."""


def part_file(folder: Path, stage: str) -> Path:
    """The weights of one stage alone."""
    return folder / f"{stage}.safetensors"


def state_file(folder: Path, stage: str) -> Path:
    """What a stage goes on from."""
    return folder / f"state-{stage}.pt"


def run_stage(
    folder: Path,
    stage: Stage,
    facts: dict[str, Any],
    say: Callable[[str], None] = lambda _: None,
    save_every: int = 1,
    validate_every: int = 1,
    stop_after: int | None = None,
    curves: bool = False,
) -> Path:
    """Train a stage to its last epoch; returns the model. A state that lies in `folder` is gone on from, to the step.

    save_every, validate_every: epochs. stop_after: end, with a state, after so many steps of this call. curves: also
    for TensorBoard, where it is installed. Of several processes the first speaks and writes.
    Raises CannotTrain where the state is of other settings or networks, or where the loss is no number any more.
    """
    settings, first = stage.settings, stage.processes.is_first
    average = Average(stage.module, settings.average_decay) if settings.average_decay else None
    done = _resumed(folder, stage, average)
    total = settings.epochs * stage.steps
    log = RunLog(folder, first, curves)
    say = first_alone(say)
    began, taken, told_last = time.perf_counter(), 0, Told()
    if done >= total:
        say(f"{stage.name}: has come to its end ({total} steps): nothing is left to train.")
    else:
        say(f"{stage.name}: steps {done + 1} to {total}; the log is {folder / LOG}.")
    try:
        for at in range(done, total):
            epoch, number = divmod(at, stage.steps)
            told = stage.step(epoch, number)
            taken += 1
            if average is not None:
                average.update(stage.module, at + 1)
            if not math.isfinite(told["loss"]):
                raise CannotTrain(
                    f"The loss of {stage.name} is {told['loss']} at step {at + 1}; lower the learning rate and begin "
                    f"from the last state in {folder}."
                )
            log.write({"stage": stage.name, "step": at + 1, "epoch": epoch, **told})
            ends = number + 1 == stage.steps
            is_last = at + 1 == total or taken == stop_after
            saves = is_last or (ends and (epoch + 1) % save_every == 0)
            if saves:
                stage.processes.average_buffers(stage.module)
            left = (time.perf_counter() - began) / taken * (total - at - 1)
            if not ends and told_last.is_due(is_last):
                say(f"{stage.name}: step {at + 1} of {total}: loss {told['loss']:.4g}; {_minutes(left)} left.")
            if ends and ((epoch + 1) % validate_every == 0 or is_last):
                judged = stage.validate()
                if judged:
                    log.write({"stage": stage.name, "step": at + 1, "held_out": judged})
                shown = {**told, **{f"held-out {name}": value for name, value in judged.items()}}
                words = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
                say(f"{stage.name}: epoch {epoch + 1} of {settings.epochs}: {words}; {_minutes(left)} left.")
            if saves and first:
                _save(folder, stage, at + 1, average)
            if taken == stop_after:
                break
    finally:
        log.close()
    facts = {**facts, "stage": stage.name, "steps": min(total, done + taken), "settings": words_of(settings, "epochs")}
    facts |= {"epochs": settings.epochs, "processes": stage.processes.world, "made_by": made_by()}
    if average is not None:
        stage.module.load_state_dict(average.weights)
    return _written(folder, stage, facts) if first else folder / MODEL


def assemble(folder: Path, sight: Sight, facts: dict[str, Any]) -> Path:
    """Every part that the folder holds as one model with its card. The memory network: with quality head, else without.

    Raises CannotTrain where there is none.
    """
    files = [part_file(folder, name) for name in ("quality", "memory")]
    memory = next((read_mem3d(path).memory for path in files if path.is_file()), None)
    networks: dict[str, InteractionNetwork] = {}
    for kind in KINDS:
        path = part_file(folder, f"interaction-{kind}")
        if path.is_file():
            networks |= read_mem3d(path).networks
    if memory is None and not networks:
        raise CannotTrain(f"{folder} holds no weights yet: train a stage first.")
    model = folder / MODEL
    network = Mem3dNetwork(memory, networks, sight)
    write_mem3d(model, network, facts)
    parts = [*(["memory"] if memory is not None else []), *networks]
    parameters = sum(each.numel() for each in network.parameters())
    write_card(model, method="Mem3D", parts=parts, parameters=parameters, training=facts)
    return model


def _resumed(folder: Path, stage: Stage, average: Average | None) -> int:
    """Steps that were done already; module, optimiser and average are as they were then."""
    path = state_file(folder, stage.name)
    if not path.is_file():
        return 0

    def take(kept: dict[str, Any]) -> None:
        stage.module.load_state_dict(kept["module"])
        stage.optimiser.load_state_dict(kept["optimiser"])
        if average is not None:
            average.take(kept["average"])

    kept = taken_up(path, "this stage and width", lambda kept: differing(stage.settings, kept, "epochs"), take)
    return int(kept["step"])


def _save(folder: Path, stage: Stage, step: int, average: Average | None) -> None:
    state = {
        "step": step,
        "settings": words_of(stage.settings, "epochs"),
        "module": stage.module.state_dict(),
        "optimiser": optimiser_state(stage),
        "average": {} if average is None else average.weights,
    }
    with on_disk(state_file(folder, stage.name)):
        save_state(state_file(folder, stage.name), state)


def _written(folder: Path, stage: Stage, facts: dict[str, Any]) -> Path:
    module = stage.module.eval()
    if isinstance(module, MemoryNetwork):
        part = Mem3dNetwork(module, {}, stage.settings.sight)
    else:
        assert isinstance(module, InteractionNetwork)
        part = Mem3dNetwork(None, {module.shape.kind: module}, stage.settings.sight)
    with on_disk(folder / MODEL):
        write_mem3d(part_file(folder, stage.name), part, facts)
        return assemble(folder, stage.settings.sight, facts)


def _minutes(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.1f} min"

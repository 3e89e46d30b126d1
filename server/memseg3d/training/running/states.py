"""What every training run keeps on disk: a state that resumes it to the step; and the moving average of its weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from memseg3d.training.running.preflight import CannotTrain


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the training state so that a crash leaves the old one whole."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load_state(path: Path) -> dict[str, Any]:
    """The training state; tensors and plain values only, never code."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def taken_up(
    path: Path, what: str, differing: Callable[[dict[str, Any]], list[str]], take: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """The state that a run goes on from, handed to `take`.

    what: as messages call the run. differing: names of settings that are others than the state's. Raises CannotTrain
    where there are some, and where `take` finds no state of this run.
    """
    try:
        kept = load_state(path)
        wrong = differing(kept["settings"])
        if wrong:
            raise CannotTrain(
                f"{path} was made with another {', '.join(wrong)}: go on with the same, or name a new folder."
            )
        take(kept)
    except CannotTrain:
        raise
    except Exception as error:
        # whatever is in the file, no run of hours may begin on it
        words = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise CannotTrain(f"{path} is no state of {what} ({words}): name a new folder.") from error
    return kept


def halved(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Floating point weights in half precision."""
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}


def widened(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights in single precision, whatever they were kept in."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}


class Average:
    """Exponential moving average of a module's weights; young averages forget faster, so that they need no warm-up."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: tensor.detach().clone().float() for name, tensor in module.state_dict().items()}

    def take(self, weights: dict[str, torch.Tensor]) -> None:
        """Go on from the average of a state, on the module's own device."""
        self.weights = {name: weights[name].to(tensor.device) for name, tensor in self.weights.items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the average towards the module's weights after optimiser step `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in module.state_dict().items():
            self.weights[name].lerp_(tensor.float(), 1 - decay)

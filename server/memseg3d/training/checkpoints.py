"""What training writes: its own resumable state, and the weights with their card."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from memseg3d.network.nano import NanoConfig, with_more_maps


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the training state so that a crash leaves the old one whole."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load_state(path: Path) -> dict[str, Any]:
    """The training state; tensors and plain values only, never code."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def save_weights(path: Path, config: NanoConfig, weights: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Half precision safetensors; the configuration and how they were made travel in the metadata."""
    half = {name: tensor.detach().half().contiguous() for name, tensor in weights.items()}
    metadata = {"memseg3d.config": config.to_json(), "memseg3d.training": json.dumps(facts, sort_keys=True)}
    partial = path.with_suffix(".partial")
    save_file(half, partial, metadata=metadata)
    os.replace(partial, path)


def state_of_weights(path: Path, config: NanoConfig) -> dict[str, Any]:
    """The state of a run as far as its weights tell it: no moments of the optimiser, the average for the network.

    Weights of a network with fewer guidance maps go on in one with more, which count nothing at first.

    Raises ValueError where the file is none that a run wrote, or is of a network of other sizes than `config`.
    """
    weights, facts, made_for = _weights_of_run(path)
    # What was fitted to the trained heads afterwards is no matter here.
    if replace(made_for, maps=config.maps) != _unfitted(config) or made_for.maps > config.maps:
        raise ValueError(f"{path} holds weights of a network of other sizes.")
    weights = with_more_maps(weights, config)
    kept = {name: facts[name] for name in ("volumes", "history")}
    return {
        "network": weights,
        "average": dict(weights),
        "step": facts["steps"],
        "seconds": 3600 * facts["hours"],
        **kept,
    }


def save_mean(first: Path, second: Path, into: Path) -> None:
    """Write the mean of two checkpoints of one run, with the facts of `second` and which two they were.

    The mean of a network before and after it was trained on other data keeps more of what it could do before than the
    later one alone (Wortsman et al., Robust fine-tuning of zero-shot models, arXiv 2109.01903). Raises ValueError where
    a file is none that a run wrote, or their networks differ.
    """
    one, earlier, config = _weights_of_run(first)
    other, facts, other_config = _weights_of_run(second)
    if config != other_config:
        raise ValueError(f"{first} and {second} hold weights of different networks.")
    both = ((first, earlier), (second, facts))
    of = [{"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "steps": each["steps"]} for path, each in both]
    mean = {name: (one[name].float() + other[name].float()) / 2 for name in one}
    save_weights(into, config, mean, facts | {"mean_of": of})


def _weights_of_run(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], NanoConfig]:
    """Weights, facts of their run, and their network without the rules that were fitted to it. Raises ValueError."""
    try:
        with safe_open(path, "pt") as file:
            words = file.metadata() or {}
            facts, config = json.loads(words["memseg3d.training"]), NanoConfig.from_json(words["memseg3d.config"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if missing := {"volumes", "history", "steps", "hours"} - facts.keys():
            raise KeyError(*missing)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no weights that a training run wrote.") from error
    return weights, facts, _unfitted(config)


def _unfitted(config: NanoConfig) -> NanoConfig:
    return replace(config, ending=None, calibration=None)


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

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the average towards the module's weights after optimiser step `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in module.state_dict().items():
            self.weights[name].lerp_(tensor.float(), 1 - decay)

"""The weights that a run of the embedded network writes, with their facts; and a run begun from such a file."""

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

from memseg3d.network.nano import NanoConfig, with_more_maps
from memseg3d.network.nano.network import ROOMY


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
    if replace(made_for, maps=config.maps) != config.unfitted or made_for.maps > config.maps:
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
    """Weights, facts of their run, and their network without what was fitted to it. Raises ValueError."""
    weights, facts, config = weights_of_file(path)
    return {name: each for name, each in weights.items() if not name.startswith(ROOMY)}, facts, config.unfitted


def weights_of_file(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], NanoConfig]:
    """Weights that a run wrote, facts of the run, and their network. Raises ValueError where the file is none such."""
    try:
        with safe_open(path, "pt") as file:
            words = file.metadata() or {}
            facts, config = json.loads(words["memseg3d.training"]), NanoConfig.from_json(words["memseg3d.config"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if missing := {"volumes", "history", "steps", "hours"} - facts.keys():
            raise KeyError(*missing)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no weights that a training run wrote.") from error
    return weights, facts, config

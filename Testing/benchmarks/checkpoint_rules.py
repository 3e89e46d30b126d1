"""Writes a fitted rule into the configuration that travels in an embedded model's checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from memseg3d.network.nano import NanoConfig


def write_rule(name: str, weights: tuple[float, ...], checkpoint: Path, out: Path) -> None:
    """The checkpoint with `weights`, to three digits, as field `name` of its configuration; may write onto itself."""
    with safe_open(checkpoint, "pt") as file:
        metadata: dict[str, str] = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    config = NanoConfig.from_json(metadata["memseg3d.config"])
    rule = {name: tuple(round(each, 3) for each in weights)}
    save_file(tensors, out, metadata=metadata | {"memseg3d.config": replace(config, **rule).to_json()})

"""Writes a fitted rule into the configuration that travels in an embedded model's checkpoint, and into its card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from memseg3d.network.nano import NanoConfig


def write_rule(
    name: str, weights: tuple[float, ...], checkpoint: Path, out: Path, told: Mapping[str, Any] | None = None
) -> None:
    """The checkpoint with `weights`, to three digits, as field `name` of its configuration; may write onto itself.

    A card beside `out` follows: SHA-256, configuration, and under "rules" what the rule was fitted to (told).
    """
    with safe_open(checkpoint, "pt") as file:
        metadata: dict[str, str] = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    config = NanoConfig.from_json(metadata["memseg3d.config"])
    rule = {name: tuple(round(each, 3) for each in weights)}
    words = replace(config, **rule).to_json()
    partial = out.with_suffix(".partial")
    save_file(tensors, partial, metadata=metadata | {"memseg3d.config": words})
    partial.replace(out)
    card = out.with_suffix(".json")
    if card.is_file():
        told_before = json.loads(card.read_text(encoding="utf-8"))
        sha256 = hashlib.sha256(out.read_bytes()).hexdigest()
        facts = told_before | {"sha256": sha256, "configuration": json.loads(words)}
        if told is not None:
            facts["rules"] = told_before.get("rules", {}) | {name: dict(told)}
        card.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

"""Publishing a training run: weights into the models' folder, and the card that says how they were made."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import safe_open

RECIPE = (
    "Trained from nothing on synthetic volumes alone, made on the fly by memseg3d.training.synthetic; no image of any "
    "person, animal or microscope was used. Stage one: single slices; stage two: clips with memory, a correction and a "
    "second pass. AdamW, bf16 autocast, constant learning rate with a linear fall at the end, averaged weights."
)


class ReleaseError(ValueError):
    """The run cannot be published."""


def release(run: Path, models: Path, note: str = "", name: str = "memseg3d-nano") -> Path:
    """Copy the weights of folder `run` into `models` and write <name>.json beside them; returns the card's path.

    The card holds the SHA-256 (checked at load), the settings, seed, steps and hours, the command that makes such
    weights again, the Dice on the synthetic hold-out at the end, and `note`: how the run differed from that command.
    Raises ReleaseError where the run has no weights.
    """
    weights = run / f"{name}.safetensors"
    if not weights.is_file():
        raise ReleaseError(f"There are no weights in {run}: train first.")
    models.mkdir(parents=True, exist_ok=True)
    published = models / weights.name
    shutil.copyfile(weights, published)
    with safe_open(published, "pt") as file:
        metadata: dict[str, str] = file.metadata() or {}
        parameters = sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118
    training: dict[str, Any] = json.loads(metadata["memseg3d.training"])
    settings = training["settings"]
    options = ("steps", "single_steps", "decay_steps", "seed", "batch")
    card = {
        "name": name,
        "sha256": hashlib.sha256(published.read_bytes()).hexdigest(),
        "licence": "Apache-2.0",
        "use": "Research use only, not for clinical use.",
        "parameters": parameters,
        "recipe": RECIPE,
        "command": "memseg3d train nano " + " ".join(f"--{key.replace('_', '-')} {settings[key]}" for key in options),
        "note": note,
        "training": training,
        "synthetic_hold_out_dice": _last_validation(run / "log.jsonl"),
        "configuration": json.loads(metadata["memseg3d.config"]),
    }
    path = models / f"{name}.json"
    path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path


def _last_validation(log: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    found: list[dict[str, float]] = [line["validation"] for line in lines if "validation" in line]
    return found[-1] if found else {}

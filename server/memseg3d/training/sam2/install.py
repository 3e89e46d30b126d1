"""Installs a run's weights as a model of the worker: the file, and the card that says where it comes from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from memseg3d.network.models import ENVIRONMENT, model_folders
from memseg3d.training.running.preflight import CannotTrain, not_written

USE = "Research use only, not for clinical use."


def models_folder(folder: Path | None) -> Path:
    """Where models go: `folder`, else $MEMSEG3D_MODELS, else the models' folder of this installation."""
    if folder is not None:
        return folder
    if os.environ.get(ENVIRONMENT):
        return Path(os.environ[ENVIRONMENT])
    return next((each for each in model_folders() if each.is_dir()), model_folders()[0])


def install(weights: Path, models: Path, name: str, card: dict[str, Any]) -> Path:
    """Copy weights to `models`/`name`.safetensors with a card beside them; returns the file.

    A model of that name is replaced where a run of the same kind wrote it; any other is left, and CannotTrain raised.
    """
    target, told = models / f"{name}.safetensors", models / f"{name}.json"
    if target.exists() and not _is_ours(told):
        raise CannotTrain(f"{target} is there already and came from elsewhere: name another by --name.")
    words = {
        "name": name,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "use": USE,
        **card,
    }
    partial, partial_card = target.with_suffix(".partial"), told.with_name(f"{name}.json.partial")
    try:
        models.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(weights, partial)
        partial_card.write_text(json.dumps(words, indent=2) + "\n", encoding="utf-8")
        # the card first tells a sum that the old file has not: without it for a moment is better
        told.unlink(missing_ok=True)
        os.replace(partial, target)
        os.replace(partial_card, told)
    except OSError as error:
        raise not_written(target, error) from error
    finally:
        partial.unlink(missing_ok=True)
        partial_card.unlink(missing_ok=True)
    return target


def _is_ours(card: Path) -> bool:
    try:
        return "training" in json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False

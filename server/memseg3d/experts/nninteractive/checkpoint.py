"""nnInteractive's folders: checked and read by us, weights as tensors alone, and written anew for the child process."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memseg3d.network.checkpoint_files import UnknownCheckpoint
from memseg3d.network.models import accepted_licences, weights_in

LICENCE = "CC-BY-NC-SA-4.0"
_WORDS = ("plans.json", "dataset.json", "inference_info.json", "inference_session_class.json")


def read_weights(folder: Path) -> dict[str, Any]:
    """The weights of a folder, with the names that the package needs besides: `network_weights`, `trainer_name`,
    `init_args`.

    Raises UnknownCheckpoint where there are none, or where reading them would run code.
    """
    path = weights_in(folder)
    if path is None:
        raise UnknownCheckpoint(f"{folder.name} holds no plans.json with fold_0/checkpoint_final.pth: fetch it again.")
    try:
        with torch.serialization.safe_globals(_harmless()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnknownCheckpoint(
            f"{path} holds more than tensors and numbers. Python objects in a checkpoint may run code, so they are "
            "never loaded: ask its authors for weights alone."
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise UnknownCheckpoint(f"{path} is cut off or damaged: fetch it again.") from error
    weights = content.get("network_weights") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(each, Tensor) for each in weights.values()):
        raise UnknownCheckpoint(f"{path} holds no 'network_weights': it is no model of nnInteractive's.")
    arguments = content.get("init_args")
    configuration = str(arguments.get("configuration", "3d_fullres")) if isinstance(arguments, dict) else "3d_fullres"
    trainer = str(content.get("trainer_name", "nnInteractiveTrainer_stub"))
    return {"network_weights": weights, "trainer_name": trainer, "init_args": {"configuration": configuration}}


def require_consent(folder: Path) -> None:
    """Raise UnknownCheckpoint until the licence of nnInteractive's weights has been accepted on this computer.

    A folder whose own LICENSE is another one needs no consent.
    """
    licence = folder / "LICENSE"
    words = licence.read_text(encoding="utf-8", errors="replace").lower() if licence.is_file() else ""
    is_other = bool(words) and "noncommercial" not in words and "by-nc" not in words
    if not is_other and LICENCE not in accepted_licences(folder.parent):
        raise UnknownCheckpoint(
            f"{folder.name} comes under {LICENCE}: not for commercial use, authors named, passed on under the same "
            "terms (https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode). Accept it once by "
            f"`memseg3d models accept {LICENCE}`."
        )


def clean_copy(folder: Path, target: Path) -> None:
    """Write a folder that the package can load: plans and words as they are, of the checkpoint what we have read."""
    weights = read_weights(folder)
    (target / "fold_0").mkdir(parents=True)
    for name in _WORDS:
        if (folder / name).is_file():
            json.loads((folder / name).read_text(encoding="utf-8"))
            shutil.copyfile(folder / name, target / name)
    (target / "LICENSE").write_text(LICENCE, encoding="utf-8")
    torch.save(weights, target / "fold_0" / "checkpoint_final.pth")


def _harmless() -> list[Any]:
    """Numbers of numpy, which nnU-Net keeps in the log of a training."""
    kinds = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "bool")]
    return [np._core.multiarray.scalar, np.dtype, *kinds]  # type: ignore[attr-defined]

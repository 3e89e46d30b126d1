"""Reads checkpoint files to tensors and nothing else: safetensors, or pickles of tensors without any code."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGIC = b"\x80"
WRAPPERS = ("model", "state_dict", "model_state_dict")
"""Keys under which training scripts put the tensors."""

# what the pickle reader of torch is known to raise on bytes that are cut off or no pickle
_UNREADABLE = (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, OSError, struct.error)


class UnknownCheckpoint(ValueError):
    """The file is no checkpoint that this worker can run; the message says why and what to do."""


@dataclass(frozen=True)
class CheckpointFile:
    """Tensors by name, and the text that a safetensors file carries besides."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)


def read_checkpoint(path: Path) -> CheckpointFile:
    """The tensors of a checkpoint on the CPU, in the dtypes that they are stored in. Raises UnknownCheckpoint."""
    if not path.is_file():
        raise UnknownCheckpoint(f"There is no checkpoint at {path}: give the path of a .pt or .safetensors file.")
    with path.open("rb") as file:
        head = file.read(9)
    if not head:
        raise UnknownCheckpoint(f"{path.name} is empty: fetch the checkpoint again.")
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head.startswith((ZIP_MAGIC, PICKLE_MAGIC)):
        return CheckpointFile(_tensors_in(_read_pickle(path), path.name))
    raise UnknownCheckpoint(
        f"{path.name} is neither a PyTorch nor a safetensors checkpoint: give a SAM 2 .pt file or a .safetensors file."
    )


def _read_safetensors(path: Path) -> CheckpointFile:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return CheckpointFile({name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise UnknownCheckpoint(f"{path.name} is cut off or damaged ({error}): fetch the file again.") from error


def _read_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnknownCheckpoint(
            f"{path.name} holds more than tensors, or is damaged. Python objects in a checkpoint may run code, so they "
            "are never loaded: save its state dict alone, best as .safetensors."
        ) from error
    except _UNREADABLE as error:
        raise UnknownCheckpoint(f"{path.name} is cut off or damaged: fetch the file again.") from error


def _tensors_in(content: Any, name: str) -> dict[str, Tensor]:
    """The state dict in what a pickle held: itself, or under one of the usual keys."""
    if isinstance(content, Mapping):
        for key in WRAPPERS:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
        tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            # parallel training puts every name behind this prefix
            return {key.removeprefix("module."): value for key, value in tensors.items()}
    raise UnknownCheckpoint(f"{name} holds no tensors by name: give a SAM 2 checkpoint.")

"""napari's reader: one volume as an image layer (k, j, i) in millimetres, as the worker reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".npz")

LayerData = tuple[Any, dict[str, Any], str]


def reader_of(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """What reads a file or DICOM folder; None for what is neither."""
    if not isinstance(path, str):
        return None
    place = Path(path)
    return read if place.is_dir() or place.name.lower().endswith(ENDINGS) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """The image layer. Raises `UnreadableFile` with a sentence."""
    from memseg3d.files import read_volume

    file = read_volume(Path(str(path)))
    words = {"name": Path(str(path)).name.split(".")[0], "scale": file.spacing, "colormap": "gray"}
    return [(file.voxels, words, "image")]

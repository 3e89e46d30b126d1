"""The frames of a video or volume as SAM 2's scripts see them: square 8-bit pictures, resized by Pillow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memseg3d.files import UnreadableFile, read_volume
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import automatic_window

JPEG = (".jpg", ".jpeg")
NPZ_KEYS = ("imgs", "images", "image")


@dataclass(frozen=True)
class Frames:
    """pixels: (N, S, S) grey or (N, S, S, 3) RGB, uint8; height, width: of the frames as they came."""

    pixels: NDArray[np.uint8]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.pixels)

    def image(self, index: int) -> Tensor:
        """One frame (1, 1 or 3, S, S) float32 in [0, 1]."""
        frame = torch.from_numpy(self.pixels[index]).double().div(255.0).float()
        return frame[None, None] if frame.ndim == 2 else frame.permute(2, 0, 1)[None]


def load_frames(source: str | Path | NDArray[Any] | Tensor, size: int) -> Frames:
    """Frames from a folder of JPEG files named by numbers, an npz (`imgs`), a volume file, or an array.

    An array or volume is (N, rows, columns) or (N, rows, columns, 3). 8-bit values are taken as they are, others by
    the volume's own window (soft tissue for CT, else percentiles 0.5 to 99.5). A volume file's slices lie along k.
    Raises UnreadableFile where there are no frames.
    """
    if isinstance(source, Tensor):
        source = source.cpu().numpy()
    if isinstance(source, np.ndarray):
        return _of_array(source, size)
    path = Path(source)
    if path.is_dir():
        return _of_folder(path, size)
    if path.suffix.lower() == ".npz":
        return _of_array(_npz_array(path), size)
    return _of_array(read_volume(path).voxels, size)


def _of_folder(folder: Path, size: int) -> Frames:
    from PIL import Image, UnidentifiedImageError

    names = [path for path in folder.iterdir() if path.suffix.lower() in JPEG]
    if not names:
        raise UnreadableFile(f"{folder} holds no JPEG files: name a folder of <number>.jpg, or a volume file.")
    try:
        names.sort(key=lambda path: int(path.stem))
    except ValueError as error:
        raise UnreadableFile(f"The JPEG files of {folder} need numbers for names, as 00000.jpg ({error}).") from error
    pixels = np.empty((len(names), size, size, 3), np.uint8)
    height = width = 0
    for index, path in enumerate(names):
        try:
            with Image.open(path) as picture:
                width, height = picture.size
                pixels[index] = np.asarray(picture.convert("RGB").resize((size, size)))
        except (OSError, UnidentifiedImageError) as error:
            raise UnreadableFile(f"{path} is no picture that can be read: copy it again.") from error
    return Frames(pixels, height, width)


def _npz_array(path: Path) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for key in NPZ_KEYS:
                if key in arrays:
                    return np.asarray(arrays[key])
            raise UnreadableFile(f"{path} has no array {' or '.join(NPZ_KEYS)}; it has {', '.join(arrays.files)}.")
    except (OSError, ValueError) as error:
        if isinstance(error, UnreadableFile):
            raise
        raise UnreadableFile(f"{path} is no npz that can be read: copy it again.") from error


def _of_array(array: NDArray[Any], size: int) -> Frames:
    from PIL import Image

    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] != 3) or not array.size:
        raise UnreadableFile(
            f"Frames are (N, rows, columns) or (N, rows, columns, 3), not {tuple(array.shape)}: turn the array round."
        )
    if array.dtype != np.uint8:
        if array.ndim == 4:
            raise UnreadableFile(f"Colour frames have 8 bits a channel, not {array.dtype}: convert them.")
        window = automatic_window(Volume(array, (1.0, 1.0, 1.0)))
        array = np.stack([np.rint(window.apply(plane) * 255).astype(np.uint8) for plane in array])
    height, width = array.shape[1:3]
    resized = [np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize((size, size))) for plane in array]
    return Frames(np.stack(resized), height, width)

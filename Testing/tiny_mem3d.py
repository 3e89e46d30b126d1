"""Mem3D's networks so narrow that a test can run them, and sets in Mem3D's layout that they can learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from memseg3d.network.mem3d import InteractionShape, Mem3dNetwork, MemoryShape, Sight
from memseg3d.network.mem3d.checkpoint import write_mem3d
from memseg3d.network.mem3d.interaction import InteractionNetwork
from memseg3d.network.mem3d.memory_network import MemoryNetwork
from memseg3d.network.mem3d.shapes import Kind, Quality

SIDE = 64
BLOCKS = (1, 1, 1, 1)


def memory_shape(quality: Quality = "release", aspp: bool = True) -> MemoryShape:
    """Some ten thousand parameters."""
    return MemoryShape(4, (1, 1, 1), 8, 8, 8, aspp, quality, 1, 8)


def mem3d(*kinds: Kind, memory: bool = True, seed: int = 0) -> Mem3dNetwork:
    """A network with random weights."""
    torch.manual_seed(seed)
    networks = {kind: InteractionNetwork(InteractionShape(kind, 4, BLOCKS)) for kind in kinds}
    return Mem3dNetwork(MemoryNetwork(memory_shape()) if memory else None, networks, Sight(SIDE)).eval()


def mem3d_file(folder: Path, *kinds: Kind) -> Path:
    """The same as a model file."""
    path = folder / "tiny-mem3d.safetensors"
    write_mem3d(path, mem3d(*kinds), {})
    return path


def bright_ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """(k, j, i) bool."""
    at = np.indices(shape).astype(float)
    k, j, i = (each - middle for each, middle in zip(at, centre, strict=True))
    return np.asarray((2 * k) ** 2 + j**2 + i**2 <= radius**2)


def mem3d_set(root: Path, cases: int = 3, slices: int = 9, side: int = SIDE, scribbles: bool = True) -> Path:
    """`root`/MSD with Task10_origin, Task10_mask, Task10_mask2 and ImageSets10; the last case tests."""
    base = root / "MSD"
    names = [f"colon_{number:03d}" for number in range(1, cases + 1)]
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        truth = bright_ball((slices, side, side), (slices / 2, side / 2 + number, side / 2 - number), side / 5)
        image = rng.normal(70, 12, truth.shape) + 110 * truth
        for k in range(slices):
            planes = {"origin": image[k].clip(0, 255).astype(np.uint8), "mask": truth[k].astype(np.uint8)}
            if scribbles:
                drawn = np.zeros((side, side), np.uint8)
                drawn[side // 2 - 2 : side // 2 + 2, side // 2 - 6 : side // 2 + 6] = 1
                planes["mask2"] = drawn * truth[k].astype(np.uint8)
            for part, plane in planes.items():
                path = base / f"Task10_{part}" / name / f"{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(plane).save(path)
    lists = base / "ImageSets10"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("".join(f"{name}\n" for name in names[:-1]), encoding="utf-8")
    (lists / "test.txt").write_text(f"{names[-1]}\n", encoding="utf-8")
    return base

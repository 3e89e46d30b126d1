"""DualClickMed's preparation: one small cube for each case and class, as its global expert sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from memseg3d.datasets.sources.npz_arrays import NpzArray
from memseg3d.experts.global_expert import FEWEST_VOXELS, MARGIN
from memseg3d.experts.regions import Region3
from memseg3d.training.experts.targets import MOST_LABEL


def prepare(images: Path, truths: Path, out: Path, side: int = 64, say: Callable[[str], None] = print) -> int:
    """Write `out`/<case>_<class>.npz with imgs and gts, uint8 (side, side, side), of every npz of `images`.

    truths: folder of npz files of the same names with gts; may be `images`. Cubes that are there already are not made
    again. Returns how many there are. Raises `UnreadableFile`.
    """
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for path in sorted(images.rglob("*.npz")):
        labels = NpzArray(truths / path.relative_to(images), "gts").read().voxels
        voxels = None
        for place, found in enumerate(ndimage.find_objects(labels.astype(np.int32), MOST_LABEL), start=1):
            if found is None:
                continue
            cube = out / f"{path.stem}_{place}.npz"
            count += 1
            if cube.is_file():
                continue
            voxels = NpzArray(path, "imgs").read().voxels if voxels is None else voxels
            ck, cj, ci = ((one.start + one.stop - 1) / 2 for one in found)
            k, j, i = (max(FEWEST_VOXELS, round(MARGIN * (one.stop - one.start))) for one in found)
            region = Region3.about((ck, cj, ci), (k, j, i), (side, side, side))
            truth = region.seen(labels == place) > 0.5
            partial = cube.with_suffix(".partial")
            seen = np.clip(np.rint(region.seen(voxels)), 0, 255).astype(np.uint8)
            with partial.open("wb") as file:
                np.savez_compressed(file, imgs=seen, gts=truth.astype(np.uint8))
            partial.replace(cube)
        say(f"{path.name}: {count} cubes")
    return count

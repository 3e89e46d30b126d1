"""Runs in the readers' own environment: prints as JSON where nibabel and pynrrd find the voxels of a labelmap.

Usage: python foreign.py nibabel|pynrrd FILE
"""

from __future__ import annotations

import json
import sys

import numpy as np


def by_nibabel(path: str) -> dict[str, object]:
    """Points by the file's affine, which follows the sform, in LPS."""
    import nibabel

    image = nibabel.load(path)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    voxels = np.asarray(image.dataobj)
    return {str(value): _points(voxels == value, affine) for value in (1, 2)}


def by_pynrrd(path: str) -> dict[str, object]:
    """Points by space directions and origin; a .seg.nrrd says in its header which value and layer a segment has."""
    import nrrd

    voxels, header = nrrd.read(path)
    affine = np.eye(4)
    affine[:3, :3] = np.array(header["space directions"], float)[-3:].T
    affine[:3, 3] = header["space origin"]
    found = {}
    for number in (1, 2):
        value, layer = (
            int(header.get(f"Segment{number - 1}_LabelValue", number)),
            header.get(f"Segment{number - 1}_Layer"),
        )
        found[str(number)] = _points((voxels[int(layer or 0)] if voxels.ndim == 4 else voxels) == value, affine)
    return found


def _points(mask: np.ndarray, affine: np.ndarray) -> list[list[float]]:
    return (np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]).tolist()


if __name__ == "__main__":
    print(json.dumps({"nibabel": by_nibabel, "pynrrd": by_pynrrd}[sys.argv[1]](sys.argv[2])))

"""A small folder of training data in the layout of `memseg3d.datasets.training_data`, written by tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

CASES = {
    "heads/one": ("training", "image and shapes"),
    "heads/two": ("training", "shapes"),
    "heads/share_alike": ("none", "no"),
    "tumours/judging": ("development", "no"),
    "tumours/second": ("development", "no"),
    "tumours/unnamed": ("development", "no"),
}
"""Name -> role, for_weights."""
JUDGING = {"tumours in PET": ["tumours/judging", "tumours/second"]}
Change = Callable[[dict[str, Any], dict[str, Any]], None]


def write_training_folder(folder: Path, change: Change = lambda manifest, development: None) -> Path:
    """Six cases of 10 x 24 x 20 voxels with an image each; `change` may alter manifest and development set before."""
    rng = np.random.default_rng(0)
    manifest: dict[str, Any] = {}
    for name, (role, for_weights) in CASES.items():
        place = folder / name
        place.mkdir(parents=True)
        labels = np.zeros((10, 24, 20), np.uint8)
        labels[2:9, 4:14, 3:12] = 1
        labels[3:8, 14:20, 6:16] = 2
        image = (400.0 * labels + rng.normal(0, 20, labels.shape)).astype(np.int16)
        hashes = {}
        for file, array in (("label.nii.gz", labels), ("image.nii.gz", image)):
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing((1.0, 1.0, 2.0))
            sitk.WriteImage(volume, str(place / file))
            hashes[file] = hashlib.sha256((place / file).read_bytes()).hexdigest()
        manifest[name] = {
            "role": role,
            "for_weights": for_weights,
            "has_image": True,
            "modality": "PET SUV" if name.startswith("tumours") else "fluorescence microscopy",
            "licence": "CC BY 4.0",
            "sha256": hashes,
        }
    groups = {group: [{"case": case, "label": 1} for case in cases] for group, cases in JUDGING.items()}
    development: dict[str, Any] = {"groups": groups}
    change(manifest, development)
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))
    (folder / "DEVELOPMENT.json").write_text(json.dumps(development))
    return folder

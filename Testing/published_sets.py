"""Small sets in the layouts of the published methods, written by tests: a bright disc that wanders through noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from Testing.tiny_sam2 import moving_disc

SLICES = 9


def a_volume(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (k, j, i) uint8 and labels: the disc is 1, and 2 a square beside it that shows on some slices."""
    image, mask = (each.numpy() for each in moving_disc(SLICES, 40, number))
    labels = mask.astype(np.uint8)
    labels[:, 2:9, 3 + number : 12 + number] = 2
    labels[:1] = 0
    return np.where(labels == 2, 120, image).astype(np.uint8), labels


def medical_sam2(root: Path, train: int = 3, test: int = 1, flare: bool = False) -> Path:
    """{Training,Test}/image/<case>/<i>.jpg, .../mask/<case>/<i>.npy; flare: img0001 has masks in label0001."""
    for number in range(train + test):
        split = "Training" if number < train else "Test"
        image, labels = a_volume(number)
        case = f"img{number + 1:04d}"
        masks = root / split / "mask" / (case.replace("img", "label") if flare else case)
        pictures = root / split / "image" / case
        masks.mkdir(parents=True)
        pictures.mkdir(parents=True)
        for k in range(SLICES):
            Image.fromarray(image[k]).convert("RGB").save(pictures / f"{k}.jpg", quality=95)
            np.save(masks / f"{k}.npy", labels[k])
    return root


def folders(root: Path, cases: int = 4) -> Path:
    """images/<case>.nii.gz and labels/<case>.nii.gz, a user's own set."""
    for number in range(cases):
        image, labels = a_volume(number)
        for name, voxels in (("images", image.astype(np.int16) * 4 - 300), ("labels", labels)):
            (root / name).mkdir(parents=True, exist_ok=True)
            volume = sitk.GetImageFromArray(voxels)
            volume.SetSpacing((0.8, 0.8, 2.5))
            sitk.WriteImage(volume, str(root / name / f"case{number}.nii.gz"), useCompression=True)
    return root

"""Writes a small data set in every layout, each case with numbers of its own, so that a mix-up shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from PIL import Image

SHAPE = (6, 10, 12)
SPACING = (2.5, 0.8, 0.7)
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Truth:
    """A case as it was written. image, labels: (k, j, i)."""

    image: Array
    labels: Array


def a_case(number: int, low: int = -500, high: int = 800) -> Truth:
    """Seeded noise with two labelled blocks that lie elsewhere in every case."""
    rng = np.random.default_rng(number)
    image = rng.integers(low, high, SHAPE).astype(np.int16)
    labels = np.zeros(SHAPE, np.uint8)
    shift = number % 3
    labels[1:4, 2 + shift : 6 + shift, 2:7] = 1
    labels[2:5, 2 + shift : 4 + shift, 8:11] = 2
    return Truth(image, labels)


def save(
    path: Path, voxels: Array, spacing: tuple[float, ...] = SPACING, origin: tuple[float, ...] = (0, 0, 0)
) -> Path:
    """Write (k, j, i) voxels as a volume; the suffix says how."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(tuple(reversed(spacing)))
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def _shades(voxels: Array) -> Array:
    return (voxels.astype(float) - voxels.min()) * 255 // (np.ptp(voxels) or 1)


def btcv(root: Path) -> dict[str, Truth]:
    truth = {}
    for number in (1, 2, 10):
        truth[f"img{number:04d}"] = each = a_case(number)
        save(root / f"RawData/Training/img/img{number:04d}.nii.gz", each.image)
        save(root / f"RawData/Training/label/label{number:04d}.nii.gz", each.labels)
    save(root / "RawData/Testing/img/img0061.nii.gz", a_case(61).image)
    return truth


def flare22(root: Path) -> dict[str, Truth]:
    truth = {}
    for number in (1, 2, 10):
        truth[f"FLARE22_Tr_{number:04d}"] = each = a_case(number)
        save(root / f"images/FLARE22_Tr_{number:04d}_0000.nii.gz", each.image)
        save(root / f"labels/FLARE22_Tr_{number:04d}.nii.gz", each.labels)
    return truth


def amos(root: Path) -> dict[str, Truth]:
    truth = {}
    for number, part in ((1, "Tr"), (507, "Tr"), (8, "Va")):
        truth[f"amos_{number:04d}"] = each = a_case(number)
        save(root / f"images{part}/amos_{number:04d}.nii.gz", each.image)
        save(root / f"labels{part}/amos_{number:04d}.nii.gz", each.labels)
    save(root / "imagesTs/amos_0100.nii.gz", a_case(100).image)
    # The set comes with an index like the decathlon's.
    (root / "dataset.json").write_text(json.dumps({"modality": {"0": "CT"}, "labels": {}, "training": [], "test": []}))
    return truth


def msd(root: Path) -> dict[str, Truth]:
    truth, training = {}, []
    for number in (1, 2, 10):
        truth[f"colon_{number:03d}"] = each = a_case(number)
        save(root / f"imagesTr/colon_{number:03d}.nii.gz", each.image)
        save(root / f"labelsTr/colon_{number:03d}.nii.gz", each.labels)
        (root / f"imagesTr/._colon_{number:03d}.nii.gz").write_bytes(b"macOS")
        training.append(
            {"image": f"./imagesTr/colon_{number:03d}.nii.gz", "label": f"./labelsTr/colon_{number:03d}.nii.gz"}
        )
    save(root / "imagesTs/colon_004.nii.gz", a_case(4).image)
    words = {
        "name": "Colon",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "primaries", "2": "other"},
        "training": training,
        "test": ["./imagesTs/colon_004.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(words))
    return truth


def _kits(root: Path) -> dict[str, Truth]:
    truth = {}
    for number in (0, 1, 10):
        each = a_case(number)
        # Along the file's first axis, which is the array's last.
        truth[f"case_{number:05d}"] = each
        for name, voxels in (("imaging", each.image), ("segmentation", each.labels)):
            save(root / f"case_{number:05d}" / f"{name}.nii.gz", np.moveaxis(voxels, 0, 2), (0.8, 0.7, 2.5))
    return truth


def kits19(root: Path) -> dict[str, Truth]:
    truth = _kits(root / "data")
    save(root / "data/case_00210/imaging.nii.gz", np.moveaxis(a_case(210).image, 0, 2), (0.8, 0.7, 2.5))
    return truth


def kits23(root: Path) -> dict[str, Truth]:
    truth = _kits(root / "dataset")
    (root / "dataset/kits23.json").write_text("[]")
    return truth


def brats2020(root: Path) -> dict[str, Truth]:
    truth = {}
    for number in (1, 2, 355):
        name = f"BraTS20_Training_{number:03d}"
        each = a_case(number, 0, 900)
        truth[name] = Truth(each.image, np.where(each.labels == 2, 4, each.labels).astype(np.uint8))
        for place, channel in enumerate(("flair", "t1", "t1ce", "t2")):
            save(root / name / f"{name}_{channel}.nii", (each.image + place).astype(np.int16))
        ending = "W39_1998.09.19_Segm" if number == 355 else f"{name}_seg"
        save(root / name / f"{ending}.nii", truth[name].labels)
    return truth


def cvpr25(root: Path) -> dict[str, Truth]:
    truth = {}
    spacing = tuple(reversed(SPACING))
    for number, folder in ((1, "3D_train_npz_all/CT"), (2, "3D_train_npz_all/MR"), (3, "3D_val_npz")):
        kind = "MR" if folder.endswith("MR") else "CT"
        name = f"{kind}_Abdomen_{number:04d}"
        each = a_case(number)
        truth[name] = Truth(_shades(each.image).astype(np.uint8), each.labels)
        arrays = {"imgs": truth[name].image, "spacing": np.array(spacing)}
        (root / folder).mkdir(parents=True, exist_ok=True)
        if "train" in folder:
            np.savez_compressed(root / folder / f"{name}.npz", gts=each.labels, **arrays)
        else:
            boxes = np.array([{"z_min": 1}], dtype=object)
            np.savez_compressed(root / folder / f"{name}.npz", boxes=boxes, **arrays)
            (root / "3D_val_gt").mkdir()
            np.savez_compressed(root / "3D_val_gt" / f"{name}.npz", gts=each.labels)
    return truth


def _palette(labels: Array) -> Image.Image:
    picture = Image.fromarray(labels).convert("P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    return picture


def mem3d(root: Path) -> dict[str, Truth]:
    truth = {}
    for number in (1, 2, 10):
        name = f"colon_{number:03d}"
        each = a_case(number)
        truth[name] = Truth(_shades(each.image).astype(np.uint8), (each.labels == 1).astype(np.uint8))
        for k in range(SHAPE[0]):
            for folder in ("Task10_origin", "Task10_mask"):
                (root / "MSD" / folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(truth[name].image[k]).save(root / f"MSD/Task10_origin/{name}/{k}.png")
            _palette(truth[name].labels[k]).save(root / f"MSD/Task10_mask/{name}/{k}.png")
    (root / "MSD/ImageSets10").mkdir()
    (root / "MSD/ImageSets10/train.txt").write_text("colon_001\ncolon_002\n")
    (root / "MSD/ImageSets10/test.txt").write_text("colon_010\n")
    return truth


def medical_sam2(root: Path) -> dict[str, Truth]:
    truth = {}
    for number, part in ((1, "Training"), (2, "Training"), (35, "Test")):
        name = f"img{number:04d}"
        each = a_case(number)
        smooth = np.broadcast_to(np.arange(SHAPE[2], dtype=np.uint8) * 15 + number, SHAPE)
        truth[name] = Truth(smooth, each.labels)
        # FLARE's masks have the label's name.
        images, masks = root / part / "image" / name, root / part / "mask" / name.replace("img", "label")
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for k in range(SHAPE[0]):
            Image.fromarray(np.ascontiguousarray(smooth[k])).convert("RGB").save(images / f"{k}.jpg", quality=100)
            np.save(masks / f"{k}.npy", each.labels[k].astype(np.int64))
    return truth


def video(root: Path) -> dict[str, Truth]:
    truth = {}
    for number in (1, 2, 3):
        each = a_case(number)
        truth[f"pancreas_{number:03d}"] = found = Truth(
            _shades(each.image).astype(np.uint8), (each.labels > 0).astype(np.uint8)
        )
        folder = root / f"pancreas_{number:03d}"
        folder.mkdir(parents=True)
        for k in range(SHAPE[0]):
            Image.fromarray(found.image[k]).save(folder / f"{k:05d}.png")
            np.save(folder / f"{k:05d}.npy", found.labels[k].astype(np.int64))
    return truth


def folders(root: Path) -> dict[str, Truth]:
    truth = {}
    for number in (0, 1, 10):
        truth[str(number)] = each = a_case(number)
        save(root / f"images/volume-{number}.nrrd", each.image)
        save(root / f"labels/segmentation-{number}.nii.gz", each.labels)
    return truth


def cases(root: Path) -> dict[str, Truth]:
    truth = {}
    for number in (1, 2, 3):
        truth[f"ct_{number}"] = each = a_case(number)
        save(root / f"ct_{number}/image.nii.gz", each.image)
        save(root / f"ct_{number}/label.nii.gz", each.labels)
    (root / "MANIFEST.json").write_text(json.dumps({name: {"modality": "CT"} for name in truth}))
    return truth


WRITERS: dict[str, Callable[[Path], dict[str, Truth]]] = {
    "btcv": btcv,
    "flare22": flare22,
    "amos": amos,
    "msd": msd,
    "kits19": kits19,
    "kits23": kits23,
    "brats2020": brats2020,
    "cvpr25": cvpr25,
    "mem3d": mem3d,
    "medical-sam2": medical_sam2,
    "video": video,
    "folders": folders,
    "cases": cases,
}
"""Each writes its layout below a folder and returns the labelled cases by name, slices first."""

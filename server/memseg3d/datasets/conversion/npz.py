"""A case as the CVPR25 challenge keeps it: imgs in 8 bits, gts, spacing."""

from __future__ import annotations

import numpy as np

from memseg3d.datasets.conversion.frames import turned
from memseg3d.datasets.conversion.grey_values import stored
from memseg3d.datasets.conversion.options import Options
from memseg3d.datasets.conversion.selecting import chosen_labels
from memseg3d.datasets.conversion.staging import Staging
from memseg3d.datasets.conversion.target import Written
from memseg3d.datasets.description import Case, Split
from memseg3d.datasets.record import CaseRecord


def write_cvpr25(case: Case, staging: Staging, options: Options) -> Written:
    """3D_train_npz/<case>.npz with its truth; what is not for training in 3D_val_npz, its truth in 3D_val_gt."""
    volume = case.image.read()
    axis = case.slice_axis
    images = stored(np.moveaxis(volume.voxels, axis, 0), case.modality, options).voxels
    geometry = turned(volume.geometry, axis, 0, len(images), False)
    # (x, y, z), as the challenge's makers had it from SimpleITK.
    arrays = {"imgs": np.ascontiguousarray(images), "spacing": np.array(geometry.spacing)}
    labels = np.ascontiguousarray(np.moveaxis(chosen_labels(case, options), axis, 0)) if case.labels else None
    is_training = case.split in (Split.TRAIN, Split.UNKNOWN) and labels is not None
    name = f"{case.name}.npz"
    units = []
    if is_training:
        units = [f"3D_train_npz/{name}"]
        np.savez_compressed(staging.file(units[0]), gts=labels, **arrays)  # type: ignore[arg-type]
    else:
        if labels is not None:
            units = [f"3D_val_gt/{name}"]
            np.savez_compressed(staging.file(units[0]), gts=labels)
        units.append(f"3D_val_npz/{name}")
        np.savez_compressed(staging.file(units[-1]), **arrays)  # type: ignore[arg-type]
    return Written(tuple(units), CaseRecord(case.split, case.patient, case.modality, case.channels[:1]))

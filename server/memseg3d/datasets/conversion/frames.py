"""A case as numbered 2D files: for nii2video's videos, Mem3D's tasks and Medical-SAM2's folders."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.datasets.conversion.grey_values import stored
from memseg3d.datasets.conversion.options import Frames, Options
from memseg3d.datasets.conversion.selecting import chosen_labels
from memseg3d.datasets.conversion.staging import Staging, save_array
from memseg3d.datasets.conversion.target import Written
from memseg3d.datasets.description import Case, Split
from memseg3d.datasets.errors import BrokenCase, DataSetError
from memseg3d.datasets.record import CaseRecord, Record
from memseg3d.files import Geometry

EXTENSION = (5, 10)
"""With threshold 0 nii2video's release adds so many slices at each end, drawn at random, the last not included."""
_PALETTE = (0, 0, 0, 255, 0, 0, 0, 255, 0, *((97 * n) % 256 for n in range(3 * 253)))
"""The release's colours for 0 to 2. Of all 256: a shorter palette is packed into fewer bits, which cut labels off."""
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Sliced:
    """A case as slices. images, labels: (slice, row, column)."""

    images: NDArray[Any]
    labels: NDArray[Any]
    record: CaseRecord


def write_video(case: Case, staging: Staging, options: Options) -> Written:
    """<case>/00000.png or .jpg with 00000.npy."""
    sliced = _sliced(case, options)
    kind = np.int64 if options.published else sliced.labels.dtype
    for k, plane in enumerate(sliced.labels):
        save_array(staging.file(f"{case.name}/{k:05d}.npy"), plane.astype(kind))
    _write_images(sliced.images, staging, options, lambda k, suffix: f"{case.name}/{k:05d}{suffix}")
    return Written((case.name,), sliced.record)


def write_mem3d(case: Case, staging: Staging, options: Options) -> Written:
    """MSD/TaskNN_origin/<case>/0.png with MSD/TaskNN_mask/<case>/0.png, indexed."""
    from PIL import Image

    sliced = _sliced(case, options)
    if sliced.labels.max() > np.iinfo(np.uint8).max:
        raise BrokenCase(f"{case.name} has labels above 255, which indexed PNG cannot keep; choose some by --label.")
    masks, origin = (f"MSD/Task{options.task:02d}_{part}/{case.name}" for part in ("mask", "origin"))
    for k, plane in enumerate(sliced.labels):
        picture = Image.fromarray(np.ascontiguousarray(plane.astype(np.uint8))).convert("P")
        picture.putpalette(_PALETTE)
        picture.save(staging.file(f"{masks}/{k}.png"))
    _write_images(sliced.images, staging, options, lambda k, suffix: f"{origin}/{k}{suffix}")
    return Written((masks, origin), sliced.record)


def finish_mem3d(root: Path, record: Record, options: Options) -> None:
    """The lists of cases; those of no split train."""
    lists = root / f"MSD/ImageSets{options.task:02d}"
    lists.mkdir(parents=True, exist_ok=True)
    for name, splits in (
        ("train", (Split.TRAIN, Split.UNKNOWN)),
        ("val", (Split.VALIDATION,)),
        ("test", (Split.TEST,)),
    ):
        chosen = [case for case, kept in record.cases.items() if kept.split in splits]
        if chosen or name != "val":
            (lists / f"{name}.txt").write_text("".join(f"{case}\n" for case in chosen), encoding="utf-8", newline="\n")


def write_medical_sam2(case: Case, staging: Staging, options: Options) -> Written:
    """Training/image/<case>/0.jpg with Training/mask/<case>/0.npy; Validation and Test alike."""
    sliced = _sliced(case, options)
    part = {Split.TEST: "Test", Split.VALIDATION: "Validation"}.get(case.split, "Training")
    masks, images = f"{part}/mask/{case.name}", f"{part}/image/{case.name}"
    for k, plane in enumerate(sliced.labels):
        save_array(staging.file(f"{masks}/{k}.npy"), plane)
    _write_images(sliced.images, staging, options, lambda k, suffix: f"{images}/{k}{suffix}")
    return Written((masks, images), sliced.record)


def _write_images(images: NDArray[Any], staging: Staging, options: Options, name: Any) -> None:
    """One picture a slice. name: from number and suffix to the path."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataSetError("Writing PNG and JPEG needs Pillow: pip install 'memseg3d[data]'.") from error
    is_jpeg = options.frames is Frames.JPEG
    # The release of nii2video leaves the quality to its library.
    quality: dict[str, Any] = {} if options.published or not is_jpeg else {"quality": _JPEG_QUALITY}
    for k, plane in enumerate(images):
        path = staging.file(name(k, ".jpg" if is_jpeg else ".png"))
        Image.fromarray(np.ascontiguousarray(plane)).save(path, **quality)


def _sliced(case: Case, options: Options) -> Sliced:
    """The first channel along the scanner's slices, cropped, turned and scaled as asked."""
    if case.labels is None:
        raise BrokenCase(f"{case.image.shown} has no labels, and this layout keeps no image without them.")
    volume = case.image.read()
    # The release slices along the file's third axis, whatever the scanner did, and lays columns before rows. Mem3D's
    # release knows KiTS's axis.
    axis = 0 if options.is_nii2video_release else case.slice_axis
    labels = np.moveaxis(chosen_labels(case, options), axis, 0)
    images = np.moveaxis(volume.voxels, axis, 0)
    start, stop = _range(case, labels, options)
    kept = stored(images[start:stop], case.modality, options)
    planes, truth = kept.voxels, labels[start:stop]
    if options.published:
        planes, truth = planes.swapaxes(1, 2), truth.swapaxes(1, 2)
    has_place = case.image.header().has_spacing
    geometry = turned(volume.geometry, axis, start, stop, options.published) if has_place else None
    channels = case.channels[:1]
    record = CaseRecord(case.split, case.patient, case.modality, channels, geometry, kept.slope, kept.offset, 0)
    return Sliced(planes, truth, record)


def _range(case: Case, labels: NDArray[Any], options: Options) -> tuple[int, int]:
    """First slice and the one after the last. Raises `BrokenCase` where none is left."""
    if options.threshold is None:
        return 0, len(labels)
    counts = np.array([np.count_nonzero(plane) for plane in labels])
    shown = np.flatnonzero(counts > options.threshold)
    if not len(shown):
        raise BrokenCase(f"{case.name} has no slice with more than {options.threshold} labelled pixels.")
    start, stop = int(shown[0]), int(shown[-1]) + 1
    if options.published:
        # The release leaves the last slice out.
        stop -= 1
        if options.threshold == 0:
            draw = np.random.default_rng([options.seed, zlib.crc32(case.name.encode())])
            start, stop = max(0, start - int(draw.integers(*EXTENSION))), stop + int(draw.integers(*EXTENSION))
            stop = min(stop, len(labels))
        if start >= stop:
            raise BrokenCase(f"{case.name} has one slice above the threshold, and the release leaves the last one out.")
    return start, stop


def turned(geometry: Geometry, axis: int, start: int, stop: int, is_transposed: bool) -> Geometry:
    """The grid after `axis` of (k, j, i) came first, some slices were kept, and rows swapped with columns."""
    first, second = (other for other in range(3) if other != axis)
    order = (axis, second, first) if is_transposed else (axis, first, second)
    directions, spacings = np.reshape(geometry.direction, (3, 3)), geometry.spacing
    # Axis n of the array is column 2 - n of the grid.
    columns = [2 - order[2], 2 - order[1], 2 - order[0]]
    si, sj, sk = (spacings[column] for column in columns)
    x, y, z = np.array(geometry.origin) + directions[:, 2 - axis] * spacings[2 - axis] * start
    shape = (stop - start, geometry.shape[order[1]], geometry.shape[order[2]])
    direction = tuple(float(n) for n in directions[:, columns].ravel())
    return Geometry(shape, (si, sj, sk), (float(x), float(y), float(z)), direction)

"""The layout of the collected training data: what may go into weights, and what may only judge, told by its manifest.

    MANIFEST.json        case ("set/case") -> what it is: role, for_weights, licence, modality, SHA-256 of its files
    DEVELOPMENT.json     the development set: groups of targets in real images
    <set>/<case>/label.nii.gz, and image.nii.gz on the same grid where there is one

There are two doors. `training_cases` gives what weights may be made of and nothing else; `development_groups` gives the
targets that candidates are compared on. No case comes through both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.files import UnreadableFile, VolumeFile, read_volume

ENVIRONMENT = "MEMSEG3D_TRAINING_DATA"
TRAINING, DEVELOPMENT = "training", "development"
SHAPES, IMAGE_AND_SHAPES = "shapes", "image and shapes"
"""What `for_weights` allows: the label map alone, or the image with it. Anything else allows nothing."""


@dataclass(frozen=True)
class TrainingCase:
    """A case that weights may be made of. name: "set/case". with_image: whether its image may be used as well."""

    folder: Path
    name: str
    modality: str
    licence: str
    with_image: bool

    def labels(self) -> VolumeFile:
        """The label map, (k, j, i) integers, with its spacing. Raises `UnreadableFile`."""
        return _labels(self.folder, self.name)

    def image(self) -> VolumeFile:
        """The image on the grid of the label map, (k, j, i).

        Raises PermissionError where only the shapes may be used, `UnreadableFile` where it cannot be read.
        """
        if not self.with_image:
            raise PermissionError(f"Only the shapes of {self.name} may go into weights, not its image.")
        return read_volume(self.folder / self.name / "image.nii.gz")


@dataclass(frozen=True)
class DevelopmentTarget:
    """One label of one case that candidates are judged on. case: "set/case"; modality: CT, MR, PET or microscopy."""

    case: str
    label: int
    modality: str


def training_cases(folder: Path) -> list[TrainingCase]:
    """The cases that weights may be made of, by name: role `training`, `for_weights` other than "no".

    A case that the development set names is never among them, whatever the manifest says of it.
    Raises `UnreadableFile` where the folder is none of this layout.
    """
    manifest = _manifest(folder)
    judging = {target.case for targets in development_groups(folder).values() for target in targets}
    return [
        TrainingCase(
            folder,
            name,
            modality_of(words),
            str(words.get("licence", "")),
            words["for_weights"] == IMAGE_AND_SHAPES and bool(words.get("has_image")),
        )
        for name, words in sorted(manifest.items())
        if words.get("role") == TRAINING
        and words.get("for_weights") in (SHAPES, IMAGE_AND_SHAPES)
        and name not in judging
    ]


def development_groups(folder: Path) -> dict[str, list[DevelopmentTarget]]:
    """The development set: targets by group.

    Raises `UnreadableFile` where it cannot be read, or names a case that the manifest does not keep for development.
    """
    manifest = _manifest(folder)
    path = folder / "DEVELOPMENT.json"
    groups: dict[str, list[DevelopmentTarget]] = {}
    try:
        for group, targets in json.loads(path.read_text(encoding="utf-8-sig"))["groups"].items():
            groups[group] = [
                DevelopmentTarget(each["case"], int(each["label"]), modality_of(manifest[each["case"]]))
                for each in targets
            ]
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableFile(f"{path} is no development set of this folder ({error!r}).") from error
    for target in (each for targets in groups.values() for each in targets):
        if manifest[target.case].get("role") != DEVELOPMENT:
            raise UnreadableFile(f"{path} names {target.case}, which the manifest does not keep for development.")
    return groups


def read_development_case(folder: Path, case: str) -> tuple[VolumeFile, NDArray[Any]]:
    """Image and labels (k, j, i) of a case of the development set. Raises `UnreadableFile`, also for any other case."""
    if not any(target.case == case for targets in development_groups(folder).values() for target in targets):
        raise UnreadableFile(f"{case} is no case of the development set in {folder}.")
    image, truth = read_volume(folder / case / "image.nii.gz"), _labels(folder, case)
    if image.voxels.shape != truth.voxels.shape:
        raise UnreadableFile(f"The truth of {case} has shape {truth.voxels.shape}, its image {image.voxels.shape}.")
    return image, truth.voxels


def manifest_sha256(folder: Path) -> str:
    """SHA-256 of MANIFEST.json, so that a card can say what a run was given. Raises `UnreadableFile`."""
    _manifest(folder)
    return hashlib.sha256((folder / "MANIFEST.json").read_bytes()).hexdigest()


def damaged_files(folder: Path) -> list[str]:
    """Files ("set/case/file") that are missing or differ from the manifest's SHA-256, sorted; empty where all is well.

    Raises `UnreadableFile` where the folder is none of this layout.
    """
    wrong = []
    for name, words in _manifest(folder).items():
        for file, expected in words.get("sha256", {}).items():
            path = folder / name / file
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
                wrong.append(f"{name}/{file}")
    return sorted(wrong)


def modality_of(words: Mapping[str, Any]) -> str:
    """CT, MR, PET or microscopy of a case of the manifest; else the first word of what it says."""
    told = str(words.get("modality", ""))
    return "microscopy" if "microscopy" in told.lower() else (told.split() or ["unknown"])[0]


def _manifest(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "MANIFEST.json"
    if not path.is_file():
        raise UnreadableFile(f"{folder} holds no MANIFEST.json; give the folder of the training data.")
    try:
        words = json.loads(path.read_text(encoding="utf-8-sig"))
        if not all(isinstance(each, dict) and "for_weights" in each for each in words.values()):
            raise TypeError("a case without for_weights")
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        raise UnreadableFile(f"{path} is no manifest of training data ({error}).") from error
    checked: dict[str, dict[str, Any]] = words
    return checked


def _labels(folder: Path, case: str) -> VolumeFile:
    volume = read_volume(folder / case / "label.nii.gz")
    if volume.voxels.dtype.kind == "f":
        volume = VolumeFile(np.rint(volume.voxels).astype(np.int32), volume.spacing, volume.geometry)
    return volume

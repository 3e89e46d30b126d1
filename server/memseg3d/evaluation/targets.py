"""What the robot user segments: the labels of each case of a data folder, chosen by a fixed rule."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.files import UnreadableFile, VolumeFile, read_volume
from memseg3d.files.geometry import ON_IMAGE
from memseg3d.files.labels import NOT_FINITE

LABELS_PER_CASE = 6
FEWEST_VOXELS = 300
POOR_TRUTH = {("ct_abdopelvis_ccth_a01", 5)}
"""Labels whose truth is too poor to be scored (small bowel, automatic)."""
INSTANCES_DRAWN = {"mic_ovule_plantseg": 3}
"""Cases whose labels are instances of one thing: so many are drawn, seeded by the case's name."""


@dataclass(frozen=True)
class Target:
    """One label of one case. modality: CT, MR, PET or microscopy."""

    case: str
    label: int
    modality: str
    voxels: int

    @property
    def key(self) -> str:
        """case/label: the name of the target in tables, and the seed of its robot."""
        return f"{self.case}/{self.label}"


@dataclass(frozen=True)
class Case:
    """A volume with its truth. labels: (k, j, i) integers on the grid of the image."""

    name: str
    modality: str
    image: VolumeFile
    labels: NDArray[Any]

    @property
    def targets(self) -> list[Target]:
        """The targets of this case, by label."""
        values, counts = np.unique(self.labels[self.labels > 0], return_counts=True)
        sizes = {int(v): int(n) for v, n in zip(values, counts, strict=True)}
        return [Target(self.name, v, self.modality, sizes[v]) for v in choose_labels(self.name, sizes)]


def choose_labels(case: str, sizes: dict[int, int]) -> list[int]:
    """The labels to score. sizes: voxels per label.

    The six largest of at least 300 voxels (ties: the lower label); for a case of instances a seeded draw among them.
    """
    scored = [v for v, n in sizes.items() if n >= FEWEST_VOXELS and (case, v) not in POOR_TRUTH]
    by_size = sorted(scored, key=lambda v: (-sizes[v], v))
    if case in INSTANCES_DRAWN:
        draw = np.random.default_rng(zlib.crc32(case.encode()))
        return sorted(int(v) for v in draw.choice(by_size, INSTANCES_DRAWN[case], replace=False))
    return sorted(by_size[:LABELS_PER_CASE])


def find_cases(folder: Path, names: Iterable[str] | None = None) -> dict[str, str]:
    """Modality by case name, for the cases of a data folder (`MANIFEST.json`, `<case>/image.nii.gz`, `label.nii.gz`).

    names: only these. Raises `UnreadableFile` where the folder is no data folder or lacks a named case.
    """
    manifest = folder / "MANIFEST.json"
    if not manifest.is_file():
        raise UnreadableFile(f"{folder} holds no MANIFEST.json; give the folder of cases with truth.")
    try:
        words = json.loads(manifest.read_text(encoding="utf-8-sig"))
        known = {name: _modality(str(entry.get("modality", ""))) for name, entry in sorted(words.items())}
    except (ValueError, RecursionError, AttributeError) as error:
        raise UnreadableFile(f'{manifest} cannot be read; write {{"<case>": {{"modality": "CT"}}, ...}}.') from error
    if names is None:
        return known
    missing = sorted(set(names) - set(known))
    if missing:
        raise UnreadableFile(f"{folder} has no case {', '.join(missing)}. It has: {', '.join(known)}.")
    return {name: known[name] for name in sorted(set(names))}


def read_case(folder: Path, name: str, modality: str) -> Case:
    """Read a case's image and truth. Raises `UnreadableFile`, also where they do not share one grid."""
    image = read_volume(folder / name / "image.nii.gz")
    truth = read_volume(folder / name / "label.nii.gz")
    if image.voxels.shape != truth.voxels.shape:
        raise UnreadableFile(f"The truth of {name} has shape {truth.voxels.shape}, its image {image.voxels.shape}.")
    if (apart := image.geometry.apart(truth.geometry)) > ON_IMAGE:
        raise UnreadableFile(f"The truth of {name} lies {apart:.2g} voxels beside its image; resample it onto it.")
    if truth.not_finite:
        raise UnreadableFile(NOT_FINITE.format(shown=f"The truth of {name}", count=truth.not_finite))
    labels = truth.voxels
    if labels.dtype.kind == "f":
        labels = np.rint(labels).astype(np.int32)
    return Case(name, modality, image, labels)


def _modality(words: str) -> str:
    return "microscopy" if "microscopy" in words.lower() else (words.split() or ["unknown"])[0]


def read_traits(folder: Path) -> dict[str, frozenset[str]]:
    """What is hard about a target, by "case/label", where the manifest tells it (`"traits": {"1": ["thin"]}`)."""
    words = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8-sig"))
    return {
        f"{case}/{label}": frozenset(str(trait) for trait in traits)
        for case, entry in words.items()
        for label, traits in entry.get("traits", {}).items()
    }

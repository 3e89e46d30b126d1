"""Labelmaps as NIfTI on the reference grid, with a side-car of names in JSON and a label description for ITK-SNAP."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from MemSeg3DLib.base.errors import ExportError, SceneError
from MemSeg3DLib.base.lattices import FARTHEST
from MemSeg3DLib.base.output_files import RESEARCH_USE, FileSet, unique_names, write_text
from MemSeg3DLib.export.dicom.terminology import SegmentDescription, segment_as_json
from MemSeg3DLib.export.dicom.terminology_entry import describe_segment
from MemSeg3DLib.export.labelmaps.writing import laid_on_grid, laid_on_nifti, write_nifti_labelmap
from MemSeg3DLib.scene.transforms import LPS_FROM_RAS, ijk_to_local_matrix
from MemSeg3DLib.scene.volume_masks import CroppedMask, chosen_ids, layers_of, mask_on_volume

NIFTI = (".nii", ".nii.gz")
_OTHER_GRID = "{name} is not on the source volume's grid: export without it, or name the right file."


class Overlap(Enum):
    """What becomes of segments that overlap, for a labelmap has one value a voxel."""

    LAYERS = "layers"
    """One file where none overlap, else as few as hold all voxels of all segments."""
    FILES = "files"
    """One file a segment, always."""
    LATER = "later"
    """One file; the later segment is seen."""


@dataclass(frozen=True, eq=False)
class NiftiJob:
    """Everything that is to be written, copied out of the scene, so that `write` may run on any thread.

    path: `<name>.nii.gz`; further files get names of their own beside it. affine: (i, j, k, 1) to LPS mm. like: the
    file that labelmaps are to lie on. loaded_from: the one that the volume was loaded from, as the scene knows it.
    """

    path: Path
    segments: tuple[SegmentDescription, ...]
    masks: tuple[CroppedMask, ...]
    affine: np.ndarray
    overlap: Overlap
    like: Path | None
    overwrite: bool
    loaded_from: Path | None = None

    def write(self, on_step: Callable[[int, int], None] | None = None) -> tuple[Path, ...]:
        """Write labelmaps, side-car and label description; all or none of them. Raises ExportError or SceneError.

        on_step(done, total) is called before each labelmap; what it raises ends the export without a trace.
        """
        layers = self._layers()
        names = self._file_names(layers)
        with FileSet(self.overwrite) as files:
            for done, (name, layer) in enumerate(zip(names, layers, strict=True)):
                if on_step is not None:
                    on_step(done, len(layers))
                self._write_labelmap(files.add(self.path.with_name(name)), layer)
            stem = self.path.with_name(_stem(self.path.name))
            where = {index: name for name, layer in zip(names, layers, strict=True) for index in layer}
            write_text(files.add(stem.with_name(stem.name + ".json")), self._side_car(where))
            write_text(files.add(stem.with_name(stem.name + ".labels.txt")), self._label_description())
            targets = files.targets
        return targets

    def _layers(self) -> list[list[int]]:
        if self.overlap is Overlap.FILES:
            return [[index] for index in range(len(self.masks))]
        if self.overlap is Overlap.LATER:
            return [list(range(len(self.masks)))]
        return layers_of(self.masks)

    def _file_names(self, layers: Sequence[Sequence[int]]) -> list[str]:
        stem, suffix = _stem(self.path.name), self.path.name[len(_stem(self.path.name)) :]
        if self.overlap is Overlap.FILES:
            return [f"{stem}_{name}{suffix}" for name in unique_names([one.name for one in self.segments])]
        if len(layers) == 1:
            return [self.path.name]
        return [f"{stem}_layer{number}{suffix}" for number in range(1, len(layers) + 1)]

    def _write_labelmap(self, path: Path, layer: Sequence[int]) -> None:
        labels = np.zeros(self.masks[0].shape, dtype=np.uint8 if len(self.masks) < 256 else np.uint16)
        for index in layer:
            self.masks[index].paint(labels, self.segments[index].label)
        if self._write_like_nifti(path, labels):
            return
        image = _placed(labels, self.affine) if self.like is None else _laid_on(labels, self.affine, self.like)
        image.SetMetaData("ITK_FileNotes", f"MemSeg3D. {RESEARCH_USE}")
        try:
            sitk.WriteImage(image, str(path), useCompression=True)
            # The library does not notice a disk that fills up while it compresses: what was written is read again.
            written = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
            is_whole = np.array_equal(written, sitk.GetArrayFromImage(image))
        except RuntimeError:
            is_whole = False
        if not is_whole:
            raise ExportError(f"{self.path.name} cannot be written: check the folder and its free space.")

    def _write_like_nifti(self, path: Path, labels: np.ndarray) -> bool:
        """Write with the forms of the NIfTI file that the volume came from; False where it came from none.

        Such a file may hold two positions, or one that the library would write anew: its own fields go through.
        """
        if self.like is not None and self.like.name.lower().endswith(NIFTI):
            try:
                laid = laid_on_nifti(labels, self.affine, self.like)
            except ExportError as error:
                raise SceneError(f"{error}") from error
            if laid is None:
                raise SceneError(_OTHER_GRID.format(name=self.like.name))
        elif self.like is None and self.loaded_from is not None:
            try:
                laid = laid_on_nifti(labels, self.affine, self.loaded_from)
            except ExportError:
                return False  # gone, or exchanged, since it was loaded
            if laid is None:
                return False  # the volume was moved or resampled since
        else:
            return False
        if not write_nifti_labelmap(path, *laid, f"MemSeg3D. {RESEARCH_USE}"):
            raise ExportError(f"{self.path.name} cannot be written: check the folder and its free space.")
        return True

    def _side_car(self, where: dict[int, str]) -> str:
        segments = [
            {"label": one.label, "file": where[index], "voxels": mask.count, **segment_as_json(one)}
            for index, (one, mask) in enumerate(zip(self.segments, self.masks, strict=True))
        ]
        content = {"software": "MemSeg3D", "use": RESEARCH_USE, "segments": segments}
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def _label_description(self) -> str:
        """ITK-SNAP's table: label, red, green, blue, opacity, shown, shown in 3D, name."""
        lines = [f"# MemSeg3D. {RESEARCH_USE}.", '    0     0    0    0        0  0  0    "Clear Label"']
        for one in self.segments:
            red, green, blue = one.colour or (255, 255, 255)
            name = " ".join(one.name.replace('"', "'").split())
            lines.append(f'{one.label:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "{name}"')
        return "\n".join(lines) + "\n"


def prepare_nifti(
    segmentation_node: Any,
    volume_node: Any,
    path: Path,
    segment_ids: Sequence[str] | None = None,
    like: Path | None = None,
    overlap: Overlap = Overlap.LAYERS,
    overwrite: bool = False,
) -> NiftiJob:
    """Copy what is needed out of the scene; main thread. See `write_nifti`."""
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ExportError(f"A NIfTI file ends in .nii.gz or .nii, {path.name} does not: change its name.")
    ids = chosen_ids(segmentation_node, segment_ids)
    masks = tuple(mask_on_volume(segmentation_node, one, volume_node) for one in ids)
    segmentation = segmentation_node.GetSegmentation()
    segments = tuple(describe_segment(segmentation.GetSegment(one), n) for n, one in enumerate(ids, 1))
    affine = LPS_FROM_RAS @ ijk_to_local_matrix(volume_node)
    _check_right_angles(affine, masks[0].shape)
    return NiftiJob(path, segments, masks, affine, overlap, like, overwrite, _loaded_from(volume_node))


def _loaded_from(volume_node: Any) -> Path | None:
    """The NIfTI file that the scene says a volume was loaded from."""
    storage = volume_node.GetStorageNode()
    name = str(storage.GetFileName() or "") if storage is not None else ""
    return Path(name) if name.lower().endswith(NIFTI) and Path(name).is_file() else None


def write_nifti(
    segmentation_node: Any,
    volume_node: Any,
    path: Path,
    segment_ids: Sequence[str] | None = None,
    like: Path | None = None,
    overlap: Overlap = Overlap.LAYERS,
    overwrite: bool = True,
) -> tuple[Path, ...]:
    """Write labelmaps on the source volume's grid and, beside them, `<name>.json` and `<name>.labels.txt`.

    A segment has the same value in every file: its place in the list, from 1. The volume's own geometry is written,
    without its parent transform; where it was loaded from NIfTI, that file's own forms, codes and units. like: the file
    that the volume was loaded from; the labelmap then lies on that file voxel for voxel, also where Slicer turned its
    slices around. Returns all files, labelmaps first.
    Raises SceneError where `like` has another grid or the volume is sheared, ExportError where the disk does not take a
    file.
    """
    return prepare_nifti(segmentation_node, volume_node, path, segment_ids, like, overlap, overwrite).write()


def _check_right_angles(affine: np.ndarray, shape: tuple[int, int, int]) -> None:
    """Refuse sheared axes: the library would turn them to right angles without a word, and move the labels."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(affine[:3, :3] / spacing)
    moved = np.abs((affine[:3, :3] / spacing - left @ right) * spacing) @ np.array(shape[::-1])
    if moved.max() > FARTHEST * spacing.min():
        raise SceneError(
            "The volume's axes are not at right angles, which NIfTI files of MemSeg3D cannot tell: export .seg.nrrd, "
            "or resample the volume first."
        )


def _stem(name: str) -> str:
    return name.removesuffix(".gz").removesuffix(".nii")


def _placed(labels: np.ndarray, affine: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(labels)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing([float(value) for value in spacing])
    image.SetOrigin([float(value) for value in affine[:3, 3]])
    image.SetDirection([float(value) for value in (affine[:3, :3] / spacing).ravel()])
    return image


def _laid_on(labels: np.ndarray, affine: np.ndarray, like: Path) -> sitk.Image:
    """Labels (k, j, i) as an image with its axes in the order and direction of a file on the same grid."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(like))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise SceneError(f"{like.name} cannot be read: name the file that the volume was loaded from.") from error
    laid = None
    if reader.GetDimension() == 3:
        theirs = np.eye(4)
        theirs[:3, :3] = np.array(reader.GetDirection()).reshape(3, 3) * np.array(reader.GetSpacing())
        theirs[:3, 3] = reader.GetOrigin()
        k, j, i = reader.GetSize()[::-1]
        laid = laid_on_grid(labels, affine, (k, j, i), theirs)
    if laid is None:
        raise SceneError(_OTHER_GRID.format(name=like.name))
    image = sitk.GetImageFromArray(laid)
    image.SetOrigin(reader.GetOrigin())
    image.SetSpacing(reader.GetSpacing())
    image.SetDirection(reader.GetDirection())
    return image

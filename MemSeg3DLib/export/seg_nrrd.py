"""Slicer's .seg.nrrd, written from copies on any thread: names, colours, terminology, tags and overlaps are kept."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from MemSeg3DLib.base.errors import ExportError
from MemSeg3DLib.base.output_files import RESEARCH_USE, FileSet
from MemSeg3DLib.base.packing import Extent
from MemSeg3DLib.export.common_grid import on_one_grid, own_mask
from MemSeg3DLib.scene.grids import (
    BINARY,
    Grid,
    content_stamp,
    filled_box,
    labelmap_of,
    read_segment,
    segmentation_grid,
)
from MemSeg3DLib.scene.transforms import LPS_FROM_RAS
from MemSeg3DLib.scene.volume_masks import CroppedMask, chosen_ids, cropped, layers_of

SUFFIX = ".seg.nrrd"
# What the header says of where a segment lies in the file: our own to say.
_PLACE = ("Extent", "LabelValue", "Layer", "ReferenceImageExtentOffset")


@dataclass(frozen=True, eq=False)
class SegNrrdJob:
    """Everything that is to be written, copied out of the scene, so that `write` may run on any thread.

    fields: key-value lines of the header, except where the segments lie. affine: lattice (i, j, k, 1) to LPS mm.
    first: lattice (k, j, i) of array index 0. stamps: what the segments held.
    """

    path: Path
    masks: tuple[CroppedMask, ...]
    fields: dict[str, str]
    affine: np.ndarray
    first: tuple[int, int, int]
    stamps: dict[str, int]
    overwrite: bool

    def write(self, on_step: Callable[[int, int], None] | None = None) -> tuple[Path, ...]:
        """Write the file, whole or not at all; ExportError where the disk does not take it.

        on_step(done, total) is called for every slice; what it raises ends the export without a trace.
        """
        layers = layers_of(self.masks)
        depth = self.masks[0].shape[0]
        with FileSet(self.overwrite) as files:
            with files.add(self.path).open("wb") as file:
                file.write(self._header(layers))
                packer = zlib.compressobj(1, zlib.DEFLATED, 31)
                for k in range(depth):
                    if on_step is not None:
                        on_step(k, depth)
                    file.write(packer.compress(self._slice(layers, k)))
                file.write(packer.flush())
            targets = files.targets
        return targets

    def _slice(self, layers: list[list[int]], k: int) -> bytes:
        _, rows, columns = self.masks[0].shape
        labels = np.zeros((rows, columns, len(layers)), dtype=self._dtype(layers))
        for number, layer in enumerate(layers):
            for value, index in enumerate(layer, 1):
                box, inside = self.masks[index].box, self.masks[index].inside
                if box is not None and box[0][0] <= k < box[0][1]:
                    labels[slice(*box[1]), slice(*box[2]), number][inside[k - box[0][0]]] = value
        return labels.tobytes()

    @staticmethod
    def _dtype(layers: list[list[int]]) -> np.dtype[Any]:
        return np.dtype("u1" if max(len(layer) for layer in layers) < 256 else "<u2")

    def _header(self, layers: list[list[int]]) -> bytes:
        depth, rows, columns = self.masks[0].shape
        many = len(layers) > 1
        dtype = self._dtype(layers)
        origin = self.affine @ np.array([*self.first[::-1], 1.0])
        axes = [_vector(self.affine[:3, n]) for n in range(3)]
        lines = [
            "NRRD0004",
            "# Segmentation by MemSeg3D in the format of 3D Slicer",
            f"type: {'unsigned char' if dtype.itemsize == 1 else 'unsigned short'}",
            f"dimension: {4 if many else 3}",
            "space: left-posterior-superior",
            f"sizes: {f'{len(layers)} ' if many else ''}{columns} {rows} {depth}",
            f"space directions: {'none ' if many else ''}{' '.join(axes)}",
            f"kinds: {'list ' if many else ''}domain domain domain",
            *(["endian: little"] if dtype.itemsize > 1 else []),
            "encoding: gzip",
            f"space origin: {_vector(origin[:3])}",
            *(f"{key}:={value}" for key, value in self._key_values(layers).items()),
        ]
        return ("\n".join(lines) + "\n\n").encode("utf-8")

    def _key_values(self, layers: list[list[int]]) -> dict[str, str]:
        found = dict(self.fields)
        k, j, i = self.first
        found["Segmentation_ReferenceImageExtentOffset"] = f"{i} {j} {k}"
        for number, layer in enumerate(layers):
            for value, index in enumerate(layer, 1):
                box = self.masks[index].box
                # VTK's extents are inclusive and in the order (i, j, k); an empty one ends before it begins.
                extent = "0 -1 0 -1 0 -1" if box is None else " ".join(f"{a} {b - 1}" for a, b in box[::-1])
                place = {"Extent": extent, "LabelValue": str(value), "Layer": str(number)}
                found.update({f"Segment{index}_{key}": text for key, text in place.items()})
        return found


def prepare_seg_nrrd(segmentation_node: Any, path: Path, overwrite: bool = False) -> SegNrrdJob:
    """Copy what is needed out of the scene; main thread.

    Segments on lattices of their own come onto the finest one, as copies: the scene is not changed. Raises ExportError
    where a segment would change by that, or is a surface that cannot be made a labelmap.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIX):
        raise ExportError(f"A segmentation file ends in {SUFFIX}, {path.name} does not: change its name.")
    ids = chosen_ids(segmentation_node, None)
    segmentation = segmentation_node.GetSegmentation()
    stamps = {one: content_stamp(segmentation_node, one) for one in ids}
    held = _with_labelmaps(segmentation_node, ids)
    grid = segmentation_grid(held, None)
    if all(_is_on(held, one, grid) for one in ids):
        masks = [_mask_on(held, one, grid) for one in ids]
    else:
        grid, masks = on_one_grid([own_mask(held, one) for one in ids])
    parameters = str(segmentation.SerializeAllConversionParameters())
    representations: list[str] = []
    segmentation.GetContainedRepresentationNames(representations)
    own = {
        "MemSeg3D_Use": RESEARCH_USE,
        "Segmentation_ConversionParameters": parameters,
        # Surfaces are not in the file; whoever reads it makes those that were there.
        "Segmentation_ContainedRepresentationNames": "".join(f"{name}|" for name in representations or (BINARY,)),
    }
    return SegNrrdJob(
        path=path,
        masks=tuple(masks),
        fields={**_header_lines(segmentation_node, ids), **own},
        affine=LPS_FROM_RAS @ grid.matrix,
        first=grid.first,
        stamps=stamps,
        overwrite=overwrite,
    )


def write_seg_nrrd(segmentation_node: Any, path: Path, overwrite: bool = True) -> None:
    """Write the segmentation as Slicer's .seg.nrrd: names, colours, terminology and overlaps are kept.

    The scene is only read: what has to be converted or resampled is a copy. Raises as `prepare_seg_nrrd`.
    """
    prepare_seg_nrrd(segmentation_node, path, overwrite).write()


def _with_labelmaps(segmentation_node: Any, ids: list[str]) -> Any:
    """The node itself, or a copy outside of the scene whose surfaces have become labelmaps."""
    segmentation = segmentation_node.GetSegmentation()
    surfaces = [
        one for one in ids if labelmap_of(segmentation_node, one) is None and _representations(segmentation, one)
    ]
    if not surfaces:
        return segmentation_node
    copied = slicer.vtkMRMLSegmentationNode()
    copied.GetSegmentation().DeepCopy(segmentation)
    copied.GetSegmentation().SetSourceRepresentationName("Closed surface")
    if not copied.GetSegmentation().CreateRepresentation(BINARY, True):
        name = segmentation.GetSegment(surfaces[0]).GetName()
        raise ExportError(
            f"'{name}' is a surface and cannot be made a labelmap: convert it in Slicer's Segmentations first."
        )
    return copied


def _representations(segmentation: Any, segment_id: str) -> list[str]:
    names: list[str] = []
    segmentation.GetSegment(segment_id).GetContainedRepresentationNames(names)
    return names


def _is_on(segmentation_node: Any, segment_id: str, grid: Grid) -> bool:
    """True where a segment lies on the grid, or is empty."""
    labelmap = labelmap_of(segmentation_node, segment_id)
    if labelmap is None or labelmap.IsEmpty():
        return True
    reference = grid.image(((0, 1), (0, 1), (0, 1)))
    return bool(slicer.vtkOrientedImageDataResample.DoGeometriesMatch(labelmap, reference))


def _mask_on(segmentation_node: Any, segment_id: str, grid: Grid) -> CroppedMask:
    box = filled_box(segmentation_node, segment_id, grid)
    if box is None:
        return CroppedMask(grid.shape, None, np.zeros((0, 0, 0), bool))
    return cropped(read_segment(segmentation_node, segment_id, grid, box), grid.shape, box)


def _header_lines(segmentation_node: Any, ids: list[str]) -> dict[str, str]:
    """Key-value lines that Slicer itself writes for these segments without their voxels.

    Python cannot list the tags of a segment; Slicer's writer can, and so nothing that a segment carries is lost.
    """
    original = segmentation_node.GetSegmentation()
    hollow = slicer.vtkMRMLSegmentationNode()
    voxel: Extent = ((0, 1), (0, 1), (0, 1))
    for one in ids:
        segment = slicer.vtkSegment()
        segment.DeepCopyMetadata(original.GetSegment(one))
        # One voxel, so that nothing has to be made of nothing.
        segment.AddRepresentation(BINARY, Grid(np.eye(4), (0, 0, 0), (1, 1, 1)).image(voxel, np.zeros((1, 1, 1), bool)))
        hollow.GetSegmentation().AddSegment(segment, one)
    storage = slicer.vtkMRMLSegmentationStorageNode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"hollow{SUFFIX}"
        storage.SetFileName(str(path))
        if not storage.WriteData(hollow):
            raise ExportError("Slicer cannot describe the segments: check the free space of the temporary folder.")
        header = path.read_bytes().split(b"\n\n", 1)[0].decode("utf-8")
    found = dict(line.split(":=", 1) for line in header.splitlines() if ":=" in line)
    return {key: value for key, value in found.items() if key.split("_", 1)[-1] not in _PLACE}


def _vector(values: np.ndarray) -> str:
    return "(" + ",".join(repr(float(value)) for value in values) + ")"

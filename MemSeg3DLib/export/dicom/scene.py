"""DICOM-SEG from the scene: the DICOM files that a volume came from, and its segments with their codes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from MemSeg3DLib.base.errors import ExportError
from MemSeg3DLib.base.output_files import FileSet, unique_names
from MemSeg3DLib.export.dicom.dicomweb import DicomWebServer, store
from MemSeg3DLib.export.dicom.segmentation import write_dicom_seg
from MemSeg3DLib.export.dicom.series import DicomSourceError, PatientGrid, SourceSeries, onto_series, read_files
from MemSeg3DLib.export.dicom.settings import ExportSettings
from MemSeg3DLib.export.dicom.source_headers import source_headers
from MemSeg3DLib.export.dicom.terminology import SegmentDescription
from MemSeg3DLib.export.dicom.terminology_entry import (
    ALGORITHM_NAME_TAG,
    ALGORITHM_TYPE_TAG,
    TRACKING_ID_TAG,
    TRACKING_UID_TAG,
    describe_segment,
    plain_words,
    read_tag,
)
from MemSeg3DLib.scene.nodes import volume_array
from MemSeg3DLib.scene.transforms import LPS_FROM_RAS, ijk_to_local_matrix
from MemSeg3DLib.scene.volume_masks import CroppedMask, mask_on_volume

INSTANCES = "DICOM.instanceUIDs"
"""Attribute of a volume node: the SOP instance UIDs of its slices, as Slicer's import leaves them."""

FindSource = Callable[[str], str | None]
"""Path of the file of a SOP instance UID; None or "" where there is none."""


@dataclass(frozen=True)
class DicomDone:
    """What came of a DICOM export: files written, or the host that took it; and what was left out."""

    files: tuple[Path, ...]
    sent_to: str | None
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class DicomJob:
    """Everything that is to be written or sent, copied out of the scene, so that `run` may be on any thread.

    sources: files of the volume's slices, by the UID they were imported under. path: where the file goes, or None
    where it goes to `server`. drawn_on: a slice of the series that was segmented, where that is another one.
    """

    sources: dict[str, Path]
    grid: PatientGrid
    segments: tuple[SegmentDescription, ...]
    masks: tuple[CroppedMask, ...]
    path: Path | None
    server: DicomWebServer | None
    settings: ExportSettings
    one_file_per_segment: bool
    drawn_on: Path | None = None

    def run(self, on_step: Callable[[int, int], None] | None = None) -> DicomDone:
        """Verify the sources, write the DICOM-SEG, send it where asked.

        on_step(done, total) is called between files and, while sending, with bytes; what it raises ends the export.
        """
        series = read_sources(self.sources, self.grid)
        origin = () if self.drawn_on is None else (check_same_patient(self.drawn_on, series),)
        if self.server is None:
            files, remarks = self._write(series, self.path or Path(), on_step)
            return DicomDone(files, None, (*origin, *remarks))
        with tempfile.TemporaryDirectory() as folder:
            files, remarks = self._write(series, Path(folder) / "segmentation.dcm", on_step)
            sent = store(self.server, files, on_step)
        return DicomDone((), self.server.host, (*origin, *remarks, *sent.warnings))

    def _write(
        self, series: SourceSeries, path: Path, on_step: Callable[[int, int], None] | None
    ) -> tuple[tuple[Path, ...], list[str]]:
        groups: list[tuple[Path, tuple[SegmentDescription, ...]]] = [(path, self.segments)]
        filled = [one for one, mask in zip(self.segments, self.masks, strict=True) if not mask.is_empty]
        if self.one_file_per_segment and filled:
            stem = path.name.removesuffix(".dcm").removesuffix(".seg")
            suffix = path.name[len(stem) :]
            names = unique_names([one.name for one in filled])
            groups = [
                (path.with_name(f"{stem}_{name}{suffix}"), (one,)) for one, name in zip(filled, names, strict=True)
            ]
        masks = {one.label: mask for one, mask in zip(self.segments, self.masks, strict=True)}
        # Once for all files: with hundreds of slices this takes seconds.
        headers = source_headers(series)
        remarks: list[str] = []
        with FileSet(self.settings.overwrite) as files:
            for done, (target, segments) in enumerate(groups):
                if on_step is not None:
                    on_step(done, len(groups))
                whole = {one.label: masks[one.label].whole() for one in segments}
                target = files.add(target)
                report = write_dicom_seg(series, segments, whole, target, self.grid, self.settings, headers)
                remarks.extend(one for one in (*report.left_out, *report.remarks) if one not in remarks)
            targets = files.targets
        return targets, remarks


def prepare_dicom(
    segmentation_node: Any,
    volume_node: Any,
    find_source: FindSource,
    segment_ids: Sequence[str],
    path: Path | None,
    server: DicomWebServer | None,
    settings: ExportSettings,
    one_file_per_segment: bool = False,
) -> DicomJob:
    """Find the source files and copy the segments; main thread. Segments get the tags that name them in later exports.

    Raises DicomSourceError where the DICOM files of the volume, or of the series that was segmented, are not known;
    ExportError where every segment is empty.
    """
    sources = source_files(volume_node, find_source)
    drawn_on = segmented_elsewhere(segmentation_node, sources, find_source)
    masks = tuple(mask_on_volume(segmentation_node, one, volume_node) for one in segment_ids)
    if all(mask.is_empty for mask in masks):
        raise ExportError("Every segment is empty: segment something first, then export.")
    segmentation = segmentation_node.GetSegmentation()
    _tell_copies_apart(segmentation)
    segments = []
    for label, segment_id in enumerate(segment_ids, 1):
        segment = segmentation.GetSegment(segment_id)
        tag_segment(segment, settings)
        segments.append(describe_segment(segment, label))
    return DicomJob(
        sources,
        grid_of_volume(volume_node),
        tuple(segments),
        masks,
        path,
        server,
        settings,
        one_file_per_segment,
        drawn_on,
    )


def source_files(volume_node: Any, find_source: FindSource) -> dict[str, Path]:
    """The DICOM files of a volume's slices, by SOP instance UID; main thread, for Slicer's database lives there.

    Raises DicomSourceError with the reason where they are not all known: nothing is guessed.
    """
    uids = _instances(volume_node)
    if not uids:
        raise DicomSourceError(
            "The volume was not loaded from DICOM, so a DICOM-SEG has no patient and no slices to refer to: "
            "load the original series through Slicer's DICOM module, or export NIfTI."
        )
    unknown = sum(one.lower() == "unknown" for one in uids)
    if unknown:
        raise DicomSourceError(
            f"{unknown} of the volume's {len(uids)} slices are of unknown origin: load the series again from DICOM."
        )
    depth = volume_array(volume_node).shape[0]
    # One instance may hold all slices as frames; whether it does is verified when it is read.
    if len(uids) not in (1, depth):
        raise DicomSourceError(
            f"The volume has {depth} slices but names {len(uids)} DICOM instances: it was changed after loading. "
            "Load the series again and choose it as source volume."
        )
    if len(set(uids)) < len(uids):
        raise DicomSourceError("The volume names the same DICOM instance twice: load the series again from DICOM.")
    found = {uid: find_source(uid) for uid in uids}
    missing = [uid for uid, path in found.items() if not path or not Path(path).is_file()]
    if missing:
        raise DicomSourceError(
            f"{len(missing)} of the volume's {len(uids)} DICOM files are not in Slicer's database any more: "
            "import the series again."
        )
    return {uid: Path(path) for uid, path in found.items() if path}


def segmented_elsewhere(segmentation_node: Any, sources: dict[str, Path], find_source: FindSource) -> Path | None:
    """A file of the series that was segmented, where that is not the one of `sources`; main thread.

    None where it is, or where no DICOM was segmented. Raises DicomSourceError where the series is another one, and
    nobody can tell any more whose.
    """
    segmented = segmentation_node.GetNodeReference(segmentation_node.GetReferenceImageGeometryReferenceRole())
    other = next((uid for uid in _instances(segmented) if uid not in sources), None)
    if other is None:
        return None
    path = find_source(other)
    if not path or not Path(path).is_file():
        raise DicomSourceError(
            "The segments were drawn on another series, whose DICOM files are not in Slicer's database any more, so "
            "that it may be another patient's: choose the volume that was segmented, or import that series again."
        )
    return Path(path)


def check_same_patient(drawn_on: Path, series: SourceSeries) -> str:
    """A sentence for the user about segments that were drawn on another series; any thread.

    Raises DicomSourceError where that is another patient's: overlapping bodies would carry a file to the wrong one.
    """
    try:
        theirs = pydicom.dcmread(drawn_on, stop_before_pixels=True)
    except (OSError, InvalidDicomError) as error:
        raise DicomSourceError(f"The series that was segmented cannot be read: {error}") from error
    ours = series.datasets[0]
    for keyword in ("PatientID", "PatientBirthDate"):
        known = str(theirs.get(keyword) or "").strip(), str(ours.get(keyword) or "").strip()
        if known[0] != known[1] and (keyword == "PatientID" or all(known)):
            raise DicomSourceError(
                "The segments were drawn on a series of another patient than the chosen volume: choose the volume "
                "that was segmented as source volume, then export."
            )
    if theirs.get("FrameOfReferenceUID") != ours.get("FrameOfReferenceUID"):
        return (
            "The segments were drawn on another series of this patient, with positions of its own: check where they "
            "lie on this one."
        )
    return "The segments were drawn on another series of this patient and were written for the chosen one."


def _tell_copies_apart(segmentation: Any) -> None:
    """A copied segment carries the tracking of its original; as a finding of its own it is to get its own."""
    taken = set()
    for segment in (segmentation.GetSegment(one) for one in segmentation.GetSegmentIDs()):
        uid = read_tag(segment, TRACKING_UID_TAG)
        if uid in taken:
            segment.RemoveTag(TRACKING_UID_TAG)
            segment.RemoveTag(TRACKING_ID_TAG)
        elif uid is not None:
            taken.add(uid)


def _instances(volume_node: Any) -> list[str]:
    """The SOP instance UIDs that a volume names; none where it did not come from DICOM."""
    attribute = "" if volume_node is None else volume_node.GetAttribute(INSTANCES) or ""
    return [one for one in attribute.replace("\\", " ").split() if one]


def read_sources(sources: dict[str, Path], grid: PatientGrid) -> SourceSeries:
    """Read the headers and hold every slice against the volume's own geometry; any thread.

    Raises DicomSourceError where a file is not the instance it was imported as, where the slices are no regular series,
    or where they lie elsewhere than the volume.
    """
    series = read_files(list(sources.values()), grid)
    if {plane.instance for plane in series.planes} != set(sources):
        raise DicomSourceError(
            "Files of the series have been exchanged since it was imported: import the series again, then export."
        )
    onto_series(np.zeros(grid.shape, dtype=bool), grid, series)
    return series


def grid_of_volume(volume_node: Any) -> PatientGrid:
    """The volume's own lattice, in LPS mm, without its parent transform."""
    k, j, i = volume_array(volume_node).shape
    return PatientGrid((k, j, i), LPS_FROM_RAS @ ijk_to_local_matrix(volume_node))


def tag_segment(segment: Any, settings: ExportSettings) -> None:
    """Give a vtkSegment the tags that it lacks: a tracking name and UID of its own, and how it was made.

    Slicer's own DICOM export reads the latter too, and would call the segment manual without.
    """
    if read_tag(segment, TRACKING_UID_TAG) is None:
        segment.SetTag(TRACKING_UID_TAG, str(highdicom.UID()))
    if read_tag(segment, TRACKING_ID_TAG) is None:
        segment.SetTag(TRACKING_ID_TAG, plain_words(str(segment.GetName() or "")).strip()[:64] or "segment")
    segment.SetTag(ALGORITHM_TYPE_TAG, "SEMIAUTOMATIC")
    segment.SetTag(ALGORITHM_NAME_TAG, f"{settings.algorithm_name} {settings.algorithm_version}")

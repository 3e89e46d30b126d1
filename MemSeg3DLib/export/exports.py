"""One door for every export: a request is prepared on the main thread, then written or sent on any thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from MemSeg3DLib.base.background import Task
from MemSeg3DLib.base.errors import ExportError
from MemSeg3DLib.base.output_files import safe_name
from MemSeg3DLib.export.dicom.dicomweb import DicomWebServer
from MemSeg3DLib.export.dicom.settings import ExportSettings
from MemSeg3DLib.export.nifti import NiftiJob, Overlap, prepare_nifti
from MemSeg3DLib.export.outside_volume import outside_remarks
from MemSeg3DLib.export.seg_nrrd import SegNrrdJob, prepare_seg_nrrd
from MemSeg3DLib.export.segment_names import unnamed as unnamed_segments
from MemSeg3DLib.scene.volume_masks import chosen_ids

if TYPE_CHECKING:
    from MemSeg3DLib.export.dicom.scene import DicomJob

OnStep = Callable[[int, int], None]
"""Called with (done, total); what it raises ends the export, and nothing half done is left."""


class ExportFormat(Enum):
    """What an export makes."""

    NIFTI = "NIfTI labelmap"
    SEG_NRRD = "Segmentation (.seg.nrrd)"
    DICOM_SEG = "DICOM-SEG file"
    DICOM_WEB = "DICOM-SEG to a PACS"


@dataclass(frozen=True, eq=False)
class ExportRequest:
    """What is to be exported where.

    segment_ids: None for all. folder: where files go; not asked for by DICOM_WEB. name: stem of the files; None: the
    segmentation's name. one_file_per_segment: NIFTI and DICOM_SEG. find_source: for DICOM, path of the file of a SOP
    instance UID, or None (`slicer.dicomDatabase.fileForInstance`; called on the main thread). like: for NIfTI, the file
    that the volume was loaded from. server: for DICOM_WEB, chosen by the user.
    """

    format: ExportFormat
    segmentation_node: Any
    volume_node: Any
    folder: Path | None = None
    name: str | None = None
    segment_ids: Sequence[str] | None = None
    one_file_per_segment: bool = False
    overwrite: bool = False
    like: Path | None = None
    find_source: Callable[[str], str | None] | None = None
    settings: ExportSettings = field(default_factory=ExportSettings)
    server: DicomWebServer | None = None


@dataclass(frozen=True)
class Exported:
    """What came of an export. sent_to: the host that took it; remarks: sentences the user should read."""

    files: tuple[Path, ...] = ()
    sent_to: str | None = None
    remarks: tuple[str, ...] = ()

    def as_text(self) -> str:
        """One line for the user."""
        where = f"Sent to {self.sent_to}" if self.sent_to else f"Written: {', '.join(one.name for one in self.files)}"
        return " ".join([f"{where}.", *self.remarks])


class ExportJob(Protocol):
    """An export that no longer needs the scene."""

    def run(self, on_step: OnStep | None = None) -> Exported:
        """Write or send; any thread. Raises a MemSeg3DError with a sentence, and then nothing half done is left."""


def prepare_export(request: ExportRequest) -> ExportJob:
    """Copy out of the scene what the export needs, and check that it can be done; main thread.

    Raises SceneError, ExportError or DicomSourceError with a sentence that says what to do.
    """
    ids = chosen_ids(request.segmentation_node, request.segment_ids)
    unnamed = tuple(
        f'"{name}" has no name of its own: the files say no more than tissue.'
        for name in unnamed_segments(request.segmentation_node, ids)
    )
    job = _prepare(request, ids)
    return _Remarked(job, unnamed) if unnamed else job


def _prepare(request: ExportRequest, ids: Sequence[str]) -> ExportJob:
    if request.format in (ExportFormat.DICOM_SEG, ExportFormat.DICOM_WEB):
        return _prepare_dicom(request, ids)
    if request.format is ExportFormat.SEG_NRRD:
        if request.segment_ids is not None:
            raise ExportError("A .seg.nrrd file holds the whole segmentation: export all segments, or choose NIfTI.")
        return _Files(prepare_seg_nrrd(request.segmentation_node, _target(request, ".seg.nrrd"), request.overwrite))
    overlap = Overlap.FILES if request.one_file_per_segment else Overlap.LAYERS
    path = _target(request, ".nii.gz")
    nodes = request.segmentation_node, request.volume_node
    job = prepare_nifti(*nodes, path, ids, request.like, overlap, request.overwrite)
    remarks = outside_remarks(request.segmentation_node, ids, request.volume_node)
    if remarks and all(mask.is_empty for mask in job.masks):
        raise ExportError(f"Nothing would be written. {' '.join(remarks)}")
    return _Files(job, remarks)


def _prepare_dicom(request: ExportRequest, ids: Sequence[str]) -> ExportJob:
    if request.find_source is None:
        raise ExportError("DICOM export needs the DICOM files of the volume: import them into Slicer's database.")
    if request.format is ExportFormat.DICOM_WEB and request.server is None:
        raise ExportError("No PACS has been chosen: enter the address of its DICOMweb service first.")
    server = request.server if request.format is ExportFormat.DICOM_WEB else None
    path = None if server is not None else _target(request, ".seg.dcm")
    # Here and not above: the DICOM libraries take a second to load, and most sessions never export DICOM.
    from MemSeg3DLib.export.dicom.scene import prepare_dicom

    nodes = request.segmentation_node, request.volume_node
    settings = replace(request.settings, overwrite=request.overwrite)
    remarks = outside_remarks(request.segmentation_node, ids, request.volume_node)
    try:
        job = prepare_dicom(*nodes, request.find_source, ids, path, server, settings, request.one_file_per_segment)
    except ExportError as error:
        raise ExportError(" ".join([str(error), *remarks])) from error
    return _Dicom(job, remarks)


@dataclass(frozen=True, eq=False)
class _Files:
    job: NiftiJob | SegNrrdJob
    remarks: tuple[str, ...] = ()

    def run(self, on_step: OnStep | None = None) -> Exported:
        return Exported(self.job.write(on_step), None, self.remarks)


@dataclass(frozen=True, eq=False)
class _Dicom:
    job: DicomJob
    remarks: tuple[str, ...] = ()

    def run(self, on_step: OnStep | None = None) -> Exported:
        done = self.job.run(on_step)
        # What the volume's voxels cannot hold is not empty, and has its sentence already.
        said = {one.partition(" is finer than")[0] for one in self.remarks}
        others = [one for one in done.remarks if one.removesuffix(" is empty and was left out.") not in said]
        return Exported(done.files, done.sent_to, (*self.remarks, *others))


@dataclass(frozen=True, eq=False)
class _Remarked:
    job: ExportJob
    remarks: tuple[str, ...]

    def run(self, on_step: OnStep | None = None) -> Exported:
        done = self.job.run(on_step)
        return replace(done, remarks=(*done.remarks, *self.remarks))


def export_task(job: ExportJob) -> Task[Exported]:
    """Run a prepared export on a thread of its own; poll it from a timer, cancel it at will."""
    return Task(lambda control: job.run(lambda done, total: control.tell("Exporting", done, total)), "memseg3d-export")


def export(request: ExportRequest, on_step: OnStep | None = None) -> Exported:
    """Prepare and run at once, where nobody waits (scripts, tests)."""
    return prepare_export(request).run(on_step)


def _target(request: ExportRequest, suffix: str) -> Path:
    if request.folder is None:
        raise ExportError("No folder has been chosen for the export: choose one.")
    return Path(request.folder) / (safe_name(request.name or request.segmentation_node.GetName() or "") + suffix)

"""A queue of cases: nothing of a case is lost on the way to the next one, and a queue goes on where it was left."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_tools import geometry_of, small_phantom, unpacked
from lib.cases import SHAPE, TEMPLATE, drawn, three_volumes, write_image
from lib.scenes import a_ball, write_ball

from demo.phantom_dicom import write_phantom_series
from MemSeg3DLib.base.errors import ExportError, SceneError
from MemSeg3DLib.cases.listing import find_cases
from MemSeg3DLib.cases.queue import CaseQueue
from MemSeg3DLib.cases.template import CaseTemplate, apply_template, read_template, template_of
from MemSeg3DLib.cases.template import write_template as write_template_file
from MemSeg3DLib.export.dicom.terminology import LabelsError
from MemSeg3DLib.export.exports import ExportFormat
from MemSeg3DLib.scene.nodes import volume_array
from MemSeg3DLib.segments.writer import SegmentWriter


@pytest.fixture
def a_folder(tmp_path: Path) -> Path:
    return three_volumes(tmp_path / "cases")


@pytest.fixture
def a_queue(scene: Any, a_folder: Path, tmp_path: Path) -> CaseQueue:
    return CaseQueue(scene, find_cases(a_folder), tmp_path / "out", TEMPLATE)


def draw(queue: CaseQueue, radius: float, segment: int = 0) -> np.ndarray:
    """A ball in one of the open case's segments."""
    mask = a_ball(SHAPE, (3, 6, 7), radius)
    chosen = str(queue.segmentation_node.GetSegmentation().GetNthSegmentID(segment))
    writer = SegmentWriter(queue.segmentation_node, queue.volume_node, [chosen])
    write_ball(writer, chosen, mask)
    writer.close()
    return mask


def names_of(queue: CaseQueue) -> list[str]:
    segmentation = queue.segmentation_node.GetSegmentation()
    return [segmentation.GetSegment(one).GetName() for one in segmentation.GetSegmentIDs()]


def test_every_case_starts_with_the_template(a_queue: CaseQueue) -> None:
    assert [a_queue.next() for _ in range(3)] == ["a", "b", "c"]
    assert names_of(a_queue) == ["liver", "tumour"]
    assert [entry.is_open for entry in a_queue.entries] == [False, False, True]


def test_work_is_there_again_when_one_comes_back(a_queue: CaseQueue) -> None:
    a_queue.next()
    mask = draw(a_queue, 3)
    a_queue.next()
    assert not drawn(a_queue).any()
    assert a_queue.previous() == "a"
    assert np.array_equal(drawn(a_queue), mask)
    assert names_of(a_queue) == ["liver", "tumour"], "the template is not added a second time"


def test_only_the_open_case_is_in_the_scene(scene: Any, a_queue: CaseQueue) -> None:
    a_queue.next()
    before = scene.GetNumberOfNodes()
    for _ in range(4):
        draw(a_queue, 3)
        a_queue.next()
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    # Colour tables of the scene are made once, by whoever needs the first.
    assert scene.GetNumberOfNodes() <= before + 2


def test_a_queue_goes_on_where_it_was_left(scene: Any, a_queue: CaseQueue, a_folder: Path, tmp_path: Path) -> None:
    a_queue.next()
    a_queue.mark_done()
    a_queue.next()
    mask = draw(a_queue, 2)
    a_queue.close()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    again = CaseQueue(scene, find_cases(a_folder), tmp_path / "out", TEMPLATE)
    assert again.resume() == "b"
    assert np.array_equal(drawn(again), mask)
    assert [entry.is_done for entry in again.entries] == [True, False, False]
    assert again.next() == "c"
    again.mark_done()
    assert again.next() == "b", "what is done is passed over, from the top again"
    again.mark_done()
    assert again.next() is None
    assert again.current == "b"
    assert again.next(only_open=False) == "c"


def test_a_full_disk_stops_the_move(a_queue: CaseQueue, tmp_path: Path) -> None:
    a_queue.next()
    mask = draw(a_queue, 3)
    # A folder in the file's place: the disk does not take the file.
    (tmp_path / "out" / "a.seg.nrrd").mkdir()
    for move in (a_queue.next, a_queue.previous, lambda: a_queue.open("b"), a_queue.close, a_queue.mark_done):
        with pytest.raises(ExportError, match="is a folder"):
            move()
        assert a_queue.current == "a"
        assert a_queue.is_changed, "the case still counts as unsaved"
        assert np.array_equal(drawn(a_queue), mask)
    assert not a_queue.entries[0].is_done
    (tmp_path / "out" / "a.seg.nrrd").rmdir()
    assert a_queue.next() == "b"
    a_queue.previous()
    assert np.array_equal(drawn(a_queue), mask)


def test_a_case_that_cannot_be_read_is_marked_and_passed_over(a_queue: CaseQueue, a_folder: Path) -> None:
    (a_folder / "b.nrrd").write_bytes(b"NRRD0004\nno volume at all\n\n")
    told: list[str] = []
    a_queue.skipped.connect(lambda entry: told.append(f"{entry.name}: {entry.problem}"))
    a_queue.next()
    mask = draw(a_queue, 3)
    assert a_queue.next() == "c"
    assert len(told) == 1
    assert "b.nrrd cannot be read" in told[0]
    assert "b.nrrd cannot be read" in str(a_queue.entries[1].problem)
    assert a_queue.previous() == "a"
    assert np.array_equal(drawn(a_queue), mask)
    write_image(a_folder / "b.nrrd")
    assert a_queue.open("b") == "b", "asked for by name it is tried again"
    assert a_queue.entries[1].problem is None


def test_an_unreadable_case_asked_for_leaves_the_present_one_open(a_queue: CaseQueue, a_folder: Path) -> None:
    (a_folder / "b.nrrd").unlink()
    a_queue.next()
    mask = draw(a_queue, 3)
    with pytest.raises(SceneError, match="There is no file"):
        a_queue.open("b")
    assert a_queue.current == "a"
    assert np.array_equal(drawn(a_queue), mask)


def test_saved_work_that_cannot_be_read_is_not_written_over(a_queue: CaseQueue, tmp_path: Path) -> None:
    damaged = tmp_path / "out" / "b.seg.nrrd"
    damaged.write_bytes(b"precious, if damaged")
    a_queue.next()
    assert a_queue.next() == "c"
    assert "b.seg.nrrd cannot be read" in str(a_queue.entries[1].problem)
    a_queue.close()
    assert damaged.read_bytes() == b"precious, if damaged"


def test_what_is_saved_already_is_not_written_again(a_queue: CaseQueue, tmp_path: Path) -> None:
    a_queue.next()
    draw(a_queue, 3)
    a_queue.save()
    before = (tmp_path / "out" / "a.seg.nrrd").stat().st_mtime_ns
    a_queue.save()
    a_queue.next()
    assert (tmp_path / "out" / "a.seg.nrrd").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "change",
    [
        lambda segmentation: segmentation.GetSegmentation().GetNthSegment(0).SetName("other"),
        lambda segmentation: segmentation.GetSegmentation().GetNthSegment(0).SetColor(0.1, 0.2, 0.3),
        lambda segmentation: segmentation.GetSegmentation().AddEmptySegment("", "third"),
        lambda segmentation: segmentation.SetAttribute("MemSeg3D.Approved", "something"),
    ],
)
def test_every_change_is_noticed(a_queue: CaseQueue, change: Callable[[Any], object]) -> None:
    a_queue.next()
    a_queue.save()
    assert not a_queue.is_changed
    change(a_queue.segmentation_node)
    assert a_queue.is_changed


def test_autosave_runs_beside_the_main_thread(a_queue: CaseQueue, tmp_path: Path) -> None:
    a_queue.next()
    assert a_queue.save_task() is None, "nothing has been done yet"
    draw(a_queue, 3)
    task = a_queue.save_task()
    assert task is not None
    assert task.wait(60)
    task.poll()
    assert not a_queue.is_changed
    assert (tmp_path / "out" / "a.seg.nrrd").is_file()


def test_an_autosave_that_comes_late_does_not_undo_a_newer_save(a_queue: CaseQueue) -> None:
    a_queue.next()
    draw(a_queue, 2)
    late = a_queue._prepare_save()
    mask = draw(a_queue, 4)
    a_queue.next()
    a_queue._order.write(late[0], late[1])
    a_queue.previous()
    assert np.array_equal(drawn(a_queue), mask)


class ABusyWorkbench:
    """As the queue sees a Workbench that is in the middle of a round."""

    busy = True

    def select(self, volume_node: Any, segmentation_node: Any, segment_id: str | None) -> None:
        self.selected = segment_id

    def leave(self, node: Any) -> None:
        self.left = node


def test_nobody_leaves_a_case_in_mid_round(scene: Any, a_folder: Path, tmp_path: Path) -> None:
    workbench = ABusyWorkbench()
    queue = CaseQueue(scene, find_cases(a_folder), tmp_path / "out", TEMPLATE, workbench)
    workbench.busy = False
    queue.next()
    assert workbench.selected == str(queue.segmentation_node.GetSegmentation().GetNthSegmentID(0))
    workbench.busy = True
    for move in (queue.next, queue.previous, queue.close, lambda: queue.open("b")):
        with pytest.raises(SceneError, match="A round is running"):
            move()
    assert queue.current == "a"


def test_exports_are_named_by_case_and_segment(a_queue: CaseQueue, tmp_path: Path) -> None:
    a_queue.next()
    masks = [draw(a_queue, 3), draw(a_queue, 2, segment=1)]
    a_queue.prepare_export(ExportFormat.NIFTI).run()
    for number, (name, mask) in enumerate(zip(("a_liver", "a_tumour"), masks, strict=True), 1):
        image = sitk.ReadImage(str(tmp_path / "out" / "exports" / f"{name}.nii.gz"))
        assert np.array_equal(sitk.GetArrayFromImage(image), mask * number)
        assert image.GetOrigin() == pytest.approx((3.0, -20.0, 7.0), abs=1e-4)


def test_the_state_of_a_queue_is_never_guessed(scene: Any, a_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "queue.json").write_text('{"done": "everything"')
    with pytest.raises(SceneError, match=r"queue\.json is damaged"):
        CaseQueue(scene, find_cases(a_folder), tmp_path / "out")
    assert (tmp_path / "out" / "queue.json").read_text() == '{"done": "everything"'


def test_folders_of_files_become_cases(tmp_path: Path) -> None:
    for name in (
        "one/image.nii.gz",
        "one/label.nii.gz",
        "two/image.nrrd",
        "image.seg.nrrd",
        ".hidden.nii",
        "out/x.nii",
    ):
        write_image(tmp_path / "cases" / name)
    cases = find_cases(tmp_path / "cases", leave_out=tmp_path / "cases" / "out")
    assert [case.name for case in cases] == ["one_image", "one_label", "two_image"]
    assert [case.name for case in find_cases(tmp_path / "cases" / "one", "image*")] == ["image"]
    for name, reason in (("absent", "There is no folder"), ("empty", "holds no volume")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(SceneError, match=reason):
            find_cases(tmp_path / name)


def test_dicom_studies_become_cases_without_the_patients_name(scene: Any, tmp_path: Path) -> None:
    study = tmp_path / "studies" / "S0001"
    write_phantom_series(small_phantom().voxels, geometry_of(small_phantom()), study / "first")
    write_phantom_series(small_phantom().voxels[:5], geometry_of(small_phantom()), study / "second")
    broken = write_phantom_series(small_phantom().voxels[:5], geometry_of(small_phantom()), tmp_path / "studies" / "S2")
    sorted((tmp_path / "studies" / "S2").iterdir())[2].unlink()
    del broken
    cases = find_cases(tmp_path / "studies")
    assert sorted(case.name for case in cases) == ["S0001_series1", "S0001_series2", "S2"]
    assert "irregular gaps" in str(cases[-1].problem)
    queue = CaseQueue(scene, cases, tmp_path / "out", TEMPLATE)
    queue.open(next(case.name for case in cases if len(case.files) == 20))
    assert np.array_equal(volume_array(queue.volume_node), small_phantom().voxels)
    patient = str(pydicom.dcmread(cases[0].files[0], stop_before_pixels=True).PatientName)
    queue.save()
    written = [path.name for path in (tmp_path / "out").iterdir()]
    assert not any(word and word in name for name in written for word in re.split(r"\W+", patient))
    assert patient not in queue.volume_node.GetName()


def test_a_dicom_case_is_exported_as_dicom(scene: Any, data_folder: Path, tmp_path: Path) -> None:
    folder = unpacked(data_folder, "crlm1006_ct_512", tmp_path / "studies")
    queue = CaseQueue(scene, find_cases(folder.parent), tmp_path / "out", TEMPLATE)
    assert queue.next() == "crlm1006_ct_512"
    assert queue.volume_node.GetVoxelValueUnits().GetCodeValue() == "[hnsf'U]"
    segment = str(queue.segmentation_node.GetSegmentation().GetNthSegmentID(0))
    writer = SegmentWriter(queue.segmentation_node, queue.volume_node, [segment])
    writer.write_slice(segment, 0, 20, ((20, 21), (200, 240), (210, 260)), np.ones((1, 40, 50), bool))
    writer.close()
    done = queue.prepare_export(ExportFormat.DICOM_SEG).run()
    assert [file.name for file in done.files] == ["crlm1006_ct_512_liver.seg.dcm"]
    written = pydicom.dcmread(done.files[0])
    assert int(written.pixel_array.sum()) == 2000
    source = written.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    uids = queue.volume_node.GetAttribute("DICOM.instanceUIDs").split()
    assert source.ReferencedSOPInstanceUID == uids[20]


def test_a_template_survives_its_file(scene: Any, a_queue: CaseQueue, tmp_path: Path) -> None:
    a_queue.next()
    a_queue.segmentation_node.GetSegmentation().GetNthSegment(0).SetColor(1, 0, 0)
    template = template_of(a_queue.segmentation_node)
    write_template_file(template, tmp_path / "template.json")
    assert read_template(tmp_path / "template.json") == template
    liver = read_template(tmp_path / "template.json").segments[0]
    assert (liver.name, liver.type.value, liver.colour) == ("liver", "10200004", (255, 0, 0))
    other = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    apply_template(other, template)
    assert template_of(other) == template


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"segments": [{"label": 1, "name": "liver"}, {"label": 2, "name": "Liver "}]}, "twice"),
        ({"segments": []}, "label values to names|names no segment"),
        ({"segments": [{"label": 1, "name": "liver", "colour": "red"}]}, "three whole numbers"),
    ],
)
def test_a_template_that_means_nothing_is_refused(tmp_path: Path, content: object, reason: str) -> None:
    path = tmp_path / "template.json"
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(LabelsError, match=reason):
        read_template(path)


def test_an_empty_template_is_refused() -> None:
    with pytest.raises(LabelsError, match="names no segment"):
        CaseTemplate(())


def test_a_queue_needs_a_folder_that_takes_files(scene: Any, a_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="cannot be written"):
        CaseQueue(scene, find_cases(a_folder), tmp_path / "file" / "out")
    with pytest.raises(SceneError, match="no case"):
        CaseQueue(scene, [], tmp_path / "out")
    shutil.rmtree(a_folder)

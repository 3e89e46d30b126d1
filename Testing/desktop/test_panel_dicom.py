"""From a DICOM volume in the panel to a DICOM-SEG on disk and in a real PACS, by the panel's own buttons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from desktop.clinician import Clinician
from dicom_tools import dicom_errors, geometry_of, read_by_dcmtk, read_by_highdicom, small_phantom
from orthanc import PASSWORD, USER, Orthanc, start_orthanc

from demo.phantom_dicom import write_phantom_series
from MemSeg3DLib.cases.dicom_volume import load_series
from MemSeg3DLib.export.dicom.series import read_series


@pytest.fixture(scope="module")
def a_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small phantom as a DICOM series."""
    folder = tmp_path_factory.mktemp("series")
    write_phantom_series(small_phantom().voxels, geometry_of(small_phantom()), folder)
    return folder


@pytest.fixture(scope="module")
def a_pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with start_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def a_radiologist(clinician: Clinician, a_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Clinician:
    """Has segmented something in a volume that came by DICOM; Slicer's database knows its files."""
    volume, files = load_series(clinician.session.scene, sorted(a_folder.iterdir()), "CT")
    # ctkDICOMDatabase answers with a path, or with an empty text.
    database = SimpleNamespace(fileForInstance=lambda uid: str(files.get(uid, "")))
    monkeypatch.setattr(type(clinician.session.app), "dicomDatabase", lambda _: database)
    clinician.show(volume)
    clinician.box(6, (20, 20), (50, 50))
    clinician.wait()
    assert clinician.voxels().any()
    clinician.widget("exportButton").collapsed = False
    return clinician


def export(user: Clinician) -> str:
    """Press Export, wait, and what the panel says."""
    user.panel.export.ui.exportButton.click()
    user.session.pump_until(lambda: not user.panel.export._line.is_busy, 60)
    return str(user.ui.messageLabel.text)


def test_a_file_that_others_read_voxel_for_voxel(a_radiologist: Clinician, a_folder: Path, tmp_path: Path) -> None:
    ui = a_radiologist.panel.export.ui
    ui.formatSelector.setCurrentIndex(2)
    ui.folderEdit.setText(str(tmp_path / "out"))
    told = export(a_radiologist)
    (file,) = (tmp_path / "out").glob("*.dcm")
    assert file.name in told
    assert dicom_errors(file) == []
    grid = read_series(a_folder).grid
    drawn = a_radiologist.voxels()
    (label,) = read_by_highdicom(file, grid)
    found = read_by_highdicom(file, grid)[label]
    # The volume in the scene may lie the other way round than the series.
    assert found.sum() == drawn.sum()
    assert any((np.flip(found, flip) == drawn).all() for flip in ((), (0,), (1,), (0, 1)))


def test_a_segmentation_goes_to_the_pacs_after_the_user_was_asked(
    a_radiologist: Clinician, a_folder: Path, a_pacs: Orthanc, tmp_path: Path
) -> None:
    ui = a_radiologist.panel.export.ui
    ui.formatSelector.setCurrentIndex(3)
    ui.pacsEdit.setText(a_pacs.dicom_web)
    ui.pacsUserEdit.setText(USER)
    ui.pacsPasswordEdit.setText("wrong")
    before = {one["ID"] for one in a_pacs.get("/series?expand").json()}
    refused = export(a_radiologist)
    assert "password" in refused
    ui.pacsPasswordEdit.setText(PASSWORD)
    assert export(a_radiologist).splitlines()[-1].startswith("Sent to 127.0.0.1"), "seen although an error stays"
    (new,) = [one for one in a_pacs.get("/series?expand").json() if one["ID"] not in before]
    (tmp_path / "back.dcm").write_bytes(a_pacs.get(f"/instances/{new['Instances'][0]}/file").content)
    found = read_by_dcmtk(tmp_path / "back.dcm", read_series(a_folder).grid)[1]
    assert found.sum() == a_radiologist.voxels().sum()
    settings = a_radiologist.application.settings
    assert PASSWORD not in "".join(settings.get(key) for key in ("Export/Pacs", "Export/Folder", "Export/PacsCaFile"))


def test_a_pacs_on_another_computer_is_named_and_gets_nothing_against_the_users_will(
    a_radiologist: Clinician,
) -> None:
    a_radiologist.panel.segment.name("liver")
    ui = a_radiologist.panel.export.ui
    ui.formatSelector.setCurrentIndex(3)
    ui.pacsEdit.setText("http://pacs.example.org/dicom-web")
    a_radiologist.session.dialogs.answer = False
    ui.exportButton.click()
    a_radiologist.session.pump(0.2)
    assert not a_radiologist.panel.export._line.is_busy
    asked = "\n".join(a_radiologist.session.dialogs.texts("confirm"))
    assert "pacs.example.org" in asked
    assert "not encrypted" in asked

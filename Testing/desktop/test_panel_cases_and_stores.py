"""The case queue, the models and the stored data in the panel: nothing of a case is lost, nothing goes unasked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from desktop.clinician import Clinician

from MemSeg3DLib.rounds.history.journal import RecoveryJournal


def write_cases(folder: Path, names: tuple[str, ...]) -> None:
    """Small volumes of noise."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    for name in names:
        image = sitk.GetImageFromArray(rng.integers(0, 400, (24, 24, 24)).astype(np.int16))
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))


def open_queue(user: Clinician, source: Path, output: Path, template: Path | None = None) -> None:
    """Fill in the section and press Open."""
    user.widget("casesButton").collapsed = False
    user.widget("inputEdit").setText(str(source))
    user.widget("outputEdit").setText(str(output))
    user.widget("templateEdit").setText(str(template or ""))
    user.widget("openQueueButton").click()
    user.session.pump_until(lambda: user.widget("caseTree").topLevelItemCount > 0, 30)


def states(user: Clinician) -> dict[str, str]:
    """State by case, as the list shows it."""
    tree = user.widget("caseTree")
    items = [tree.topLevelItem(row) for row in range(tree.topLevelItemCount)]
    return {item.text(0): item.text(1) for item in items}


def test_a_case_is_saved_before_the_next_is_opened_and_comes_back(clinician: Clinician, tmp_path: Path) -> None:
    write_cases(tmp_path / "in", ("a", "b"))
    template = tmp_path / "template.json"
    template.write_text(json.dumps({"segments": [{"label": 1, "name": "liver"}, {"label": 2, "name": "spleen"}]}))
    (tmp_path / "out").mkdir()
    open_queue(clinician, tmp_path / "in", tmp_path / "out", template)
    assert states(clinician) == {"a": "open", "b": ""}
    clinician.volume = clinician.bench.volume_node
    segmentation = clinician.segmentation.GetSegmentation()
    assert [segmentation.GetNthSegment(n).GetName() for n in range(2)] == ["liver", "spleen"]
    assert clinician.bench.editor_node is not None
    clinician.box(12, (6, 6), (18, 18))
    clinician.wait()
    drawn = clinician.voxels()
    assert drawn.any()
    # Pressed while the case is perhaps being saved by itself after its round: it waits for that.
    clinician.widget("nextCaseButton").click()
    clinician.wait_until(lambda: states(clinician) == {"a": "done", "b": "open"}, 20)
    assert (tmp_path / "out" / "a.seg.nrrd").is_file()
    clinician.widget("previousButton").click()
    clinician.wait_until(lambda: states(clinician)["b"] == "", 20)
    clinician.volume = clinician.bench.volume_node
    assert (clinician.voxels() == drawn).all()


def test_a_queue_without_a_folder_says_so(clinician: Clinician) -> None:
    clinician.widget("casesButton").collapsed = False
    clinician.widget("openQueueButton").click()
    assert "Choose a folder of volumes" in clinician.ui.messageLabel.text


def test_stored_data_is_deleted_only_where_the_user_agrees(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait()
    journals = clinician.application.choice.home.journals
    assert list(journals.glob("*"))
    clinician.widget("storesButton").collapsed = False
    clinician.session.pump_until(lambda: clinician.widget("storeTree").topLevelItemCount > 0, 20)
    clinician.session.dialogs.answer = False
    clinician.widget("purgeAllButton").click()
    assert list(journals.glob("*"))
    left = RecoveryJournal(journals / "left.journal")
    left.append({"type": "closed"})
    clinician.session.dialogs.answer = True
    clinician.widget("purgeAllButton").click()
    # The open scene's own stay: later rounds build on them.
    assert list(journals.glob("*")) == clinician.bench.journals() != []


def test_the_embedded_model_is_listed_with_its_licence_and_cannot_be_removed(clinician: Clinician) -> None:
    clinician.panel.worker.choose("local")
    clinician.widget("modelsButton").collapsed = False
    clinician.session.pump(0.1)
    tree = clinician.widget("modelTree")
    row = [tree.topLevelItem(0).text(column) for column in range(3)]
    assert row[0] == "memseg3d-nano (in use)"
    assert float(row[1]) > 0
    assert row[2] == "Apache-2.0"
    tree.setCurrentItem(tree.topLevelItem(0))
    assert not clinician.widget("removeModelButton").enabled
    assert not clinician.session.pip


def test_public_models_are_offered_with_their_terms_and_not_fetched_unasked(clinician: Clinician) -> None:
    clinician.panel.worker.choose("local")
    clinician.widget("modelsButton").collapsed = False
    clinician.session.pump(0.1)
    tree = clinician.widget("modelTree")
    rows = {tree.topLevelItem(row).text(0): tree.topLevelItem(row) for row in range(tree.topLevelItemCount)}
    assert "press Fetch" in rows["sam2.1_hiera_tiny"].text(3)
    tree.setCurrentItem(rows["nnInteractive_v1.0"])
    assert clinician.widget("fetchModelButton").enabled
    assert not clinician.widget("removeModelButton").enabled
    clinician.application.choice.set_local(installed=Path(sys.executable))
    clinician.session.dialogs.answer = False
    clinician.widget("fetchModelButton").click()
    assert "not for commercial advantage" in clinician.session.dialogs.texts("confirm")[-1]
    assert not clinician.application.choice.home.models.exists()


def test_the_environment_is_offered_and_not_made_by_itself(clinician: Clinician) -> None:
    clinician.widget("workerButton").collapsed = False
    clinician.panel.worker.choose("local")
    clinician.session.pump(0.1)
    assert "press Install" in clinician.widget("environmentLabel").text
    assert clinician.widget("installButton").enabled
    assert not clinician.widget("removeButton").enabled
    assert not clinician.application.choice.home.environments()
    assert not clinician.session.pip

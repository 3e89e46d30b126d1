"""The two doors of the training data: what may go into weights, and what judges; nothing comes through both."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_folder import Change, write_training_folder

from memseg3d.datasets.training_data import (
    damaged_files,
    development_groups,
    manifest_sha256,
    read_development_case,
    training_cases,
)
from memseg3d.files import UnreadableFile


def test_only_what_the_manifest_allows_may_be_learnt_from(tmp_path: Path) -> None:
    cases = training_cases(write_training_folder(tmp_path / "data"))
    assert [(case.name, case.with_image) for case in cases] == [("heads/one", True), ("heads/two", False)]
    assert {case.licence for case in cases} == {"CC BY 4.0"}


def test_shapes_and_images_are_read_on_one_grid(tmp_path: Path) -> None:
    one, two = training_cases(write_training_folder(tmp_path / "data"))
    assert one.labels().voxels.shape == one.image().voxels.shape == (10, 24, 20)
    assert one.labels().spacing == (2.0, 1.0, 1.0)
    assert set(np.unique(two.labels().voxels)) == {0, 1, 2}
    with pytest.raises(PermissionError, match="Only the shapes of heads/two"):
        two.image()


def _claimed(manifest: dict[str, Any], development: dict[str, Any]) -> None:
    manifest["tumours/judging"] |= {"role": "training", "for_weights": "image and shapes"}


def _not_kept(manifest: dict[str, Any], development: dict[str, Any]) -> None:
    development["groups"]["tumours in PET"].append({"case": "heads/one", "label": 1})


def _unknown_word(manifest: dict[str, Any], development: dict[str, Any]) -> None:
    manifest["heads/two"]["for_weights"] = "perhaps"


@pytest.mark.parametrize("change", [_claimed, _not_kept])
def test_a_manifest_that_lets_a_judging_case_be_learnt_from_is_refused(tmp_path: Path, change: Change) -> None:
    folder = write_training_folder(tmp_path / "data", change)
    with pytest.raises(UnreadableFile, match="does not keep for development"):
        training_cases(folder)


def test_an_unknown_permission_is_none(tmp_path: Path) -> None:
    cases = training_cases(write_training_folder(tmp_path / "data", _unknown_word))
    assert [case.name for case in cases] == ["heads/one"]


def test_only_named_cases_judge(tmp_path: Path) -> None:
    folder = write_training_folder(tmp_path / "data")
    (targets,) = development_groups(folder).values()
    assert [(each.case, each.label, each.modality) for each in targets] == [
        ("tumours/judging", 1, "PET"),
        ("tumours/second", 1, "PET"),
    ]
    image, labels = read_development_case(folder, "tumours/judging")
    assert image.voxels.shape == labels.shape
    for other in ("tumours/unnamed", "heads/one"):
        with pytest.raises(UnreadableFile, match="no case of the development set"):
            read_development_case(folder, other)


def test_the_manifest_tells_which_files_are_damaged(tmp_path: Path) -> None:
    folder = write_training_folder(tmp_path / "data")
    assert damaged_files(folder) == []
    assert manifest_sha256(folder) == hashlib.sha256((folder / "MANIFEST.json").read_bytes()).hexdigest()
    (folder / "heads" / "one" / "image.nii.gz").unlink()
    (folder / "heads" / "two" / "label.nii.gz").write_bytes(b"something else")
    assert damaged_files(folder) == ["heads/one/image.nii.gz", "heads/two/label.nii.gz"]


@pytest.mark.parametrize("manifest", ["no JSON", '{"a/b": {"role": "training"}}', '["a/b"]'])
def test_a_folder_of_another_layout_is_explained(tmp_path: Path, manifest: str) -> None:
    with pytest.raises(UnreadableFile, match="holds no MANIFEST"):
        training_cases(tmp_path)
    (tmp_path / "MANIFEST.json").write_text(manifest)
    with pytest.raises(UnreadableFile, match="no manifest of training data"):
        training_cases(tmp_path)


def test_the_real_folder_keeps_what_judges_out_of_weights(training_data: Path) -> None:
    cases = training_cases(training_data)
    groups = development_groups(training_data)
    judging = {target.case for targets in groups.values() for target in targets}
    assert (len(groups), sum(len(targets) for targets in groups.values())) == (9, 65)
    assert len(cases) > 80
    assert sum(case.with_image for case in cases) >= 15
    assert not judging & {case.name for case in cases}
    # Share-alike data may neither go into weights under another licence nor be passed on under one.
    assert not [case.name for case in cases if "SA" in case.licence]
    assert not [case.name for case in cases if case.name.startswith(("hippocampus_msd", "prostate_msd"))]
    assert not [case for case in cases if not case.licence]

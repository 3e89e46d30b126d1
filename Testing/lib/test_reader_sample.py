"""A sample of `python -m Testing.audits.readers`: the readers that every test environment has, on two geometries."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from Testing.audits.readers.__main__ import Programs, by_highdicom, by_sitk, in_place
from Testing.audits.readers.files import CASES, make


@pytest.mark.parametrize("name", ["oblique", "odd matrix"])
def test_readers_find_every_voxel_in_its_place(scene: Any, tmp_path: Path, name: str) -> None:
    made = make(CASES[name], tmp_path / "files", scene)
    for read in (by_highdicom, *(by_sitk(f"labels.{suffix}") for suffix in ("nii.gz", "nrrd", "seg.nrrd"))):
        assert in_place(read(made.folder), made) == "all"


def test_dcmqi_finds_every_voxel_in_its_place(scene: Any, tmp_path: Path) -> None:
    program = shutil.which("segimage2itkimage")
    if program is None:
        pytest.skip("dcmqi is not installed (pip install dcmqi==1.5.7).")
    made = make(CASES["sparse slices"], tmp_path / "files", scene)
    assert in_place(Programs(Path(program).parent, None).dcmqi(made.folder), made) == "all"

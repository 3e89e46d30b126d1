"""Prompts land on the voxel that the user saw, on any grid and under any transform; nonsense is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from lib.scenes import SHAPE, bent_transform, direction_matrix, linear_transform, make_volume

from MemSeg3DLib.base.errors import PromptError, SceneError
from MemSeg3DLib.base.packing import unpack_bits
from MemSeg3DLib.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt, all_to_wire, nearest, to_wire
from MemSeg3DLib.scene.nodes import ijk_to_world, load_volume, volume_array, volume_spacing, world_to_ijk


@pytest.mark.parametrize("case", ["mr_glioma_remind022", "mr_brain1_pyrad", "mr_cord_gm_t2s_sct"])
def test_real_oblique_and_flipped_volumes_agree_with_simpleitk(scene: Any, data_folder: Path, case: str) -> None:
    path = data_folder / case / "image.nii.gz"
    volume, image = load_volume(scene, path), sitk.ReadImage(str(path))
    assert volume_spacing(volume) == pytest.approx(image.GetSpacing()[::-1], abs=1e-6)
    voxels, file_voxels = volume_array(volume), sitk.GetArrayFromImage(image)
    for kji in [(0, 0, 0), (3, 17, 22), (10, 40, 5)]:
        x, y, z = image.TransformContinuousIndexToPhysicalPoint([float(c) for c in kji[::-1]])
        # Slicer turns the slices of a left-handed file around, so its k may count the other way; the world tells.
        here = world_to_ijk(volume, (-x, -y, z))
        assert here == pytest.approx(np.round(here), abs=1e-3)
        assert voxels[tuple(round(c) for c in here)] == file_voxels[kji]
        assert ijk_to_world(volume, here) == pytest.approx((-x, -y, z), abs=1e-3)


def transforms() -> list[Any]:
    turned = direction_matrix((40, 15))
    rows = [(*row, move) for row, move in zip(turned.tolist(), (30.0, -12.0, 7.0), strict=True)]
    return [linear_transform(*rows), bent_transform()]  # type: ignore[arg-type]


@pytest.mark.parametrize("which", [0, 1])
def test_a_click_goes_through_the_parent_transform(an_oblique_volume: Any, which: int) -> None:
    plain = ijk_to_world(an_oblique_volume, (5, 8, 13))
    an_oblique_volume.SetAndObserveTransformNodeID(transforms()[which].GetID())
    seen = ijk_to_world(an_oblique_volume, (5, 8, 13))
    assert np.linalg.norm(np.subtract(seen, plain)) > 0.5
    wire = to_wire(PointPrompt("one", seen, positive=False), an_oblique_volume, 3)
    assert wire["position"] == pytest.approx([5, 8, 13], abs=0.02)
    assert wire["position"][0] == 5.0
    assert (wire["type"], wire["object"], wire["positive"], wire["axis"]) == ("point", 3, False, 0)


def test_a_box_from_any_two_opposite_corners_is_the_same_box(an_oblique_volume: Any) -> None:
    corners = [(4, 2, 20), (4, 15, 6)], [(4, 15, 6), (4, 2, 20)], [(4, 2, 6), (4, 15, 20)]
    boxes = [
        to_wire(
            BoxPrompt("one", ijk_to_world(an_oblique_volume, a), ijk_to_world(an_oblique_volume, b)),
            an_oblique_volume,
            1,
        )
        for a, b in corners
    ]
    for box in boxes:
        assert box["lower"] == pytest.approx([4, 2, 6])
        assert box["upper"] == pytest.approx([4, 15, 20])
        assert box["lower"][0] == box["upper"][0] == 4.0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_box_on_any_axis_is_flat_along_it(an_oblique_volume: Any, axis: int) -> None:
    low, high = [2.0, 3.0, 4.0], [9.0, 12.0, 15.0]
    low[axis] = high[axis] = 6.3
    box = BoxPrompt(
        "one", ijk_to_world(an_oblique_volume, tuple(low)), ijk_to_world(an_oblique_volume, tuple(high)), axis
    )  # type: ignore[arg-type]
    wire = to_wire(box, an_oblique_volume, 1)
    assert wire["lower"][axis] == wire["upper"][axis] == 6.0


def test_halves_go_up_for_either_sign() -> None:
    assert [nearest(value) for value in (0.5, 1.5, 2.5, -0.5, -1.5, 2.49)] == [1, 2, 3, 0, -1, 2]


def test_the_outer_half_of_a_border_voxel_belongs_to_it(an_oblique_volume: Any) -> None:
    k, j, i = (n - 1 for n in SHAPE)
    wire = to_wire(PointPrompt("one", ijk_to_world(an_oblique_volume, (-0.4, j + 0.4, i + 0.4))), an_oblique_volume, 1)
    assert wire["position"] == pytest.approx([0, j, i])
    with pytest.raises(PromptError, match="outside"):
        to_wire(PointPrompt("one", ijk_to_world(an_oblique_volume, (k + 0.6, 3, 3))), an_oblique_volume, 1)


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        ((4, 2, 2), (4, 2, 2), "no area"),
        ((2, 2, 2), (6, 9, 9), "different slices"),
        ((4, 60, 60), (4, 80, 80), "outside"),
        ((-3, 2, 2), (-3, 9, 9), "outside"),
    ],
)
def test_boxes_that_mean_nothing_are_refused(an_oblique_volume: Any, one: tuple, two: tuple, words: str) -> None:
    box = BoxPrompt("one", ijk_to_world(an_oblique_volume, one), ijk_to_world(an_oblique_volume, two))
    with pytest.raises(PromptError, match=words):
        to_wire(box, an_oblique_volume, 1)


def test_a_box_that_reaches_over_the_border_is_clipped(an_oblique_volume: Any) -> None:
    box = BoxPrompt("one", ijk_to_world(an_oblique_volume, (4, -8, -8)), ijk_to_world(an_oblique_volume, (4, 9, 9)))
    assert to_wire(box, an_oblique_volume, 1)["lower"] == pytest.approx([4, 0, 0])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mask_travels_as_the_bits_of_its_own_extent(an_oblique_volume: Any, axis: int) -> None:
    across = [n for other, n in enumerate(SHAPE) if other != axis]
    mask = np.zeros(across, dtype=bool)
    mask[3:7, 5:11] = True
    mask[4, 6] = False
    wire = to_wire(MaskPrompt("one", mask, 2, axis), an_oblique_volume, 1)
    extent = wire["extent"]
    assert extent[axis] == [2, 3]
    bits = unpack_bits(wire["bits"], [b - a for a, b in extent])
    assert np.array_equal(bits.squeeze(axis), mask[3:7, 5:11])


def test_masks_that_do_not_fit_are_refused(an_oblique_volume: Any) -> None:
    for mask, index, words in [
        (np.ones((3, 3), bool), 0, "pixels"),
        (np.ones(SHAPE[1:], bool), 99, "no slice"),
    ]:
        with pytest.raises(PromptError, match=words):
            to_wire(MaskPrompt("one", mask, index), an_oblique_volume, 1)


def test_a_round_without_a_prompt_is_refused(an_oblique_volume: Any) -> None:
    with pytest.raises(PromptError, match="no prompt"):
        all_to_wire([], an_oblique_volume, lambda _: 1)


def test_no_name_of_a_segment_travels(an_oblique_volume: Any) -> None:
    wire = all_to_wire(
        [PointPrompt("liver of a patient", ijk_to_world(an_oblique_volume, (3, 3, 3)))], an_oblique_volume, lambda _: 7
    )
    assert "liver" not in repr(wire)
    assert wire[0]["object"] == 7


def test_a_colour_image_is_no_source_volume(scene: Any) -> None:
    import vtk

    node = make_volume(np.zeros(SHAPE, np.uint8))
    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 4)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node.SetAndObserveImageData(image)
    with pytest.raises(SceneError, match="colour"):
        volume_array(node)


def test_a_file_that_is_no_volume_is_refused(scene: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no volume at all")
    with pytest.raises(SceneError, match="cannot be read"):
        load_volume(scene, broken)
    with pytest.raises(SceneError, match="no file"):
        load_volume(scene, tmp_path / "absent.nii.gz")

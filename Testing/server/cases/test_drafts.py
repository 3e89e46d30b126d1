"""Prompts in every order of coordinates, as texts, JSON, markups of Slicer and label files, are the same prompts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.testing import assert_allclose

from memseg3d.cases.drafts import SegmentNames, prompts_of
from memseg3d.cases.errors import CaseError
from memseg3d.cases.orders import ORDERS
from memseg3d.cases.prompt_files import read_mask, read_prompt_file
from memseg3d.cases.texts import drafts_of
from memseg3d.files import Geometry, write_labelmap
from memseg3d.propagation.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
)

PLACES = [(5.0, 8.0, 6.0), (5.0, 15.0, 13.0), (0.0, 0.0, 0.0), (9.0, 23.0, 19.0)]


def text_of(place: tuple[float, float, float], order: str, geometry: Geometry) -> str:
    return ",".join(f"{value:.3f}" for value in ORDERS[order].from_kji(place, geometry))


def read(geometry: Geometry, order: str = "kji", **texts: list[str]) -> list[Prompt]:
    return prompts_of(drafts_of(**texts, order=ORDERS[order]), SegmentNames(), geometry)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ORDERS)
def test_a_place_goes_to_every_order_and_back(geometry: Geometry, order: str) -> None:
    for place in PLACES:
        there = ORDERS[order].from_kji(place, geometry)
        assert_allclose(ORDERS[order].to_kji(there, geometry), place, atol=1e-3)


def test_orders_are_what_other_programs_show(geometry: Geometry) -> None:
    place = (5.0, 8.0, 6.0)
    lps = geometry.affine @ [6, 8, 5, 1]
    assert ORDERS["ijk"].from_kji(place, geometry) == (6, 8, 5)
    assert ORDERS["itksnap"].from_kji(place, geometry) == (7, 9, 6)
    assert_allclose(ORDERS["lps"].from_kji(place, geometry), lps[:3])
    assert_allclose(ORDERS["ras"].from_kji(place, geometry), lps[:3] * [-1, -1, 1])


@pytest.mark.parametrize("order", ORDERS)
def test_boxes_points_and_lines_are_the_same_in_every_order(geometry: Geometry, order: str) -> None:
    def at(*places: tuple[float, float, float]) -> str:
        return ";".join(text_of(place, order, geometry) for place in places)

    box, point, stroke, lasso = (
        read(
            geometry,
            order,
            boxes=["a:" + at(PLACES[0], PLACES[1]).replace(";", ",")],
            points=["a-:" + at((4, 12, 10))],
            scribbles=["a+:" + at((5, 9, 8), (5, 12, 10))],
            lassos=["a+:" + at((5, 9, 8), (5, 12, 10), (5, 14, 8))],
        )[0:1]
        + read(geometry, order, points=["a-:" + at((4, 12, 10))])
        + read(
            geometry,
            order,
            scribbles=["a+:" + at((5, 9, 8), (5, 12, 10))],
            lassos=["a+:" + at((5, 9, 8), (5, 12, 10), (5, 14, 8))],
        )
    )
    assert isinstance(box, BoxPrompt)
    assert box.axis == 0
    assert_allclose([box.lower, box.upper], PLACES[:2], atol=1e-3)
    assert isinstance(point, PointPrompt)
    assert not point.positive
    assert_allclose(point.position, (4, 12, 10), atol=1e-3)
    assert isinstance(stroke, ScribblePrompt)
    assert isinstance(lasso, LassoPrompt)
    assert stroke.points[0][0] == lasso.points[0][0] == 5.0, "millimetres that lie nearly on a slice are put on it"


def test_signs_may_stand_before_the_colon_where_numbers_are_negative(geometry: Geometry) -> None:
    found = drafts_of(points=["liver+:-3.5,-2,1", "liver-:3,2,1"], order=ORDERS["ras"])
    assert [(each.name, each.positive, each.points[0]) for each in found] == [
        ("liver", True, (-3.5, -2.0, 1.0)),
        ("liver", False, (3.0, 2.0, 1.0)),
    ]
    with pytest.raises(CaseError, match=r"NAME\+:R,A,S"):
        drafts_of(points=["liver:+3,2,1"], order=ORDERS["ras"])
    plus = drafts_of(points=["A+:+3,2,1"])
    assert (plus[0].name, plus[0].positive) == ("A+", True), "a name may end in a sign"


def test_a_place_outside_is_told_in_the_users_own_order(geometry: Geometry) -> None:
    with pytest.raises(CaseError, match=r"i, j, k from 0, 0, 0 to 19, 23, 9\. In the order kji it would lie inside"):
        read(geometry, "ijk", boxes=["a:5,8,15,5,15,18"])
    with pytest.raises(CaseError, match="R, A, S in mm within"):
        read(geometry, "ras", points=["a+:900,0,0"])


def test_extreme_points_lie_on_the_slice_that_most_of_them_are_on(geometry: Geometry) -> None:
    (found,) = read(geometry, extremes=["a:5,8,10;5,15,10;5,12,6;5,12,13;8,12,10"])
    assert isinstance(found, ExtremePointsPrompt)
    assert found.axis == 0


def markup(
    kind: str, geometry: Geometry, places: list[tuple[float, float, float]], system: str = "LPS"
) -> dict[str, Any]:
    order = ORDERS[system.lower()]
    points = [{"position": list(order.from_kji(place, geometry)), "positionStatus": "defined"} for place in places]
    points.append({"position": [0, 0, 0], "positionStatus": "undefined"})
    return {"type": kind, "coordinateSystem": system, "coordinateUnits": "mm", "controlPoints": points}


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_markups_of_slicer_are_prompts(geometry: Geometry, tmp_path: Path, system: str) -> None:
    kinds = {
        "Fiducial": (PointPrompt, [(5, 9, 8)]),
        "Line": (ScribblePrompt, [(5, 9, 8), (5, 12, 10)]),
        "Curve": (ScribblePrompt, [(5, 9, 8), (5, 12, 10), (5, 13, 9)]),
        "ClosedCurve": (LassoPrompt, [(5, 9, 8), (5, 12, 10), (5, 14, 8)]),
    }
    for kind, (made, places) in kinds.items():
        file = tmp_path / f"liver.{kind}.mrk.json"
        file.write_text(json.dumps({"markups": [markup(kind, geometry, places, system)]}))  # type: ignore[arg-type]
        drafts = read_prompt_file(f"liver={file}")
        (prompt,) = prompts_of(drafts, SegmentNames(), geometry)
        assert isinstance(prompt, made)
        where = prompt.position if isinstance(prompt, PointPrompt) else prompt.points[0]  # type: ignore[union-attr]
        assert_allclose(where, (5, 9, 8), atol=1e-3)
    (own,) = read_prompt_file(str(tmp_path / "liver.Fiducial.mrk.json"))
    assert own.name == "liver.Fiducial"
    (negative,) = read_prompt_file(f"liver-={tmp_path / 'liver.Line.mrk.json'}")
    assert (negative.name, negative.positive) == ("liver", False)
    plane = tmp_path / "plane.mrk.json"
    plane.write_text(json.dumps({"markups": [markup("Plane", geometry, [(1, 1, 1)])]}))
    with pytest.raises(CaseError, match="no prompt"):
        read_prompt_file(str(plane))


@pytest.mark.parametrize("thick", [True, False], ids=["in-space", "on-one-slice"])
def test_a_roi_is_the_box_of_the_voxels_inside_it(geometry: Geometry, tmp_path: Path, thick: bool) -> None:
    low, high = (3.0, 8.0, 6.0), (7.0 if thick else 3.0, 15.0, 13.0)
    middle = ORDERS["lps"].from_kji([(a + b) / 2 for a, b in zip(low, high, strict=True)], geometry)
    voxels = [b - a + 1 for a, b in zip(low, high, strict=True)]
    size = [count * step for count, step in zip(reversed(voxels), geometry.spacing, strict=True)]
    roi = {"type": "ROI", "coordinateSystem": "LPS", "center": list(middle), "size": size}
    roi["orientation"] = list(geometry.direction)
    (tmp_path / "a.mrk.json").write_text(json.dumps({"markups": [roi]}))
    (box,) = prompts_of(read_prompt_file(str(tmp_path / "a.mrk.json")), SegmentNames(), geometry)
    assert isinstance(box, Box3DPrompt if thick else BoxPrompt)
    assert (box.lower, box.upper) == (low, high)


def test_a_json_file_of_prompts_is_read_and_what_is_wrong_is_told(geometry: Geometry, tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    given = [
        {"name": "liver", "type": "box", "lower": [6, 8, 5], "upper": [13, 15, 5]},
        {"name": "liver", "type": "point", "position": [10, 12, 4], "positive": False},
        {"name": "cyst", "type": "scribble", "points": [[8, 9, 5], [10, 12, 5]], "width": 3},
    ]
    file.write_text(json.dumps({"coordinates": "ijk", "prompts": given}))
    names = SegmentNames()
    box, point, stroke = prompts_of(read_prompt_file(str(file)), names, geometry)
    assert names.numbers == {"liver": 1, "cyst": 2}
    assert isinstance(box, BoxPrompt)
    assert box.lower == (5, 8, 6)
    assert point == PointPrompt(1, (4, 12, 10), False, 0)
    assert isinstance(stroke, ScribblePrompt)
    assert stroke.radii == (0.75, 1.0, 1.5)
    for wrong, sentence in (
        ("no JSON", "no JSON that can be read"),
        (json.dumps({"prompts": [{"type": "spray", "name": "a"}]}), "spray"),
        (json.dumps([{"type": "point", "position": [1, 2, 3]}]), "has no name"),
        (json.dumps([{"type": "point", "name": "a"}]), "damaged"),
        (json.dumps({"coordinates": "xyz", "prompts": []}), "no order of coordinates"),
    ):
        file.write_text(wrong)
        with pytest.raises(CaseError, match=sentence):
            read_prompt_file(str(file))


def test_painted_slices_of_a_label_file_are_masks(geometry: Geometry, tmp_path: Path) -> None:
    labels = np.zeros(geometry.shape, np.uint8)
    labels[3, 4:9, 5:9] = 1
    labels[6, 4:9, 5:9] = 2
    path = write_labelmap(tmp_path / "painted.nii.gz", labels, geometry)
    names = SegmentNames()
    one, two = read_mask(str(path), names, geometry)
    assert names.numbers == {"label 1": 1, "label 2": 2}
    assert isinstance(one, MaskPrompt)
    assert (one.object, one.axis, one.index, int(one.mask.sum())) == (1, 0, 3, 20)
    assert [each.object for each in read_mask(f"liver={path}", SegmentNames(), geometry)] == [1, 1]
    moved = Geometry(geometry.shape, geometry.spacing, (0.0, 0.0, 0.0), geometry.direction)
    with pytest.raises(CaseError, match="beside the volume"):
        read_mask(str(path), names, moved)
    assert two.object == 2


CLICK = {"name": "a", "type": "point", "position": [5, 8, 6]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[" * 100_000, "no JSON that can be read"),
        ('{"prompts": [{]}', "no JSON that can be read, line 1"),
        (json.dumps([]), "holds no prompt"),
        (json.dumps({"markups": []}), "holds no prompt"),
        (json.dumps([{**CLICK, "positiv": False}]), "tells 'positiv'"),
        (json.dumps([{**CLICK, "position": [10**400, 1, 2]}]), "no JSON that can be read"),
        (json.dumps([{**CLICK, "axis": 0.0}]), "the axis is 0, 1 or 2"),
        (json.dumps([{**CLICK, "position": [True, 1, 2]}]), "of another form"),
        (json.dumps([{"name": "a", "type": "point"}]), "it lacks 'position'"),
        (json.dumps([{"name": "a", "type": "scribble", "points": [[1, 2, 3]], "width": -1}]), "of another form"),
        (json.dumps({"markups": [{"type": "Fiducial", "coordinateSystem": "IJK"}]}), "save it in LPS or RAS"),
    ],
    ids=["deep", "cut", "empty", "no-markup", "misspelt", "huge", "axis", "bool", "lacking", "width", "system"],
)
def test_an_odd_file_of_prompts_is_refused_with_a_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "prompts.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(CaseError, match=re.escape(sentence)):
        read_prompt_file(str(file))


def test_a_roi_without_end_is_refused(geometry: Geometry, tmp_path: Path) -> None:
    file = tmp_path / "roi.mrk.json"
    roi = {"type": "ROI", "coordinateSystem": "LPS", "center": [0, 0, 0], "size": [1e308, 1e308, 1e308]}
    file.write_text(json.dumps({"markups": [{**roi, "orientation": [1e9, 0, 0, 0, 1e9, 0, 0, 0, -1e9]}]}))
    with pytest.raises(CaseError, match="no finite numbers"):
        prompts_of(read_prompt_file(str(file)), SegmentNames(), geometry)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps([CLICK]), encoding="utf-8-sig")
    assert [draft.points for draft in read_prompt_file(str(file))] == [((5.0, 8.0, 6.0),)]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [([0.5], "holds fractions"), ([np.inf], "NaN or endless"), ([-1], "labels count from 0"), (range(2000), "image")],
    ids=["fractions", "infinite", "negative", "image"],
)
def test_what_is_no_labelmap_is_no_mask(
    geometry: Geometry, tmp_path: Path, values: Sequence[float], sentence: str
) -> None:
    voxels = np.zeros(geometry.shape, np.float32)
    voxels.ravel()[: len(values)] = values
    image = sitk.GetImageFromArray(voxels)
    geometry.place(image)
    sitk.WriteImage(image, str(tmp_path / "labels.nrrd"))
    with pytest.raises(CaseError, match=sentence):
        read_mask(f"a={tmp_path / 'labels.nrrd'}", SegmentNames(), geometry)

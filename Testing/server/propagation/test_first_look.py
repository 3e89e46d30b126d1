"""Clicks alone and loose boxes: which crop is believed, and what a mask that leaves out its box's middle means."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from memseg3d.network.loading import load_network
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, LassoPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.boxes import missed_middle
from memseg3d.propagation.sight.framing import MOST_SIZES, SIZE_STEP, Framing
from memseg3d.propagation.sight.regions import Extent
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.volume.volume import Volume

MODEL = Path(__file__).resolve().parents[3] / "Resources" / "Models" / "memseg3d-nano.safetensors"
SHAPE = (6, 120, 140)


def a_tube(radius: float, contrast: float = 60.0) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and truth of a bright tube along k in noise."""
    rng = np.random.default_rng(int(radius))
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    inside = (rows - 60) ** 2 + (columns - 65) ** 2 <= radius**2
    truth = np.broadcast_to(inside, SHAPE).copy()
    return (rng.normal(40, 12, SHAPE) + contrast * truth).astype(np.float32), truth


def dice(one: np.ndarray, two: np.ndarray) -> float:
    return float(2 * np.count_nonzero(one & two) / (np.count_nonzero(one) + np.count_nonzero(two)))


@pytest.mark.parametrize("radius", [6.0, 12.0, 24.0, 40.0])
def test_one_click_finds_the_object_whatever_its_size(radius: float) -> None:
    voxels, truth = a_tube(radius)
    session = Session(Volume(voxels, (3.0, 1.0, 1.0)), load_network(MODEL), Options())
    first = next(
        event
        for event in session.begin("click", [PointPrompt(1, (3.0, 60.0, 65.0), True, 0)])
        if isinstance(event, SliceDone)
    )
    assert first.prompted
    assert dice(first.mask, truth[3]) > 0.8


def test_crops_of_growing_size_hold_the_clicks() -> None:
    framing = Framing((200, 300), (1.0, 0.5), 128, crop=True)
    points = Extent(90.0, 140.0, 104.0, 160.0)
    regions = framing.sizes_about(points)
    sides = [region.side(framing.spacing) for region in regions]
    assert 2 < len(regions) <= MOST_SIZES
    assert sides == sorted(sides)
    assert max(sides) >= 150.0, "the slice's shorter side in mm"
    assert all(later <= earlier * SIZE_STEP * 1.3 for earlier, later in pairwise(sides))
    for region in regions:
        assert region.holds((90.0, 140.0))
        assert region.holds((104.0, 160.0))


def found(mask: np.ndarray) -> SliceLogits:
    return SliceLogits.of_mask(mask, 0.9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mask_around_the_middle_of_its_box_asks_for_the_middle(axis: int) -> None:
    corners = [[10.0, 20.0], [30.0, 50.0]]
    for corner in corners:
        corner.insert(axis, 4.0)
    box = BoxPrompt(7, axis, tuple(corners[0]), tuple(corners[1]))  # type: ignore[arg-type]
    ring = np.zeros((60, 80), bool)
    ring[10:31, 20:51] = True
    ring[14:27, 26:45] = False
    middle = missed_middle(found(ring), [box], axis, 4, ring.shape)
    assert middle is not None
    assert (middle.object, middle.positive) == (7, True)
    expected = [20.0, 35.0]
    expected.insert(axis, 4.0)
    assert middle.position == tuple(expected)
    assert missed_middle(found(~ring), [box], axis, 4, ring.shape) is None, "the middle is in the mask"
    assert missed_middle(found(ring), [box, middle], axis, 4, ring.shape) is None, "the user has said more than a box"


def test_a_lasso_says_itself_where_the_object_is() -> None:
    line = tuple((0.0, float(row), float(column)) for row, column in ((5, 5), (5, 30), (30, 30), (30, 5)))
    lasso = LassoPrompt(1, 0, line, (2, 60, 60))
    assert missed_middle(found(np.zeros((60, 60), bool)), [lasso], 0, 0, (60, 60)) is None


def test_a_box_with_much_room_keeps_its_object() -> None:
    voxels, truth = a_tube(20.0, 35.0)
    masks = []
    for room in (0.0, 8.0, 14.0):
        session = Session(Volume(voxels, (3.0, 1.0, 1.0)), load_network(MODEL), Options())
        low, high = (3.0, 40.0 - room, 45.0 - room), (3.0, 80.0 + room, 85.0 + room)
        list(session.begin("box", [BoxPrompt(1, 0, low, high)]))
        masks.append(session.labelmap(1)[3])
    assert dice(masks[0], truth[3]) > 0.9
    assert all(mask[60, 65] for mask in masks), "a box holds its middle"

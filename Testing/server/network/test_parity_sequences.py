"""Parity of whole sequences: the same prompts and propagations by the official predictor and by our tracker."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from memseg3d.propagation.memory.policies import Sam2Policy

from .conftest import LONG
from .references import IMAGE_SIZE
from .runs import Clicks, OfficialRun, SameThreshold, TrackerRun, assert_same, mask_iou

pytestmark = pytest.mark.parity

Both = Callable[[int], tuple[OfficialRun, TrackerRun]]
Run = OfficialRun | TrackerRun

CLICK = Clicks(((50.0, 60.0, 1),))
OTHER_CLICK = Clicks(((95.0, 30.0, 1),))
BOX = Clicks(box=(30.0, 35.0, 75.0, 90.0))
BOX_AND_NEGATIVE = Clicks(((40.0, 80.0, 0),), box=(30.0, 35.0, 75.0, 90.0))


def ragged_mask() -> torch.Tensor:
    """A blob with a ragged edge, off the grid of the low-resolution logits: (S, S) bool."""
    rows, columns = torch.meshgrid(torch.arange(IMAGE_SIZE), torch.arange(IMAGE_SIZE), indexing="ij")
    radius = 25 + 5 * torch.sin(rows / 3.0) + 4 * torch.cos(columns / 2.0)
    return (rows - 61) ** 2 + (columns - 49) ** 2 < radius**2


def one_click(run: Run) -> None:
    run.click(0, CLICK)
    run.propagate(0)


def box(run: Run) -> None:
    run.click(0, BOX)
    run.propagate(0)


def box_and_negative_click(run: Run) -> None:
    run.click(0, BOX_AND_NEGATIVE)
    run.propagate(0)


def box_then_negative_click(run: Run) -> None:
    run.click(0, BOX)
    run.click(0, BOX_AND_NEGATIVE)
    run.propagate(0)


def mask(run: Run) -> None:
    run.mask(0, ragged_mask())
    run.propagate(0)


def empty_mask(run: Run) -> None:
    run.mask(2, torch.zeros(IMAGE_SIZE, IMAGE_SIZE, dtype=torch.bool))
    run.click(0, CLICK)
    run.propagate(0)


def click_on_a_mask(run: Run) -> None:
    run.mask(0, ragged_mask())
    run.click(0, CLICK)
    run.propagate(0)


def forward_then_reverse(run: Run) -> None:
    run.click(2, CLICK)
    run.propagate(2)
    run.propagate(2, reverse=True)


def reverse_afresh(run: Run) -> None:
    run.click(3, CLICK)
    run.propagate(3)
    run.reset()
    run.click(3, CLICK)
    run.propagate(3, reverse=True)


def two_objects(run: Run) -> None:
    run.click(0, CLICK, obj=1)
    run.click(0, BOX, obj=2)
    run.propagate(0)


def two_conditioning_slices(run: Run) -> None:
    run.click(4, OTHER_CLICK)
    run.click(1, BOX)
    run.propagate(1)
    run.propagate(4, reverse=True)


def correction_on_a_tracked_slice(run: Run) -> None:
    run.click(0, CLICK)
    run.propagate(0)
    run.click(3, Clicks(((65.0, 45.0, 0),)))
    run.click(3, Clicks(((65.0, 45.0, 0), (30.0, 30.0, 1))))
    run.propagate(0)
    run.propagate(3, reverse=True)


def correction_of_a_reverse_pass(run: Run) -> None:
    run.click(3, CLICK)
    run.propagate(3)
    run.propagate(3, reverse=True)
    run.click(1, OTHER_CLICK)
    run.click(2, OTHER_CLICK)
    run.propagate(3, reverse=True)


def mask_on_a_tracked_slice(run: Run) -> None:
    run.click(0, CLICK)
    run.propagate(0)
    run.mask(3, ragged_mask())
    run.propagate(0)


def second_click_on_a_conditioning_slice(run: Run) -> None:
    run.click(2, CLICK)
    run.propagate(2)
    run.click(2, Clicks((*CLICK.points, (35.0, 30.0, 0))))
    run.propagate(2)


ISSUED = [
    one_click,
    box,
    box_and_negative_click,
    mask,
    forward_then_reverse,
    reverse_afresh,
    two_objects,
    two_conditioning_slices,
    correction_on_a_tracked_slice,
]
"""Played by both versions, and with the object present and occluded: by one version each."""

STATES = ("present", "occluded")
PLAYED = [
    pytest.param(
        version, STATES[(place + later) % 2], script, id=f"{version}-{STATES[(place + later) % 2]}-{script.__name__}"
    )
    for later, version in enumerate(("2.0", "2.1"))
    for place, script in enumerate(ISSUED)
]

DEEPER = [
    box_then_negative_click,
    empty_mask,
    click_on_a_mask,
    correction_of_a_reverse_pass,
    mask_on_a_tracked_slice,
    second_click_on_a_conditioning_slice,
]
"""Played by both versions, with the object present."""

SLICES = 5


@pytest.mark.parametrize(("pair", "object_score", "script"), PLAYED, indirect=["pair", "object_score"])
def test_parity_of_a_sequence(script: Callable[[Run], None], both: Both, object_score: str) -> None:
    theirs, ours = both(SLICES)
    script(theirs)
    script(ours)
    assert_same(ours.seen, theirs.seen)
    if object_score == "present":
        assert any(bool((seen.logits > 0).any()) for seen in theirs.seen), "a sequence without a mask proves little"
    else:
        assert all(bool((seen.score < 0).all()) for seen in theirs.seen[2 * (script is mask) :])


@pytest.mark.parametrize("script", DEEPER, ids=lambda script: script.__name__)
def test_parity_of_a_further_sequence(script: Callable[[Run], None], both: Both) -> None:
    theirs, ours = both(SLICES)
    script(theirs)
    script(ours)
    assert_same(ours.seen, theirs.seen)


def test_parity_of_a_sequence_that_fills_every_slot(both: Both) -> None:
    """More than 16 slices, so that pointers and spatial memories fall out at the far end, in both directions."""
    theirs, ours = both(LONG)
    for run in (theirs, ours):
        run.click(2, CLICK)
        run.propagate(2)
        # the reference cannot start where no pointer lies behind: it then mixes dtypes and stops
        run.propagate(LONG - 2, reverse=True, count=4)
        run.propagate(5, reverse=True, count=2)
    assert_same(ours.seen, theirs.seen)


def test_parity_where_conditioning_slices_are_limited(both: Both) -> None:
    theirs, ours = both(SLICES)
    ours.policy = Sam2Policy(conditioning_limit=2)
    theirs.predictor.max_cond_frames_in_attn = 2
    try:
        for run in (theirs, ours):
            for index in (4, 0, 3, 2):
                run.click(index, CLICK if index % 2 else BOX)
            run.propagate(0)
            run.propagate(3, reverse=True)
    finally:
        theirs.predictor.max_cond_frames_in_attn = -1
    assert_same(ours.seen, theirs.seen)


def test_parity_of_whole_masks_at_image_resolution(both: Both) -> None:
    """What a user sees: the masks that the predictor gives at the size of the slice."""
    theirs, ours = both(SLICES)
    for run in (theirs, ours):
        run.click(0, BOX_AND_NEGATIVE)
    ours.propagate(0)
    shown = [masks[0, 0] > 0 for *_, masks in theirs.predictor.propagate_in_video(theirs.state, 0)]
    for index, their_mask in enumerate(shown):
        logits = ours.trackers[1].entries[index].logits
        enlarged = torch.nn.functional.interpolate(logits, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear")
        assert mask_iou(enlarged[0, 0] > 0, their_mask) > 0.999


def test_only_a_pixel_at_the_threshold_follows_the_reference(both: Both) -> None:
    """Two orders above the last bit, a pixel on the other side is a difference that the memory shows."""
    _, ours = both(1)
    ours.click(0, CLICK)
    seen = ours.seen[0]
    logits = torch.nn.functional.interpolate(seen.logits, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear")
    nearest = int(logits.abs().argmin())
    assert float(logits.flatten()[nearest].abs()) < SameThreshold.CLOSE / 2, "no pixel of this mask is near zero"

    def remembered(reference: torch.Tensor) -> torch.Tensor:
        network = SameThreshold(ours.network, [reference])
        return network.remember(ours.features[0], seen.logits, seen.score, seen.pointer, True).tensors["spatial"]

    plain, at_threshold, far = remembered(logits), logits.clone(), logits.clone()
    at_threshold.view(-1)[nearest] *= -1
    far.view(-1)[int(logits.argmax())] *= -1
    assert torch.equal(remembered(far), plain)
    assert not torch.equal(remembered(at_threshold), plain)

"""The main story: load, draw a box, see slices arrive, correct, undo; every step by the panel and the views."""

from __future__ import annotations

from desktop.clinician import Clinician


def test_a_box_becomes_a_segment_slice_by_slice(clinician: Clinician) -> None:
    clinician.box(60)
    assert clinician.bench.busy
    clinician.wait_for_slices(1)
    first = clinician.voxels()
    assert first[60].any(), "the drawn slice comes first"
    assert not first[0].any(), "and before the propagation has reached the end"
    clinician.wait()
    assert clinician.voxels().any(axis=(1, 2)).all(), "this model sees an object on every slice"
    assert [entry.state for entry in clinician.bench.prompts()] == ["sent"]
    assert len(clinician.bench.rounds()) == 1
    assert clinician.texts("error") == ""

"""What every user of Slicer pays for MemSeg3D at each start: two small files, and nothing that they do not need."""

from __future__ import annotations

import sys

from Testing.benchmarks.startup import heavy, measure


def test_starting_slicer_imports_neither_the_library_nor_the_panel() -> None:
    told = measure()
    stdlib = set(sys.stdlib_module_names)
    added = [one for one in told["import"]["modules"] if one.split(".")[0] not in stdlib]
    assert added == ["MemSeg3D", "SegmentEditorMemSeg3D"]
    assert set(told["import"]["asked"]) - stdlib <= {"slicer"}
    # Registering effect and sample, once Slicer has started.
    registered = [one for one in told["startupCompleted"]["modules"] if one.split(".")[0] not in stdlib]
    assert heavy(told["startupCompleted"]) == []
    assert len(registered) <= 6, registered
    assert heavy(told["first use"]), "what the measurement would find"

"""Two lattices are one by how far their corners lie apart in voxels."""

from __future__ import annotations

import numpy as np
import pytest

from MemSeg3DLib.base.lattices import is_same_lattice

SHAPE = (10, 20, 400)


@pytest.mark.parametrize("millimetres", [1.0, 2e-4])
def test_lattices_are_held_against_each_other_in_voxels(millimetres: float) -> None:
    one = np.diag([0.5 * millimetres, 0.5 * millimetres, 2.0 * millimetres, 1.0])
    assert is_same_lattice(one, one, SHAPE)
    for entry, step in ((0, 3), 0.5), ((2, 3), 2.0), ((0, 0), 0.5 / 399), ((1, 0), 0.5 / 399):
        for voxels, is_same in ((0.05, True), (0.2, False)):
            other = one.copy()
            other[entry] += voxels * step * millimetres
            assert is_same_lattice(one, other, SHAPE) is is_same, (entry, voxels)


def test_lattices_are_compared_where_their_voxels_lie() -> None:
    one = np.diag([1.0, 1.0, 1.0, 1.0])
    longer = np.diag([1.001, 1.0, 1.0, 1.0])
    assert is_same_lattice(one, longer, (5, 5, 50))
    assert not is_same_lattice(one, longer, (5, 5, 50), (0, 0, 1000))

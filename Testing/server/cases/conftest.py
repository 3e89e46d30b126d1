"""A turned and flipped grid, as small as tests want it."""

from __future__ import annotations

import numpy as np
import pytest

from memseg3d.files import Geometry


@pytest.fixture
def geometry() -> Geometry:
    """10 slices of 24 x 20 voxels of 2 x 1.5 x 1 mm, turned by 0.3 about the head-foot axis, rows flipped."""
    c, s = float(np.cos(0.3)), float(np.sin(0.3))
    return Geometry((10, 24, 20), (1.0, 1.5, 2.0), (-12.5, 40.0, 7.25), (c, s, 0.0, s, -c, 0.0, 0.0, 0.0, 1.0))

"""The worker's verdict on each odd DICOM folder is the table's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from odd_dicom import ODD, expected_voxels, make_odd

from memseg3d.files import UnreadableFile, read_volume


@pytest.mark.parametrize("name", ODD)
def test_the_workers_verdict(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    odd, folder = ODD[name], make_odd(name, tmp_path / "study")
    if odd.refused:
        with pytest.raises(UnreadableFile, match=odd.refused):
            read_volume(folder, odd.wanted)
    else:
        volume = read_volume(folder, odd.wanted)
        assert np.array_equal(volume.voxels, expected_voxels(odd, name))
        assert volume.spacing == pytest.approx((odd.step, *odd.spacing), rel=1e-6)
        assert odd.note in " ".join(volume.notes)
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")

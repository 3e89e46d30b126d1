"""Slices of a volume across any axis; of a mapped volume, slices across i come in runs, as each touches every page."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

LARGE = 512 << 20
"""Bytes from which on a mapped volume is read in runs: smaller ones stay in the system's page cache."""

_RUN_BYTES = 32 << 20
_RUNS = 4
"""One for each direction of propagation, of two objects."""


class SliceReader:
    """Reads slices of `voxels` (k, j, i). Safe to use from several threads.

    A slice across i takes a few bytes of every row, so the disk must give the whole volume where the memory does not
    hold it: a run of neighbouring slices costs as much as one.
    """

    def __init__(self, voxels: np.ndarray, large: int = LARGE, run_bytes: int = _RUN_BYTES) -> None:
        self._voxels = voxels
        self._in_runs = isinstance(voxels, np.memmap) and voxels.nbytes >= large
        area = voxels[:, :, 0].size * voxels.itemsize
        self._length = max(1, min(run_bytes // max(1, area), voxels.shape[2]))
        self._runs: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def slice(self, axis: int, index: int) -> np.ndarray:
        """View (rows, columns) of one slice, not to be changed: the two remaining axes in their (k, j, i) order."""
        if axis != 2 or not self._in_runs:
            return self._voxels[(slice(None),) * axis + (index,)]
        run, offset = divmod(index, self._length)
        return self._run(run)[:, :, offset]

    def _run(self, number: int) -> np.ndarray:
        with self._lock:
            run = self._runs.pop(number, None)
            if run is None:
                first = number * self._length
                run = np.ascontiguousarray(self._voxels[:, :, first : first + self._length])
            self._runs[number] = run
            while len(self._runs) > _RUNS:
                self._runs.popitem(last=False)
            return run

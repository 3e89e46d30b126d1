"""A Kalman filter on boxes with constant velocity, as trackers of boxes use it (arXiv 1602.00763, 1703.07402)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memseg3d.propagation.sight.regions import Extent

POSITION, VELOCITY = 1 / 20, 1 / 160
"""Standard deviations over the height of the box: of a position, and of its change from slice to slice."""
ASPECT, ASPECT_RATE, ASPECT_SEEN = 1e-2, 1e-5, 1e-1
"""Standard deviations of the aspect ratio, of its change, and of one that was measured."""


@dataclass(frozen=True, eq=False)
class BoxFilter:
    """mean: (8,) centre (column, row), aspect (width over height), height, and their change per slice; covariance:
    (8, 8). In slice pixels.
    """

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def start(cls, box: Extent) -> BoxFilter:
        """From one measured box, at rest."""
        seen = _measured(box)
        height = seen[3]
        still = 2 * POSITION * height
        moving = 10 * VELOCITY * height
        deviations = [still, still, ASPECT, still, moving, moving, ASPECT_RATE, moving]
        return cls(np.concatenate([seen, np.zeros(4)]), np.diag(np.square(deviations)))

    def predicted(self) -> BoxFilter:
        """One slice on."""
        height = abs(self.mean[3])
        still, moving = POSITION * height, VELOCITY * height
        noise = np.diag(np.square([still, still, ASPECT, still, moving, moving, ASPECT_RATE, moving]))
        step = np.eye(8)
        step[:4, 4:] = np.eye(4)
        return BoxFilter(step @ self.mean, step @ self.covariance @ step.T + noise)

    def updated(self, box: Extent) -> BoxFilter:
        """With a measured box of the same slice."""
        still = POSITION * abs(self.mean[3])
        noise = np.diag(np.square([still, still, ASPECT_SEEN, still]))
        spread = self.covariance[:4, :4] + noise
        gain = np.linalg.solve(spread, self.covariance[:4]).T
        mean = self.mean + gain @ (_measured(box) - self.mean[:4])
        return BoxFilter(mean, self.covariance - gain @ spread @ gain.T)

    @property
    def box(self) -> Extent:
        """Where the box is expected."""
        column, row, aspect, height = self.mean[:4]
        height = max(float(height), 0.0)
        width = max(float(aspect), 0.0) * height
        return Extent(row - height / 2, column - width / 2, row + height / 2, column + width / 2)


def _measured(box: Extent) -> np.ndarray:
    row, column = box.centre
    return np.array([column, row, box.width / box.height, box.height])

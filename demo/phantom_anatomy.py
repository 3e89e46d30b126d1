"""The anatomy of the phantom: organs painted one over the other, each with its CT number in the portal venous phase."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from demo import phantom_organs as organs
from demo.phantom_shapes import Field, Grid, column, ellipsoid, overlap, repeated, smooth_noise, union
from MemSeg3DLib.export.dicom.terminology import SegmentDescription, describe

LIVER, RIGHT_KIDNEY, LEFT_KIDNEY, SPLEEN, LESION, AORTA, VERTEBRAE, RIGHT_LUNG, LEFT_LUNG, STOMACH, GALLBLADDER = range(
    1, 12
)
LABELS: dict[int, SegmentDescription] = {
    label: describe(label, name, includes)
    for label, name, includes in [
        (LIVER, "liver", (LESION,)),
        (RIGHT_KIDNEY, "right kidney", ()),
        (LEFT_KIDNEY, "left kidney", ()),
        (SPLEEN, "spleen", ()),
        (LESION, "liver lesion", ()),
        (AORTA, "aorta", ()),
        (VERTEBRAE, "vertebrae", ()),
        (RIGHT_LUNG, "right lung", ()),
        (LEFT_LUNG, "left lung", ()),
        (STOMACH, "stomach", ()),
        (GALLBLADDER, "gallbladder", ()),
    ]
}
RIGHT_KIDNEY_CENTRE, LEFT_KIDNEY_CENTRE = (-59.0, 38.0, 64.0), (61.0, 34.0, 82.0)
EDGE = 2.4
"""Width in mm over which a surface fades: the partial volume of a voxel."""


class Canvas:
    """Where organs are painted: `hu` float32 and `truth` uint8, both (k, j, i); a later organ covers an earlier one."""

    def __init__(self, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
        self.spacing = spacing
        self.hu: Field = np.full(shape, -1000.0, np.float32)
        self.truth: NDArray[np.uint8] = np.zeros(shape, np.uint8)
        self.inside: NDArray[np.bool_] = np.zeros(shape, np.bool_)

    def paint(self, distance: Field, hu: Field | float, label: int | None = 0) -> None:
        """Cover the inside of `distance` (mm, positive inside) with `hu` and `label`; None leaves the label alone."""
        cover = np.clip(0.5 + distance / EDGE, 0, 1)
        self.hu += cover * (hu - self.hu)
        if label is not None:
            self.truth[cover > 0.5] = label

    def drop_crumbs(self) -> None:
        """Unlabel the small pieces that a later organ has cut off an earlier one; a reader would not outline them."""
        for label in range(1, int(self.truth.max()) + 1):
            pieces, count = ndimage.label(self.truth == label)
            sizes = np.bincount(pieces.ravel(), minlength=count + 1)
            sizes[0] = 0
            self.truth[np.isin(pieces, np.flatnonzero(sizes < 0.01 * sizes.sum())) & (pieces > 0)] = 0

    def mottle(self, rng: np.random.Generator, label: int, length: float, amplitude: float) -> None:
        """Unevenness of a painted organ's parenchyma, in HU, with a correlation length in mm."""
        field = smooth_noise(rng, self.hu.shape, self.spacing, length, amplitude)
        self.hu += np.where(self.truth == label, field, np.float32(0))


def paint_torso(canvas: Canvas, table: Grid, body: Grid, rng: np.random.Generator) -> None:
    """Paint everything from the couch to the lesion. table: the undeformed grid; body: the deformed one."""
    _couch(canvas, table)
    cavity = _walls(canvas, body, rng)
    diaphragm = organs.diaphragm_height(body)
    _chest(canvas, body, cavity, diaphragm, rng)
    organs.bowel(canvas, body, cavity, rng)
    _upper_abdomen(canvas, body, cavity, diaphragm, rng)
    organs.kidney(canvas, body, RIGHT_KIDNEY_CENTRE, -1, RIGHT_KIDNEY)
    organs.kidney(canvas, body, LEFT_KIDNEY_CENTRE, +1, LEFT_KIDNEY)
    organs.spine(canvas, body, VERTEBRAE)
    organs.great_vessels(canvas, body, AORTA)
    canvas.drop_crumbs()
    for label, length, amplitude in [
        (LIVER, 9.0, 4.0),
        (SPLEEN, 9.0, 4.0),
        (RIGHT_KIDNEY, 9.0, 6.0),
        (LEFT_KIDNEY, 9.0, 6.0),
    ]:
        canvas.mottle(rng, label, length, amplitude)


def _couch(canvas: Canvas, grid: Grid) -> None:
    """The curved table under the patient: a thin hard shell round foam."""
    top = 113.0 - 0.0011 * grid.x**2
    slab = overlap((grid.y - top).astype(np.float32), (top + 16 - grid.y).astype(np.float32), 135 - np.abs(grid.x))
    canvas.paint(slab, -420.0)
    canvas.paint(slab - 3.0, -930.0)


def _walls(canvas: Canvas, grid: Grid, rng: np.random.Generator) -> Field:
    """Skin, fat, muscles and ribs; returns the distance to the wall of the cavity inside."""
    outline = column(grid, 0.0, 0.0, (146.0, 104.0), 2.35)
    canvas.inside = outline > 0
    canvas.paint(outline, 15.0)
    fat = -104 + smooth_noise(rng, canvas.hu.shape, canvas.spacing, 16.0, 5.0)
    canvas.paint(outline - 2.5, fat)
    muscle = column(grid, 0.0, -6.0, (129.0, 89.0), 2.35)
    fibres = 56 + smooth_noise(rng, canvas.hu.shape, canvas.spacing, 7.0, 6.0)
    canvas.paint(muscle, fibres)
    canvas.paint(column(grid, np.abs(grid.x) * 0 + np.sign(grid.x) * 33.0, 72.0, (30.0, 20.0), 2.6), fibres)
    # Thin layers of fat part the muscles of the flank.
    flank = np.abs(grid.x) - 62
    canvas.paint(overlap(1.1 - np.abs(muscle - 5.0), flank, (150 - grid.z).astype(np.float32)), -60.0)
    cavity = column(grid, 0.0, -8.0, (117.0, 77.0), 2.35)
    canvas.paint(cavity, fat - 2)
    organs.ribs(canvas, grid)
    return cavity


def _chest(canvas: Canvas, grid: Grid, cavity: Field, diaphragm: Field, rng: np.random.Generator) -> None:
    """Lungs with their vessels, mediastinum, heart, oesophagus and the diaphragm."""
    lungs = overlap(cavity - 2.0, (grid.z - diaphragm) * np.float32(0.55))
    air = -845 + smooth_noise(rng, canvas.hu.shape, canvas.spacing, 14.0, 16.0)
    # Blood pools at the back of a patient who lies.
    air += 0.45 * np.clip(grid.y, -70, 70)
    side = np.where(grid.x < 4, RIGHT_LUNG, LEFT_LUNG).astype(np.uint8)
    canvas.paint(lungs, air, None)
    canvas.truth[lungs > 0] = side[lungs > 0]
    organs.lung_vessels(canvas, grid, lungs, rng)
    mediastinum = overlap(column(grid, 6.0, 0.0, (27.0, 88.0), 2.0), (grid.z - 95).astype(np.float32), cavity)
    canvas.paint(mediastinum, -85.0)
    heart = overlap(ellipsoid(grid, (26, -30, 212), (57, 40, 52), 2.2, turn=28), cavity - 2)
    canvas.paint(heart + 4, -90.0)
    canvas.paint(heart, 105.0)
    canvas.paint(ellipsoid(grid, (40, -22, 208), (34, 24, 34), turn=28), 150.0)
    canvas.paint(ellipsoid(grid, (0, -42, 220), (26, 24, 34), turn=20), 155.0)
    canvas.paint(overlap(column(grid, 8.0, 21.0, (8.5, 6.5)), (grid.z - 118).astype(np.float32)), 48.0)
    canvas.paint(overlap(2.2 - np.abs(grid.z - diaphragm) * np.float32(0.55), cavity), 62.0)


def _upper_abdomen(canvas: Canvas, grid: Grid, cavity: Field, diaphragm: Field, rng: np.random.Generator) -> None:
    """Stomach, spleen, pancreas, liver with vessels and lesion, gallbladder."""
    below = (diaphragm - grid.z - 4) * np.float32(0.55)
    kidneys = union(
        organs.kidney_surface(grid, RIGHT_KIDNEY_CENTRE, -1), organs.kidney_surface(grid, LEFT_KIDNEY_CENTRE, 1)
    )
    apart = -kidneys - 5
    organs.pancreas(canvas, grid)
    stomach = overlap(
        union(ellipsoid(grid, (56, -12, 128), (36, 42, 40)), ellipsoid(grid, (24, -46, 98), (40, 22, 22), turn=-20)),
        cavity - 5,
        below,
    )
    organs.stomach(canvas, grid, stomach, STOMACH)
    spleen = overlap(ellipsoid(grid, (90, 30, 122), (25, 46, 44), 2.2, turn=22), cavity - 3, below, apart)
    spleen = overlap(spleen, -ellipsoid(grid, (58, 18, 120), (22, 30, 40)))
    canvas.paint(spleen + 2, -85.0)
    canvas.paint(spleen, 124.0, SPLEEN)
    liver = overlap(
        union(
            ellipsoid(grid, (-62, -6, 122), (60, 68, 68), 2.5),
            ellipsoid(grid, (-6, -46, 138), (62, 30, 30), 2.2, turn=-6),
        ),
        cavity - 3,
        below,
        apart,
    )
    # The fissure of the falciform ligament, and the hilum on the underside.
    liver = overlap(liver, -ellipsoid(grid, (-12, -58, 112), (5, 20, 34), tilt=10))
    liver = overlap(liver, -ellipsoid(grid, (-17, 6, 92), (31, 25, 26)))
    # No wedge of liver reaches between kidney and spine.
    liver = overlap(liver, -ellipsoid(grid, (-18, 38, 90), (30, 30, 36)))
    # The underside rises towards the middle, over kidney and duodenum.
    liver = overlap(liver, (0.45 * (2.0 * (grid.z - 73) - grid.x - 30)).astype(np.float32))
    canvas.paint(liver + 2, -85.0)
    canvas.paint(liver, 112.0, LIVER)
    organs.liver_vessels(canvas, grid, liver, rng)
    lesion = union(ellipsoid(grid, (-82, -16, 120), (16, 14, 16)), ellipsoid(grid, (-74, -8, 126), (12, 11, 12)))
    canvas.paint(lesion, 84.0, LESION)
    canvas.paint(lesion - 4, 58.0 + 4 * repeated(grid.x + grid.z, 7.0) / 3.5, None)
    gallbladder = ellipsoid(grid, (-44, -50, 76), (13, 17, 25), tilt=20)
    canvas.paint(gallbladder, 62.0, GALLBLADDER)
    canvas.paint(gallbladder - 2.2, 9.0, None)

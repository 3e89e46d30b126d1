"""Which region to look through: around a box, around clicks, and along with the object from slice to slice."""

from __future__ import annotations

from dataclasses import dataclass, replace

from memseg3d.propagation.sight.regions import Extent, Region

MARGIN = 1.6
"""Side of a crop over the longer side of its object."""
SMALLEST_CROP = 12
"""Smallest side of a crop in slice pixels (of the finer spacing)."""
POINT_CROP = 1.0 / 3.0
"""First crop around clicks alone, as part of the slice's shorter side."""
FULLEST, EMPTIEST = 0.70, 0.35
"""An object that fills more or less of the crop's side asks for a larger or smaller one."""
SIZE_STEP, MOST_SIZES = 2**0.5, 12
"""Sizes of crops that are tried for clicks alone: each larger by this factor, and so many of them."""
ZOOM = 1.5
ZOOM_STEPS = 4
CENTRE_SLACK = 0.12
"""While tracking, the object may leave the centre by this part of the side before the crop follows."""
SCALE_SLACK = 1.25
"""While tracking, the wanted side may differ by this factor before the crop follows."""
_BORDER = 1.0 / 64.0
"""An object closer than this part of the side touches the crop's border."""


@dataclass(frozen=True)
class Framing:
    """Chooses the regions of one axis.

    slice_shape: (rows, columns); spacing: (row, column) mm; size: S of the network; crop: False: always the whole
    slice. smaller: sides below S that the network takes as well, ascending: a crop is seen with as few pixels as keep
    it no less sharp than the whole slice would be.
    """

    slice_shape: tuple[int, int]
    spacing: tuple[float, float]
    size: int
    crop: bool
    smaller: tuple[int, ...] = ()

    def around(self, box: Extent, at_least: float = 0.0) -> Region:
        """Region of an object that fills `box` (slice pixels); at_least: smallest side in mm."""
        if not self.crop:
            return Region.whole(self.slice_shape, self.size)
        return self._square(box, max(MARGIN * self.longer_side(box), at_least))

    def around_points(self, points: Extent) -> Region:
        """First region of clicks without a box: a third of the slice's shorter side, or more where they lie apart."""
        height, width = (count * step for count, step in zip(self.slice_shape, self.spacing, strict=True))
        return self.around(points, at_least=min(height, width) * POINT_CROP)

    def sizes_about(self, points: Extent) -> list[Region]:
        """Regions about clicks to try, from a small one that holds them to one as large as the slice's shorter side."""
        height, width = (count * step for count, step in zip(self.slice_shape, self.spacing, strict=True))
        largest = min(height, width)
        side = max(2 * self._smallest(), MARGIN * self.longer_side(points))
        sides: list[float] = []
        while side < largest and len(sides) < MOST_SIZES - 1:
            sides.append(side)
            side *= SIZE_STEP
        return list(dict.fromkeys(self._square(points, each) for each in [*sides, max(largest, side)]))

    def zoomed(self, region: Region, mask: Extent | None, points: Extent) -> Region | None:
        """The next region to try for clicks alone, given the mask's box that `region` led to; None: `region` fits."""
        if not self.crop or mask is None:
            return None
        side = region.side(self.spacing)
        fill = self.longer_side(mask) / side
        box = mask.union(points)
        if fill > FULLEST or self.touches_border(region, mask):
            wanted = self._square(box, side * ZOOM)
        elif fill < EMPTIEST:
            wanted = self._square(box, max(side / ZOOM, MARGIN * self.longer_side(box)))
        else:
            return None
        return None if wanted == region else wanted

    def following(self, region: Region, mask: Extent | None) -> Region:
        """The region for the next slice, given the mask's box on the finished one."""
        if not self.crop or mask is None:
            return region
        side = region.side(self.spacing)
        wanted = max(MARGIN * self.longer_side(mask), self._smallest())
        if self.touches_border(region, mask):
            return self._square(mask, max(wanted, side * ZOOM))
        offset = max(
            abs(there - here) * step
            for there, here, step in zip(mask.centre, region.extent.centre, self.spacing, strict=True)
        )
        fits = offset <= CENTRE_SLACK * side and 1 / SCALE_SLACK <= wanted / side <= SCALE_SLACK
        return region if fits else self._square(mask, wanted)

    def touches_border(self, region: Region, mask: Extent) -> bool:
        """True where the mask reaches a border of the region beyond which the slice goes on."""
        extent, (rows, columns) = region.extent, self.slice_shape
        slack_rows, slack_columns = (max(1.0, side * _BORDER) for side in (extent.height, extent.width))
        return (
            (mask.top < extent.top + slack_rows and extent.top > -0.5)
            or (mask.left < extent.left + slack_columns and extent.left > -0.5)
            or (mask.bottom > extent.bottom - slack_rows and extent.bottom < rows - 0.5)
            or (mask.right > extent.right - slack_columns and extent.right < columns - 0.5)
        )

    def _square(self, box: Extent, side: float) -> Region:
        region = Region.crop(box.centre, max(side, self._smallest()), self.spacing, self.size)
        return replace(region, size=self._pixels(region)) if self.smaller else region

    def _pixels(self, region: Region) -> int:
        """Side of the network's input for a crop."""
        shorter = min(count * step for count, step in zip(self.slice_shape, self.spacing, strict=True))
        wanted = self.size * region.side(self.spacing) / shorter
        return next((side for side in self.smaller if side >= wanted), self.size)

    def longer_side(self, box: Extent) -> float:
        """Of a rectangle of slice pixels, in mm."""
        return max(box.height * self.spacing[0], box.width * self.spacing[1])

    def _smallest(self) -> float:
        return SMALLEST_CROP * min(self.spacing)

"""Slices of a case in Jupyter: a slider where ipywidgets is installed, else the picture."""

from __future__ import annotations

import io
from typing import Any, Protocol

from memseg3d.cases.errors import CaseError

SIDE = 420


class Sliced(Protocol):
    """What can be looked at slice by slice: a case."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(k, j, i) voxels."""
        ...

    @property
    def look_next(self) -> dict[str, tuple[int, int]]:
        """(axis, index) by segment."""
        ...

    def slice_picture(self, axis: int, index: int, side: int) -> Any:
        """A Pillow image of one slice."""
        ...


def viewer(case: Sliced, axis: int = 0) -> Any:
    """A widget with one slice across `axis` and its contours, and a slider over all slices.

    Without ipywidgets the case itself, which Jupyter shows as its picture. Raises `CaseError` where Pillow is missing.
    """
    if axis not in (0, 1, 2):
        raise CaseError(f"The axis is 0, 1 or 2 (k, j or i), not {axis!r}.")
    try:
        import ipywidgets
    except ImportError:
        return case
    places = case.look_next
    start = next((index for along, index in places.values() if along == axis), case.shape[axis] // 2)
    picture = ipywidgets.Image(value=slice_png(case, axis, start), format="png", width=SIDE)
    slider = ipywidgets.IntSlider(value=start, min=0, max=case.shape[axis] - 1, description="kji"[axis])

    def show(change: Any) -> None:
        picture.value = slice_png(case, axis, int(change["new"]))

    slider.observe(show, "value")
    return ipywidgets.VBox([picture, slider])


def slice_png(case: Sliced, axis: int, index: int) -> bytes:
    """One slice with the contours of all segments, as PNG."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise CaseError("Pictures need Pillow: pip install 'memseg3d[report]'.") from error
    picture = case.slice_picture(axis, index, SIDE)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()

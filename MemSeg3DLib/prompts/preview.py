"""The line that follows the mouse in a slice view: two flat actors, light on dark, so that it shows on any image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import vtk

from MemSeg3DLib.scene.slice_views import Xy

MARK = 4.0
"""Half the width in pixels of the cross that marks a single click."""

BLACK = (0.0, 0.0, 0.0)
WHITE = (1.0, 1.0, 1.0)


class SlicePreview:
    """Lines in a view's pixels. `actors` go into the view's renderer, and out of it again when the drawing ends."""

    def __init__(self) -> None:
        self._lines = vtk.vtkPolyData()
        mapper = vtk.vtkPolyDataMapper2D()
        mapper.SetInputData(self._lines)
        self._halo, self._core = vtk.vtkActor2D(), vtk.vtkActor2D()
        for actor, width in ((self._halo, 4.0), (self._core, 2.0)):
            actor.SetMapper(mapper)
            actor.GetProperty().SetLineWidth(width)
        self.clear()

    @property
    def actors(self) -> tuple[Any, Any]:
        """The two actors, the wider one below."""
        return (self._halo, self._core)

    @property
    def points(self) -> int:
        """How many points are drawn now."""
        return int(self._lines.GetNumberOfPoints())

    def show_line(self, corners: Sequence[Xy], closed: bool) -> None:
        """One line from corner to corner; closed: and back to the first."""
        self._draw([[*corners, corners[0]] if closed and len(corners) > 2 else list(corners)])

    def show_marks(self, places: Sequence[Xy]) -> None:
        """A small cross at each place."""
        strokes = []
        for x, y in places:
            strokes += [[(x - MARK, y), (x + MARK, y)], [(x, y - MARK), (x, y + MARK)]]
        self._draw(strokes)

    def set_colour(self, colour: tuple[float, float, float], positive: bool) -> None:
        """The segment's colour in a black rim; a negative drawing is black in a white rim, for eyes of every kind."""
        self._core.GetProperty().SetColor(*(colour if positive else BLACK))
        self._halo.GetProperty().SetColor(*(BLACK if positive else WHITE))

    def clear(self) -> None:
        """Show nothing."""
        self._draw([])

    def _draw(self, strokes: Sequence[Sequence[Xy]]) -> None:
        points, cells = vtk.vtkPoints(), vtk.vtkCellArray()
        for stroke in strokes:
            cells.InsertNextCell(len(stroke))
            for x, y in stroke:
                cells.InsertCellPoint(points.InsertNextPoint(x, y, 0.0))
        self._lines.SetPoints(points)
        self._lines.SetLines(cells)
        self._lines.Modified()
        for actor in self.actors:
            actor.SetVisibility(bool(strokes))

"""The options that `segment` and `refine` share: prompts, what bounds segments, and how the commands talk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memseg3d.cases.orders import KJI, Order, order_named
from memseg3d.cases.texts import box_form, drafts_of, line_form, point_form

if TYPE_CHECKING:
    from memseg3d.cases.drafts import Draft, SegmentNames
    from memseg3d.cases.local import Image
    from memseg3d.propagation.prompts.prompts import Prompt

LIMITS_FORM, RANGE_FORM = "NAME:first-last", "low,high or NAME:low,high"

Texts = list[str] | None
BoxOption = Annotated[
    Texts, typer.Option(help=f"{box_form()}: a box on one slice, or in space. Voxels from 0, inclusive.")
]
PointOption = Annotated[Texts, typer.Option(help=f"{point_form()}: a point inside (+) or outside (-).")]
ScribbleOption = Annotated[
    Texts, typer.Option(help=f"{line_form()}: a stroke over the segment (+) or over something else (-).")
]
LassoOption = Annotated[
    Texts, typer.Option(help=f"{line_form()}: a closed line round the segment (+) or round none of it (-).")
]
ExtremeOption = Annotated[
    Texts, typer.Option(help="NAME:k,j,i;k,j,i;...: four points on its edge on one slice, and up to two at its ends.")
]
PromptsOption = Annotated[
    Texts, typer.Option(help="FILE or NAME=FILE: prompts of a JSON file, or Slicer's markups (.mrk.json).")
]
MaskOption = Annotated[
    Texts, typer.Option(help="FILE or NAME=FILE: a label file on the volume's grid; its painted slices are prompts.")
]
WidthOption = Annotated[float | None, typer.Option(min=0, help="Of scribbles in mm; two voxels otherwise.")]
CoordinatesOption = Annotated[
    str, typer.Option(help="Order of all numbers: kji (arrays), ijk (Slicer), itksnap (from 1), lps or ras (mm).")
]
AxisOption = Annotated[
    int | None, typer.Option(min=0, max=2, help="Slices of points: 0 (k), 1 (j), 2 (i); else the box's, or 0.")
]
LimitsOption = Annotated[Texts, typer.Option(help=f"{LIMITS_FORM}: slices on which the segment may change, inclusive.")]
RangeOption = Annotated[
    Texts, typer.Option("--range", help=f"{RANGE_FORM}: grey values that a segment's voxels have at most (HU in CT).")
]
NotOption = Annotated[
    list[Path] | None,
    typer.Option("--not", metavar="LABELS", help="Label file on the volume's grid: no segment has a voxel of it."),
]
BetweenOption = Annotated[
    Texts,
    typer.Option(metavar="NAME", help="Fill the segment between its outermost prompted slices, and not beyond."),
]
ApartOption = Annotated[
    bool, typer.Option("--apart", help="Segments one after the other, each outside of those that came before it.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Go on where something looks like a mistake.")]
ReportOption = Annotated[bool, typer.Option("--report", help="Also report.html: one page with every slice.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of words.")]
KeySlicesOption = Annotated[
    bool,
    typer.Option("--key-slices", help="Compute every other slice; one between two that agree is interpolated."),
]
RegionOption = Annotated[
    Literal["auto", "crop", "whole"],
    typer.Option(
        help="What the model sees of a slice: all of it, or a crop that follows the segment (SAM 2: as sharp by fewer "
        "pixels, several times as fast for small segments); auto: as it was trained."
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


@dataclass(frozen=True)
class PromptTexts:
    """What the command line says of prompts; None: nothing."""

    boxes: Texts = None
    points: Texts = None
    scribbles: Texts = None
    lassos: Texts = None
    extremes: Texts = None
    files: Texts = None
    masks: Texts = None
    axis: int | None = None
    width: float | None = None
    coordinates: str = KJI.name

    @property
    def order(self) -> Order:
        """Of its numbers. Raises `CaseError`."""
        return order_named(self.coordinates)

    @property
    def is_empty(self) -> bool:
        """True where it names no prompt."""
        return not any((self.boxes, self.points, self.scribbles, self.lassos, self.extremes, self.files, self.masks))

    @property
    def label_files(self) -> list[Path]:
        """The label files of --mask. Raises `CaseError`."""
        from memseg3d.cases.prompt_files import name_and_file

        return [name_and_file(text)[2] for text in self.masks or []]

    @property
    def all_files(self) -> list[Path]:
        """Every file that holds prompts. Raises `CaseError`."""
        from memseg3d.cases.prompt_files import name_and_file

        return [*self.label_files, *(name_and_file(text)[2] for text in self.files or [])]

    def drafts(self) -> list[Draft]:
        """The prompts as far as they can be read without the volume. Raises `CaseError`."""
        from memseg3d.cases.prompt_files import read_prompt_file

        boxes, points, scribbles = self.boxes or [], self.points or [], self.scribbles or []
        texts = drafts_of(boxes, points, scribbles, self.lassos or [], self.extremes or [], self.order, self.width)
        return texts + [draft for each in self.files or [] for draft in read_prompt_file(each, self.order)]

    def prompts(
        self, drafts: list[Draft], names: SegmentNames, image: Image, axes: dict[int, int] | None = None
    ) -> list[Prompt]:
        """All prompts on the volume. Raises `CaseError`."""
        from memseg3d.cases.drafts import prompts_of
        from memseg3d.cases.prompt_files import read_mask

        masks = [each for text in self.masks or [] for each in read_mask(text, names, image.geometry, self.axis)]
        return prompts_of(drafts, names, image.geometry, self.axis, axes) + masks

"""The Python API's case: prompts in, masks out, round after round, here or on a worker elsewhere."""

from __future__ import annotations

import operator
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np

from memseg3d.cases.drafts import Draft, SegmentNames, prompts_of
from memseg3d.cases.errors import CaseError
from memseg3d.cases.gallery import make_pictures
from memseg3d.cases.orders import Order, order_named
from memseg3d.cases.prompt_files import checked_draft, read_mask, read_prompt_file
from memseg3d.cases.results import OVERVIEW, Outcome, ResultFolder, Written

if TYPE_CHECKING:
    from memseg3d.cases.documents import SessionDocument
    from memseg3d.cases.local import Image
    from memseg3d.propagation.prompts.events import Event
    from memseg3d.propagation.prompts.prompts import Prompt

Place = Sequence[float]


class Work(Protocol):
    """What computes the rounds of a case: a session of this process, or of a worker."""

    image: Image
    names: SegmentNames
    seconds: dict[str, float | None]

    def settle(self) -> None:
        """Look up what became of a round whose connection broke. Raises `CaseError`."""

    def run(self, prompts: Sequence[Prompt], removed: Sequence[str] = (), *, follow: Callable[[Event], None]) -> object:
        """One round."""

    def undo(self) -> object:
        """Take the last round back."""

    def redo(self) -> object:
        """Bring it again."""

    def mask(self, number: int) -> np.ndarray:
        """Boolean (k, j, i) of one object."""
        ...

    @property
    def axes(self) -> dict[int, int]:
        """Axis of propagation by object."""
        ...

    @property
    def numbers(self) -> dict[str, int]:
        """Segments by name."""
        ...

    def document(self, files: Mapping[str, Any] | None = None) -> SessionDocument:
        """What session.json shall hold."""
        ...

    def outcome(self) -> Outcome:
        """What is to be written."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""


class Case:
    """One volume and its segments. `memseg3d.open` and `Worker.open` make it.

        with memseg3d.open("ct.nii.gz") as case:
            case.box("liver", (60, 40, 30), (60, 110, 120))
            case.click("liver", (71, 70, 64))
            case.click("liver", (58, 20, 30), positive=False)
            case.save("out/case")

    Every prompt is a round: when the call returns the masks are there. Places are (k, j, i) voxels from 0, or in the
    order that was named when the case was opened. Prompts that cannot be used raise `CaseError` and change nothing.
    """

    def __init__(self, work: Work, coordinates: str = "kji", progress: bool | None = None) -> None:
        """progress: a bar while rounds run; None: on a terminal and in a notebook."""
        self._work, self._order, self._progress = work, order_named(coordinates), progress

    @property
    def shape(self) -> tuple[int, int, int]:
        """(k, j, i) voxels of the volume."""
        return self._work.image.volume.shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(k, j, i) mm."""
        return self._work.image.volume.spacing

    @property
    def voxels(self) -> np.ndarray:
        """The volume, (k, j, i); not to be changed."""
        return self._work.image.volume.voxels

    @property
    def names(self) -> list[str]:
        """The segments that there are."""
        return list(self._work.numbers)

    @property
    def order(self) -> Order:
        """The order of its coordinates."""
        return self._order

    def box(self, name: str, lower: Place, upper: Place, axis: int | None = None) -> Self:
        """A box on one slice (its corners agree in one coordinate), or in space; corners are inclusive.

        axis: along which a box in space is propagated: 0 (k), 1 (j) or 2 (i).
        """
        return self._round([self._draft("box", name, (lower, upper), axis=axis)])

    def click(self, name: str, place: Place, positive: bool = True, axis: int | None = None) -> Self:
        """A point that belongs to the segment, or (negative) does not. axis: of the slice that was clicked on."""
        return self._round([self._draft("point", name, (place,), positive, axis=axis)])

    def stroke(self, name: str, places: Sequence[Place], positive: bool = True, width: float | None = None) -> Self:
        """A stroke on one slice. width: in mm, None: two voxels."""
        return self._round([self._draft("scribble", name, places, positive, width)])

    def lasso(self, name: str, places: Sequence[Place], positive: bool = True) -> Self:
        """A closed line on one slice round the segment, or (negative) round what is none of it."""
        return self._round([self._draft("lasso", name, places, positive)])

    def extreme_points(self, name: str, places: Sequence[Place]) -> Self:
        """Four points on the segment's edge on one slice, and up to two where it ends."""
        return self._round([self._draft("extreme_points", name, places)])

    def paint(self, name: str, index: int, mask: np.ndarray, axis: int = 0) -> Self:
        """A mask of one slice: bool (rows, columns) of the whole slice `index` across `axis`."""
        return self._round([], [{"name": name, "axis": axis, "index": index, "mask": mask}])

    def prompts(self, prompts: Sequence[Mapping[str, Any]] | str | Path) -> Self:
        """Several prompts in one round: as the JSON of docs/command-line.md, a file of it, Slicer's markups, or a label
        file whose painted slices are masks. A text may be NAME=FILE. In a list also painted slices, as `paint` takes
        them: {"name": "liver", "type": "mask", "index": 60, "mask": array}.
        """
        if not isinstance(prompts, str | Path | Sequence):
            raise CaseError(f"Prompts are a list, or the path of a file, not {prompts!r}.")
        if not isinstance(prompts, str | Path):
            drafts, painted = [], []
            for place, each in enumerate(prompts, start=1):
                if isinstance(each, Mapping) and each.get("type") == "mask":
                    painted.append(each)
                else:
                    drafts.append(checked_draft(each, self._order, f"Prompt {place}"))
            return self._round(drafts, painted)
        if str(prompts).lower().endswith(".json"):
            return self._round(read_prompt_file(str(prompts), self._order))
        names = self._names()
        return self._run(read_mask(str(prompts), names, self._work.image.geometry), names=names)

    def remove(self, *ids: str) -> Self:
        """Take prompts back by their ids (see `history`)."""
        return self._run([], ids)

    def undo(self) -> Self:
        """Take the last round back."""
        self._told(self._work.undo)
        return self

    def redo(self) -> Self:
        """Bring the round back that was taken back last."""
        self._told(self._work.redo)
        return self

    @property
    def history(self) -> list[dict[str, Any]]:
        """The prompts that stand, with ids and the names of their segments, in (k, j, i)."""
        return [{"name": self._work.names.name(each["object"]), **each} for each in self._work.document().prompts()]

    @property
    def mask(self) -> np.ndarray:
        """Boolean (k, j, i) of the only segment. Raises `CaseError` where there are several, or none."""
        if not self.names:
            raise CaseError("There is no segment yet: draw a box or click first.")
        if len(self.names) != 1:
            raise CaseError(f"There are {len(self.names)} segments ({', '.join(self.names)}): take masks[name].")
        return self.masks[self.names[0]]

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Boolean (k, j, i) of every segment; they may overlap."""
        return {name: self._work.mask(number) for name, number in self._work.numbers.items()}

    @property
    def labels(self) -> np.ndarray:
        """(k, j, i) labelmap, as `save` writes it: where segments overlap the surer one has the voxel."""
        from memseg3d.propagation.masks.merged_labels import MergedLabels

        outcome = self._work.outcome()
        claims = {number: outcome.segmented.claim(number) for number in outcome.numbers.values()}
        return np.concatenate(list(MergedLabels(claims, self.shape).slabs()))

    @property
    def quality(self) -> dict[str, dict[int, float]]:
        """By segment and slice, how good the network thinks its own mask is: a hint, 0 to 1."""
        outcome = self._work.outcome()
        return {name: outcome.segmented.qualities(number)[1] for name, number in outcome.numbers.items()}

    @property
    def look_next(self) -> dict[str, tuple[int, int]]:
        """By segment (axis, index) of the slice to look at next, where there is one."""
        outcome = self._work.outcome()
        found = {name: outcome.segmented.suggested.get(number) for name, number in outcome.numbers.items()}
        return {name: (place.axis, place.index) for name, place in found.items() if place}

    @property
    def seconds(self) -> dict[str, float | None]:
        """Of the last round: until its first mask, and in all."""
        return dict(self._work.seconds)

    def save(
        self,
        folder: str | Path,
        labelmap_format: Literal["nii.gz", "nrrd"] = "nii.gz",
        layers: bool = False,
        report: bool = False,
        overwrite: bool = False,
    ) -> Written:
        """Write labelmap, side-car, session.json and picture, as `memseg3d segment` does; `memseg3d refine` goes on.

        Raises `CaseError`: the folder holds results and overwrite is not wanted, or has no room.
        """
        results = ResultFolder(Path(folder), labelmap_format, layers)
        if results.existing() and not overwrite:
            raise CaseError(f"{folder} holds results of an earlier run; choose another folder, or overwrite=True.")
        document = self._work.document(results.words)
        outcome = self._work.outcome()
        return results.write(outcome, document, make_pictures(self._work.image, None, report, document, outcome))

    def picture(self) -> bytes:
        """overview.png: a row a segment. Raises `CaseError` where Pillow is missing or nothing is segmented."""
        found = make_pictures(self._work.image, None, False, self._work.document(), self._work.outcome())
        if OVERVIEW not in found:
            raise CaseError("There is no picture: prompt a segment first, and install Pillow (memseg3d[report]).")
        return found[OVERVIEW]

    def show(self, axis: int = 0) -> Any:
        """A slice viewer in Jupyter, where ipywidgets is installed; else the picture."""
        from memseg3d.cases.notebook import viewer

        return viewer(self, axis)

    def slice_picture(self, axis: int, index: int, side: int = 420) -> Any:
        """One slice across `axis` with the contours of all segments: a Pillow image of `side` pixels."""
        from memseg3d.cases.pictures import COLOURS, slice_picture
        from memseg3d.cases.views import View, mask_slice
        from memseg3d.propagation.volume.window import Window, automatic_window

        outcome, image = self._work.outcome(), self._work.image
        view = View.of(image.geometry, axis)
        high, wide = (self.shape[each] for each in (view.rows, view.columns))
        edges = self._work.document().options.get("window")
        window = Window(*edges) if edges else automatic_window(image.volume)
        masks = {
            COLOURS[place % len(COLOURS)]: mask_slice(outcome.segmented.claim(number), view, index)
            for place, number in enumerate(outcome.numbers.values())
        }
        return slice_picture(image, view, index, window, (0, 0, high, wide), masks, side, outcome.prompts)

    def _repr_png_(self) -> bytes | None:
        """How Jupyter shows a case."""
        try:
            return self.picture()
        except CaseError:
            return None

    def __repr__(self) -> str:
        k, j, i = self.shape
        return f"<memseg3d case of {k} x {j} x {i} voxels (k, j, i): {', '.join(self.names) or 'no segment yet'}>"

    def close(self) -> None:
        """Let go of the volume; at a worker the session is deleted."""
        self._work.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _draft(
        self,
        kind: Any,
        name: str,
        places: Sequence[Place],
        positive: bool = True,
        width: float | None = None,
        axis: int | None = None,
    ) -> Draft:
        points = []
        for place in places:
            try:
                a, b, c = (float(value) for value in place)
            except (TypeError, ValueError) as error:
                raise CaseError(f"A place is three numbers ({self._order.words}), not {place!r}.") from error
            points.append((a, b, c))
        if positive not in (True, False):
            raise CaseError(f"positive is True or False, not {positive!r}.")
        return Draft(kind, _name(name), tuple(points), positive, self._order, "", None, width, axis)

    def _round(self, drafts: Sequence[Draft], painted: Sequence[Mapping[str, Any]] = ()) -> Self:
        from memseg3d.propagation.prompts.prompts import MaskPrompt

        names = self._names()
        prompts = prompts_of(drafts, names, self._work.image.geometry, None, self._work.axes)
        for each in painted:
            try:
                axis, index = operator.index(each.get("axis", 0)), operator.index(each["index"])
                mask = np.ascontiguousarray(each["mask"], bool)
            except (KeyError, TypeError, ValueError) as error:
                raise CaseError(f"A painted slice is its index and a mask of all of it ({error}).") from error
            prompts.append(MaskPrompt(names.number(_name(each.get("name"))), axis, index, mask))
        return self._run(prompts, names=names)

    def _names(self) -> SegmentNames:
        """The names that stand, to be added to."""
        self._work.settle()
        return SegmentNames(dict(self._work.names.numbers))

    def _run(self, prompts: Sequence[Prompt], removed: Sequence[str] = (), names: SegmentNames | None = None) -> Self:
        from memseg3d.cases.progress import followed

        before = self._work.names
        self._work.names = names or before
        try:
            self._work.seconds = self._told(
                lambda: followed(lambda follow: self._work.run(prompts, removed, follow=follow), self._progress)
            )
        except CaseError:
            # A name whose round failed has no number.
            self._work.names = before
            raise
        return self

    def _told(self, job: Callable[[], Any]) -> Any:
        """Errors of propagation as those of cases."""
        from memseg3d.propagation.volume.errors import PropagationError

        try:
            return job()
        except PropagationError as error:
            raise CaseError(self._work.names.said(error)) from error


def _name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise CaseError(f"A segment is named by a text, not by {name!r}.")
    return name.strip()


def image_of(source: Any, spacing: Sequence[float] | None, series: str | None, scratch: Path | None) -> Image:
    """An image from a path or from an array (k, j, i) with its spacing (k, j, i) in mm. Raises `CaseError`."""
    from memseg3d.cases.local import Image
    from memseg3d.files import Geometry, VolumeFile
    from memseg3d.files.itk import narrowed
    from memseg3d.propagation.volume.volume import Volume, VolumeError

    if isinstance(source, str | Path):
        image = Image.read(Path(source), series, scratch)
        if spacing is not None:
            raise CaseError("The file has its own spacing; give one with an array only.")
        return image
    if hasattr(source, "GetSpacing") or hasattr(source, "get_fdata"):
        raise CaseError(
            "This is another library's image, not an array: give its file, or its voxels as an array (k, j, i) with "
            "their spacing."
        )
    if np.ma.is_masked(source):
        raise CaseError("The array has masked voxels, which no volume has: fill them first, by array.filled(value).")
    try:
        k, j, i = (float(step) for step in (() if spacing is None else spacing))
    except (TypeError, ValueError) as error:
        raise CaseError("An array needs its spacing: spacing=(slices, rows, columns) in mm.") from error
    try:
        voxels, steps = np.asarray(source), (k, j, i)
        if voxels.size:
            # numpy's own whole numbers have 64 bits, which no volume needs.
            voxels = narrowed(voxels)
        volume = Volume(voxels, steps)
        return Image(VolumeFile(voxels, steps, Geometry.regular(voxels.shape, steps)), volume, scratch=scratch)
    except VolumeError as error:
        raise CaseError(str(error)) from error


@contextmanager
def scratch_folder() -> Iterator[tempfile.TemporaryDirectory[str]]:
    """Where large arrays are mapped from while a case is open, which keeps it; gone where none could be opened."""
    folder = tempfile.TemporaryDirectory(prefix="memseg3d-", ignore_cleanup_errors=True)
    try:
        yield folder
    except BaseException:
        folder.cleanup()
        raise

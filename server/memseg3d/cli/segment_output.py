"""What `memseg3d segment` leaves behind: a labelmap of numbers, and a side-car that tells names, volumes, qualities."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

from memseg3d.cli.folders import make_folder

if TYPE_CHECKING:
    import numpy as np

    from memseg3d.files import Geometry
    from memseg3d.network.seam import NetworkInfo
    from memseg3d.propagation.prompts.events import RoundDone, SliceDone, Suggestion

STEM = "segmentation"
SLAB_VOXELS = 1 << 22


class Segmented(Protocol):
    """What has segmented objects: a session, or rounds that were run again."""

    @property
    def suggested(self) -> dict[int, Suggestion]:
        """For every object the slice to look at next, where there is one."""
        ...

    def slab(self, number: int, start: int, stop: int) -> np.ndarray:
        """Boolean (n, j, i) of one object's slices `start` to `stop` (exclusive) across k."""
        ...

    def qualities(self, number: int) -> tuple[int, dict[int, float]]:
        """Axis and predicted quality of the object's slices."""
        ...


class SegmentResults:
    """Collects a round's events and writes `segmentation.nii.gz` (or .nrrd) and `segmentation.json` into a folder."""

    def __init__(self, folder: Path, labelmap_format: str) -> None:
        self.folder = folder
        self.labelmap = folder / f"{STEM}.{labelmap_format}"
        self.side_car = folder / f"{STEM}.json"
        self._prompted: set[tuple[int, int, int]] = set()
        self._first_mask: float | None = None
        self._round: RoundDone | None = None

    def existing(self) -> list[Path]:
        """Results of an earlier run in the folder, whatever their format."""
        return sorted(self.folder.glob(f"{STEM}.*")) if self.folder.is_dir() else []

    def prepare(self) -> None:
        """Make the folder before anything is computed. Raises `typer.BadParameter` where that is not possible."""
        make_folder(self.folder)

    def add(self, event: SliceDone, seconds: float) -> None:
        """A finished slice, `seconds` after the start."""
        if self._first_mask is None:
            self._first_mask = seconds
        if event.prompted:
            self._prompted.add((event.object, event.axis, event.index))

    def close(self, event: RoundDone) -> None:
        """The end of the round."""
        self._round = event

    def write(self, session: Segmented, numbers: dict[str, int], geometry: Geometry, model: NetworkInfo) -> None:
        """Write both files, then print a table. Where segments overlap the later one keeps the voxel."""
        from memseg3d.files import UnwritableLabelmap, write_slabs

        merged = _Merged(session, numbers, geometry.shape)
        try:
            write_slabs(self.labelmap, merged.slabs(), merged.dtype, geometry)
        except UnwritableLabelmap as error:
            raise _failed(error) from error
        segments: list[dict[str, Any]] = []
        for name, number in numbers.items():
            words: dict[str, Any] = {"label": number, "name": name, "voxels": merged.voxels[number]}
            words["mL"] = round(words["voxels"] * geometry.voxel_volume / 1000.0, 3)
            segments.append(words | self._slices(session, number))
        side_car = {
            "labelmap": self.labelmap.name,
            "segments": segments,
            "overlapping_voxels": merged.overlap,
            "model": {"name": model.name, "sha256": model.sha256, "licence": model.licence},
            "seconds": {"first_mask": self._first_mask, "round": self._round.seconds if self._round else None},
        }
        try:
            self.side_car.write_text(json.dumps(side_car, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise _failed(error) from error
        _print_table(segments, merged.overlap)
        typer.echo(f"Wrote {self.labelmap} and {self.side_car}")

    def _slices(self, session: Segmented, number: int) -> dict[str, Any]:
        """Axis, the predicted quality of every slice with a mask, and the slice to look at next."""
        axis, qualities = session.qualities(number)
        place = session.suggested.get(number)
        slices = [
            {"index": index, "quality": round(float(quality), 4), "prompted": (number, axis, index) in self._prompted}
            for index, quality in qualities.items()
        ]
        look_next = {"axis": place.axis, "index": place.index} if place else None
        return {"axis": axis, "slices": slices, "look_next": look_next}


class _Merged:
    """One labelmap of all segments, counted slab by slab. Where they overlap the later one keeps the voxel."""

    def __init__(self, session: Segmented, numbers: dict[str, int], shape: tuple[int, int, int]) -> None:
        import numpy as np

        self.dtype = np.uint8 if max(numbers.values(), default=0) <= 255 else np.uint16
        self.voxels = dict.fromkeys(numbers.values(), 0)
        self.overlap = 0
        self._session = session
        self._shape = shape

    def slabs(self) -> Iterator[np.ndarray]:
        """Runs of slices (n, j, i), one after the other; `voxels` and `overlap` are right after the last."""
        import numpy as np

        thickness = max(1, SLAB_VOXELS // (self._shape[1] * self._shape[2]))
        for start in range(0, self._shape[0], thickness):
            stop = min(start + thickness, self._shape[0])
            labels = np.zeros((stop - start, *self._shape[1:]), self.dtype)
            for number in self.voxels:
                mask = self._session.slab(number, start, stop)
                self.overlap += int(np.count_nonzero(labels[mask]))
                self.voxels[number] += int(np.count_nonzero(mask))
                labels[mask] = number
            yield labels


def _failed(error: Exception) -> typer.Exit:
    typer.echo(f"memseg3d segment: {error}", err=True)
    return typer.Exit(1)


def _print_table(segments: list[dict[str, Any]], overlap: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("segment", "label", "mL", "slices", "mean quality", "look next at")
    for segment in segments:
        qualities = [words["quality"] for words in segment["slices"]]
        place = segment["look_next"]
        table.add_row(
            segment["name"],
            str(segment["label"]),
            f"{segment['mL']:.1f}",
            str(len(qualities)),
            f"{sum(qualities) / len(qualities):.2f}" if qualities else "-",
            f"slice {place['index']} ({'kji'[place['axis']]})" if place else "-",
        )
    Console().print(table)
    empty = [segment["name"] for segment in segments if not segment["voxels"]]
    if empty:
        typer.echo(f"Nothing was found for {', '.join(empty)}: add a point inside, or another --window.", err=True)
    if overlap:
        typer.echo(f"{overlap} voxels belong to two segments; the later one has them in the labelmap.")

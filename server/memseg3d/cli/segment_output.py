"""What `memseg3d segment` leaves behind: a labelmap of numbers, and a side-car that tells names, volumes, qualities."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

from memseg3d.cli.folders import make_folder

if TYPE_CHECKING:
    from memseg3d.files import Geometry
    from memseg3d.network.seam import NetworkInfo
    from memseg3d.propagation.masks.merged_labels import Claim, Contest
    from memseg3d.propagation.prompts.events import RoundDone, SliceDone, Suggestion

STEM = "segmentation"


class Segmented(Protocol):
    """What has segmented objects: a session, or rounds that were run again."""

    @property
    def suggested(self) -> dict[int, Suggestion]:
        """For every object the slice to look at next, where there is one."""
        ...

    def claim(self, number: int) -> Claim:
        """What one object asks of the labelmap."""
        ...

    def qualities(self, number: int) -> tuple[int, dict[int, float]]:
        """Axis and predicted quality of the object's slices."""
        ...


class SegmentResults:
    """Collects a round's events and writes `segmentation.nii.gz` (or .nrrd) and `segmentation.json` into a folder."""

    def __init__(self, folder: Path, labelmap_format: str, layers: bool = False) -> None:
        """layers: one file a segment, so that overlaps stay."""
        self.folder = folder
        self._format, self._layers = labelmap_format, layers
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
        """Write both files, then print a table. Where segments overlap the surer one keeps the voxel."""
        from memseg3d.files import UnwritableLabelmap, write_slabs
        from memseg3d.propagation.masks.merged_labels import MergedLabels

        claims = {number: session.claim(number) for number in numbers.values()}
        merged = MergedLabels(claims, geometry.shape)
        files = self._files(numbers)
        try:
            if self._layers:
                for number, claim in claims.items():
                    layer = MergedLabels({number: claim}, geometry.shape)
                    write_slabs(files[number], layer.slabs(), layer.dtype, geometry)
                    merged.contest.found |= layer.contest.found
            else:
                write_slabs(self.labelmap, merged.slabs(), merged.dtype, geometry)
        except UnwritableLabelmap as error:
            raise _failed(error) from error
        names = {number: name for name, number in numbers.items()}
        segments: list[dict[str, Any]] = []
        for name, number in numbers.items():
            words: dict[str, Any] = {
                "label": number,
                "name": name,
                "file": files[number].name,
                "voxels": merged.contest.found[number],
            }
            words["mL"] = round(words["voxels"] * geometry.voxel_volume / 1000.0, 3)
            given = _given_away(number, names, merged.contest)
            segments.append(words | self._slices(session, number) | ({"given_to": given} if given else {}))
        side_car = {
            "labelmap": None if self._layers else self.labelmap.name,
            "segments": segments,
            "contested_voxels": merged.contest.contested,
            "model": {"name": model.name, "sha256": model.sha256, "licence": model.licence},
            "seconds": {"first_mask": self._first_mask, "round": self._round.seconds if self._round else None},
        }
        try:
            self.side_car.write_text(json.dumps(side_car, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise _failed(error) from error
        _print_table(segments)
        self._remove_others({self.side_car, *files.values()})
        written = ", ".join(str(path) for path in sorted(set(files.values())))
        typer.echo(f"Wrote {written} and {self.side_car}")

    def _files(self, numbers: dict[str, int]) -> dict[int, Path]:
        """The file of each segment, by its number; names are kept as far as every system takes them."""
        if not self._layers:
            return dict.fromkeys(numbers.values(), self.labelmap)
        plain = {number: re.sub(r"[^\w-]+", "_", name).strip("_") for name, number in numbers.items()}
        return {number: self.folder / f"{STEM}.{number}-{name}.{self._format}" for number, name in plain.items()}

    def _remove_others(self, written: set[Path]) -> None:
        """Results of an earlier run that this one has replaced by files of other names."""
        for path in self.existing():
            if path not in written:
                path.unlink(missing_ok=True)

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


def _failed(error: Exception) -> typer.Exit:
    typer.echo(f"memseg3d segment: {error}", err=True)
    return typer.Exit(1)


def _given_away(number: int, names: dict[int, str], contest: Contest) -> dict[str, int]:
    """By segment name, how many voxels of object `number` went to it."""
    return {names[winner]: count for (loser, winner), count in sorted(contest.lost.items()) if loser == number}


def _print_table(segments: list[dict[str, Any]]) -> None:
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
    for segment in segments:
        lost = segment.get("given_to", {})
        share = sum(lost.values()) / max(1, segment["voxels"] + sum(lost.values()))
        for other, count in lost.items():
            typer.echo(
                f"{segment['name']} overlaps {other}: {count} voxels went to {other}, which is surer of them "
                f"({segment['name']} keeps {100 * (1 - share):.0f} %). Write overlaps with --layers.",
                err=True,
            )

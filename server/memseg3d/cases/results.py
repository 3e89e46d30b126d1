"""What a segmentation leaves in a folder: labelmap, side-car, session, picture; all of it, or nothing is changed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from memseg3d.cases.documents import NAME as SESSION
from memseg3d.cases.documents import SessionDocument
from memseg3d.cases.errors import CaseError

if TYPE_CHECKING:
    from memseg3d.files import Geometry
    from memseg3d.propagation.masks.merged_labels import Claim, Contest
    from memseg3d.propagation.prompts.events import Suggestion, WeakPrompt
    from memseg3d.propagation.prompts.prompts import Prompt

STEM = "segmentation"
OVERVIEW = "overview.png"
REPORT = "report.html"
LONGEST_NAME = 50
"""Letters of a segment's name in a file's: systems take 255 bytes, and a letter may have four."""


class NoRoom(CaseError):
    """The files cannot be written here: a full disk, a folder that may not be changed. Nothing there has changed."""


class Segmented(Protocol):
    """What has segmented objects: a session, rounds that were run again, a session of another computer."""

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


@dataclass
class Outcome:
    """What is written. numbers: of the segments by name; prompts: the standing ones; seconds: what took how long."""

    segmented: Segmented
    numbers: Mapping[str, int]
    geometry: Geometry
    model: Mapping[str, Any]
    prompts: Sequence[Prompt] = ()
    seconds: Mapping[str, float | None] = field(default_factory=dict)
    places: Callable[[int, int], set[int]] | None = None
    """Where the prompts lie in the file, by object and axis, if not where they say."""
    weak: Mapping[int, WeakPrompt] = field(default_factory=dict)
    """By object, where its prompts were too weak."""

    def prompted(self, number: int, axis: int) -> set[int]:
        """Slices across `axis` on which the object has prompts."""
        from memseg3d.propagation.prompts.prompts import slices_of

        if self.places is not None:
            return self.places(number, axis)
        return {index for each in self.prompts if each.object == number for index in slices_of(each, axis)}


@dataclass(frozen=True)
class Written:
    """paths: what lies in the folder now. segments: of the side-car."""

    folder: Path
    paths: list[Path]
    segments: list[dict[str, Any]]
    layers: bool


class ResultFolder:
    """Where results go. layers: one file a segment, so that overlaps stay."""

    def __init__(
        self, folder: Path, labelmap_format: str = "nii.gz", layers: bool = False, tried: frozenset[Path] = frozenset()
    ) -> None:
        """tried: folders above this one that could not take the results."""
        self.folder, self.tried = folder, tried
        self._format, self._layers = labelmap_format, layers
        self.labelmap = f"{STEM}.{labelmap_format}"
        self.side_car = f"{STEM}.json"

    def moved(self, folder: Path, tried: frozenset[Path] = frozenset()) -> ResultFolder:
        """The same kind of results in another folder."""
        return ResultFolder(folder, self._format, self._layers, tried)

    @property
    def words(self) -> dict[str, Any]:
        """How results are written, as session.json tells it."""
        return {"format": self._format, "layers": self._layers}

    def existing(self) -> list[Path]:
        """Results of an earlier run in the folder, whatever their format."""
        if not self.folder.is_dir():
            return []
        others = (self.folder / name for name in (SESSION, OVERVIEW, REPORT))
        return sorted([*self.folder.glob(f"{STEM}.*"), *(path for path in others if path.is_file())])

    def check_kept(self, inputs: Iterable[Path]) -> None:
        """Raise `CaseError` where writing would replace or delete one of the files that are read."""
        present = {path.resolve() for path in self.existing()}
        for path in inputs:
            if path.resolve() in present:
                raise CaseError(f"{path} would be replaced by the results: choose another folder.", "--out")

    def write(
        self, outcome: Outcome, document: SessionDocument | None = None, pictures: Mapping[str, bytes] | None = None
    ) -> Written:
        """Write all files beside the present ones, then put them in their place. Raises `NoRoom`.

        pictures: further files by name. Results of an earlier run that go by other names are removed.
        """
        from memseg3d.files import UnwritableLabelmap

        unfinished = self.folder / f".unfinished-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            segments = self._write_labelmaps(unfinished, outcome)
            if document is not None:
                (unfinished / SESSION).write_text(document.to_text(), encoding="utf-8")
            for name, content in (pictures or {}).items():
                (unfinished / name).write_bytes(content)
            written = sorted(self.folder / path.name for path in unfinished.iterdir())
            stale = [path for path in self.existing() if path not in written]
            for path in written:
                (unfinished / path.name).replace(path)
            for path in stale:
                path.unlink(missing_ok=True)
        except (OSError, UnwritableLabelmap) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise NoRoom(f"{self.folder} cannot take the results ({reason})", "--out") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return Written(self.folder, written, segments, self._layers)

    def _write_labelmaps(self, folder: Path, outcome: Outcome) -> list[dict[str, Any]]:
        """The labelmap, where segments overlap the surer one keeps the voxel; and the side-car."""
        from memseg3d.files import write_slabs
        from memseg3d.propagation.masks.merged_labels import MergedLabels

        geometry, numbers = outcome.geometry, outcome.numbers
        claims = {number: outcome.segmented.claim(number) for number in numbers.values()}
        merged = MergedLabels(claims, geometry.shape)
        files = self._files(numbers)
        if self._layers:
            for number, claim in claims.items():
                layer = MergedLabels({number: claim}, geometry.shape)
                write_slabs(folder / files[number], layer.slabs(), layer.dtype, geometry)
                merged.contest.found |= layer.contest.found
        else:
            write_slabs(folder / self.labelmap, merged.slabs(), merged.dtype, geometry)
        names = {number: name for name, number in numbers.items()}
        segments: list[dict[str, Any]] = []
        for name, number in numbers.items():
            words: dict[str, Any] = {
                "label": number,
                "name": name,
                "file": files[number],
                "voxels": merged.contest.found[number],
            }
            words["mL"] = round(words["voxels"] * geometry.voxel_volume / 1000.0, 3)
            given = _given_away(number, names, merged.contest)
            weak = outcome.weak.get(number)
            told = {} if weak is None else {"weak_prompt": weak_words(weak)}
            segments.append(words | _slices(outcome, number) | ({"given_to": given} if given else {}) | told)
        side_car = {
            "labelmap": None if self._layers else self.labelmap,
            "segments": segments,
            "contested_voxels": merged.contest.contested,
            "model": {name: outcome.model.get(name) for name in ("name", "sha256", "licence")},
            "seconds": dict(outcome.seconds),
        }
        text = json.dumps(side_car, indent=2, ensure_ascii=False) + "\n"
        (folder / self.side_car).write_text(text, encoding="utf-8")
        return segments

    def _files(self, numbers: Mapping[str, int]) -> dict[int, str]:
        """The file of each segment, by its number; names are kept as far as every system takes them."""
        if not self._layers:
            return dict.fromkeys(numbers.values(), self.labelmap)
        plain = {number: re.sub(r"[^\w-]+", "_", name).strip("_")[:LONGEST_NAME] for name, number in numbers.items()}
        return {number: f"{STEM}.{number}-{name}.{self._format}" for number, name in plain.items()}


def _slices(outcome: Outcome, number: int) -> dict[str, Any]:
    """Axis, the predicted quality of every slice with a mask, and the slice to look at next."""
    axis, qualities = outcome.segmented.qualities(number)
    place = outcome.segmented.suggested.get(number)
    prompted = outcome.prompted(number, axis)
    slices = [
        {"index": index, "quality": round(float(quality), 4), "prompted": index in prompted}
        for index, quality in qualities.items()
    ]
    return {"axis": axis, "slices": slices, "look_next": {"axis": place.axis, "index": place.index} if place else None}


def weak_words(weak: WeakPrompt) -> dict[str, Any]:
    """As the wire protocol writes it."""
    return {"axis": weak.axis, "index": weak.index, "prompt": weak.kind, "message": weak.words}


def _given_away(number: int, names: Mapping[int, str], contest: Contest) -> dict[str, int]:
    """By segment name, how many voxels of object `number` went to it."""
    return {names[winner]: count for (loser, winner), count in sorted(contest.lost.items()) if loser == number}

"""Reads a document of rounds, session.json or an older one of a scene, and runs them again in their order."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from memseg3d.cases.json_files import read_json

if TYPE_CHECKING:
    import numpy as np

    from memseg3d.cases.documents import SessionDocument
    from memseg3d.cases.local import Image
    from memseg3d.files import VolumeFile
    from memseg3d.network.seam import Network
    from memseg3d.propagation.masks.labelmaps import LabelVolume
    from memseg3d.propagation.masks.merged_labels import Claim
    from memseg3d.propagation.prompts.events import Event, SliceDone, Suggestion
    from memseg3d.propagation.prompts.object_limits import ObjectLimits
    from memseg3d.propagation.prompts.options import Options
    from memseg3d.propagation.prompts.prompts import Prompt
    from memseg3d.propagation.rounds.session import Session
    from memseg3d.propagation.volume.volume import Volume

HINT = "--rounds"
FORMAT = "memseg3d-rounds"
VERSION = 1
SESSION_FORMAT = "memseg3d-session"


@dataclass(frozen=True)
class StoredRound:
    """One round of the document. session: rounds of one number build on each other.

    full: objects that are computed anew. afresh: objects that another session had before, and that this one replaces.
    """

    id: str
    session: int
    options: Options
    prompts: list[Prompt]
    removed: list[str]
    limits: dict[int, ObjectLimits]
    full: list[int]
    afresh: list[int]


@dataclass(frozen=True)
class StoredRounds:
    """The document. mirrored: its prompts count the slices (k) from the other end than the file does.

    names: by object number, as the document has them, else the number.
    """

    rounds: list[StoredRound]
    names: dict[int, str]
    volume: Volume
    mirrored: bool
    words: list[dict[str, Any]] = field(default_factory=list)
    """The rounds as the document has them."""


def read_rounds(path: Path, file: VolumeFile, any_volume: bool) -> StoredRounds:
    """The rounds of a document, checked against the volume that they are to be run on.

    Raises `typer.BadParameter`: no such document, another volume (unless any_volume), prompts that cannot be used.
    """
    from memseg3d.propagation.volume.errors import PropagationError
    from memseg3d.service.errors import ServiceError

    document = _document(path)
    volume, mirrored = _volume(document, file, any_volume)
    try:
        rounds = [_round(words, volume) for words in document["rounds"]]
        names = {int(number): str(name) for number, name in document.get("names", {}).items()}
    except (PropagationError, ServiceError) as error:
        raise typer.BadParameter(f"{path}: {error.message}", param_hint=HINT) from error
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{path} is damaged; export it again.", param_hint=HINT) from error
    numbers = sorted({prompt.object for one in rounds for prompt in one.prompts})
    if not numbers:
        raise typer.BadParameter(f"{path} holds no prompt; export it again.", param_hint=HINT)
    known = {number: names.get(number, str(number)) for number in numbers}
    return StoredRounds(rounds, known, volume, mirrored, document["rounds"])


@dataclass
class Replay:
    """Runs stored rounds: what each round finds on a slice replaces what the object had there, as a client does it."""

    stored: StoredRounds
    network: Network
    folder: Path | None = None
    """Where large labelmaps are mapped from; None: in the memory."""
    _labels: dict[int, LabelVolume] = field(default_factory=dict)
    _latest: dict[int, Session] = field(default_factory=dict)
    _sessions: dict[int, Session] = field(default_factory=dict)

    def run(self, follow: Callable[[Event], None]) -> None:
        """Run all rounds; `follow` is told every event. Raises `typer.BadParameter` where a round cannot be run."""
        import numpy as np

        from memseg3d.propagation.masks.labelmaps import LabelVolume
        from memseg3d.propagation.prompts.events import SliceDone
        from memseg3d.propagation.rounds.session import Session
        from memseg3d.propagation.sight.feature_store import FeatureStore
        from memseg3d.propagation.volume.errors import PropagationError

        store, sessions = FeatureStore(self.network), self._sessions
        volume = self.stored.volume
        for place, one in enumerate(self.stored.rounds, start=1):
            if one.session not in sessions:
                sessions[one.session] = Session(volume, self.network, one.options, store, self.folder)
            changed: dict[tuple[int, int], dict[int, np.ndarray]] = {}
            try:
                for event in sessions[one.session].begin(one.id, one.prompts, one.removed, one.limits, one.full):
                    if isinstance(event, SliceDone):
                        masks = changed.setdefault((event.object, event.axis), {})
                        masks[event.index] = np.packbits(event.mask, axis=1)
                        event = self._in_file(event)
                    follow(event)
            except PropagationError as error:
                raise typer.BadParameter(f"Round {place} cannot be run: {error}", param_hint=HINT) from error
            for (number, axis), masks in changed.items():
                if number in one.afresh:
                    masks = {**self._emptied(one, number, axis), **masks}
                labels = self._labels.setdefault(number, LabelVolume(volume.shape, self.folder))
                labels.apply(labels.delta_to(axis, masks))
                self._latest[number] = sessions[one.session]

    def _emptied(self, one: StoredRound, number: int, axis: int) -> dict[int, np.ndarray]:
        """Packed empty masks of the slices that another session has left and that the round may replace."""
        import numpy as np

        if number not in self._labels:
            return {}
        labels = self._labels[number]
        limits = one.limits[number].slices if number in one.limits else None
        first, last = one.options.limits(labels.shape[axis])
        if limits is not None:
            if limits.axis != axis:
                return {}
            first, last = max(first, limits.first), min(last, limits.last)
        places = [int(index) for index in labels.slices_with_content(axis) if first <= index <= last]
        return {index: np.packbits(np.zeros_like(labels.slice(axis, index)), axis=1) for index in places}

    def claim(self, number: int) -> Claim:
        """What one object asks of the labelmap, on the grid of the file."""
        from memseg3d.propagation.masks.labelmaps import LabelVolume
        from memseg3d.propagation.masks.merged_labels import Mirrored, ObjectClaim

        shape = self.stored.volume.shape
        if number not in self._labels:
            return ObjectClaim(LabelVolume(shape))
        latest = self._latest[number].claim(number)
        own = ObjectClaim(self._labels[number], latest.axis, latest.soft)
        return Mirrored(own, shape[0]) if self.stored.mirrored else own

    def qualities(self, number: int) -> tuple[int, dict[int, float]]:
        """Axis and predicted quality of the object's slices, as the last session that computed it knows them."""
        if number not in self._latest:
            return 0, {}
        axis, qualities = self._latest[number].qualities(number)
        return axis, dict(sorted((self.place(axis, index), value) for index, value in qualities.items()))

    @property
    def suggested(self) -> dict[int, Suggestion]:
        """For every object the slice to look at next, where there is one."""
        found = {number: session.suggested.get(number) for number, session in self._latest.items()}
        return {
            number: replace(item, index=self.place(item.axis, item.index)) for number, item in found.items() if item
        }

    def prompts(self) -> list[Prompt]:
        """The prompts that stand, as they lie in the file as far as slices go."""
        standing: dict[str, Prompt] = {}
        for one in self.stored.rounds:
            for gone in one.removed:
                standing.pop(gone, None)
            standing |= {str(prompt.id or f"{one.id}/{place}"): prompt for place, prompt in enumerate(one.prompts)}
        return list(standing.values())

    def prompted(self, number: int, axis: int) -> set[int]:
        """Slices of the file across `axis` on which the object has prompts."""
        from memseg3d.propagation.prompts.prompts import slices_of

        return {
            self.place(axis, index)
            for prompt in self.prompts()
            if prompt.object == number
            for index in slices_of(prompt, axis)
        }

    def document(
        self, image: Image, numbers: Mapping[str, int], device: str, files: Mapping[str, Any]
    ) -> SessionDocument:
        """session.json of what was run: with what each round changed where all are of one session."""
        from memseg3d.cases.documents import SessionDocument, image_words, model_words, software_words

        rounds = [dict(one) for one in self.stored.words]
        if len(self._sessions) == 1 and not self.stored.mirrored:
            (session,) = self._sessions.values()
            rounds = session.records()
        return SessionDocument(
            image=image_words(image.source, image.series, image.file, self.stored.volume),
            model=model_words(self.network, device),
            options=self.stored.rounds[-1].options.to_json(),
            names={number: name for name, number in numbers.items()},
            rounds=rounds,
            applied=len(rounds),
            files=dict(files),
            software=software_words(None),
            mirrored=self.stored.mirrored,
        )

    def _in_file(self, event: SliceDone) -> SliceDone:
        """A finished slice as it lies in the file."""
        if not self.stored.mirrored:
            return event
        if event.axis == 0:
            return replace(event, index=self.place(0, event.index))
        return replace(event, mask=event.mask[::-1])

    def place(self, axis: int, index: int) -> int:
        """The index that a slice across `axis` has in the file."""
        return self.stored.volume.shape[0] - 1 - index if self.stored.mirrored and axis == 0 else index


def _document(path: Path) -> dict[str, Any]:
    document = read_json(path, "document of rounds", HINT)
    if isinstance(document, dict) and document.get("format") == SESSION_FORMAT:
        return _rounds_of(document, path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise typer.BadParameter(
            f"{path} is no document of rounds; export one from the panel's rounds.", param_hint=HINT
        )
    if document.get("version") != VERSION:
        raise typer.BadParameter(
            f"{path} is of version {document.get('version')}, this command reads {VERSION}; update memseg3d.",
            param_hint=HINT,
        )
    return document


def _rounds_of(document: dict[str, Any], path: Path) -> dict[str, Any]:
    """The rounds of a session.json that stand, as the older form has them."""
    from memseg3d.cases.documents import SessionDocument

    read = SessionDocument.from_json(document, path)
    rounds = [{"session": 1, "options": read.options, **one} for one in read.rounds[: read.applied]]
    return {
        "format": FORMAT,
        "version": VERSION,
        "volume": read.image.get("sha256"),
        "spacing": read.image.get("spacing"),
        "rounds": [{key: value for key, value in one.items() if key != "objects"} for one in rounds],
        "names": read.names,
    }


def _volume(document: dict[str, Any], file: VolumeFile, any_volume: bool) -> tuple[Volume, bool]:
    """The volume to run on, and whether its slices are in the other order than the file's.

    Slicer keeps volumes right-handed and turns the slices of other files round; its spacing may differ in the last
    digits.
    """
    import numpy as np

    from memseg3d.propagation.volume.volume import Volume, volume_id

    for spacing in _spacings(document, file):
        for voxels, mirrored in ((file.voxels, False), (file.voxels[::-1], True)):
            if volume_id(voxels, spacing) == document.get("volume"):
                return Volume(np.ascontiguousarray(voxels), spacing), mirrored
    if not any_volume:
        raise typer.BadParameter(
            "The rounds were made on another volume (voxels, type or spacing differ); give that one, or --any-volume.",
            param_hint=HINT,
        )
    return Volume(file.voxels, file.spacing), False


def _spacings(document: dict[str, Any], file: VolumeFile) -> list[tuple[float, float, float]]:
    """The file's spacing, and the document's where it is the same to a ten-thousandth."""
    stated = document.get("spacing")
    if not isinstance(stated, list) or len(stated) != 3 or not all(isinstance(step, int | float) for step in stated):
        return [file.spacing]
    close = all(abs(one - two) <= 1e-4 * two for one, two in zip(stated, file.spacing, strict=True))
    k, j, i = (float(step) for step in stated)
    return [file.spacing, (k, j, i)] if close else [file.spacing]


def _round(words: dict[str, Any], volume: Volume) -> StoredRound:
    from memseg3d.propagation.prompts.object_limits import limits_from_json
    from memseg3d.propagation.prompts.options import Options

    return StoredRound(
        id=str(words["id"]),
        session=int(words["session"]),
        options=Options.from_json(words["options"]),
        prompts=_prompts(words["prompts"], volume),
        removed=[str(each) for each in words["removed"]],
        limits=limits_from_json(words.get("limits", {})),
        full=[int(number) for number in words.get("full", [])],
        afresh=[int(number) for number in words.get("afresh", [])],
    )


def _prompts(words: list[Any], volume: Volume) -> list[Prompt]:
    """Prompts of a file, checked and bounded as those that come over the wire. Raises ServiceError."""
    from memseg3d.service.limits.bodies import parsed
    from memseg3d.service.limits.drawings import budget, prepared
    from memseg3d.service.protocol import HintRequest
    from memseg3d.service.settings import Limits

    asked = parsed(json.dumps({"prompts": words}).encode(), HintRequest).model_dump(mode="json")["prompts"]
    budget(asked, volume.shape, Limits())
    return prepared(asked, volume.shape)

"""A case computed in this process: the image, its session, the names of its segments, and the document of all that."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memseg3d.cases.documents import SessionDocument, image_words, model_words, software_words
from memseg3d.cases.drafts import SegmentNames
from memseg3d.cases.errors import CaseError
from memseg3d.cases.results import Outcome

if TYPE_CHECKING:
    import numpy as np

    from memseg3d.files import Geometry, VolumeFile
    from memseg3d.network.seam import Network
    from memseg3d.propagation.prompts.events import Event, RoundDone, WeakPrompt
    from memseg3d.propagation.prompts.limits import SliceLimits
    from memseg3d.propagation.prompts.object_limits import ObjectLimits
    from memseg3d.propagation.prompts.options import Options
    from memseg3d.propagation.prompts.prompts import Prompt
    from memseg3d.propagation.rounds.session import Session
    from memseg3d.propagation.volume.volume import Volume


@dataclass
class Image:
    """An image that was read. source, series: where from; scratch: a folder that outlives it, for mapped voxels."""

    file: VolumeFile
    volume: Volume
    source: Path | None = None
    series: str | None = None
    scratch: Path | None = None

    @property
    def geometry(self) -> Geometry:
        """The grid of the file."""
        return self.file.geometry

    @classmethod
    def read(cls, source: Path, series: str | None = None, scratch: Path | None = None, about: str = "INPUT") -> Image:
        """Read a file or DICOM folder. Raises `CaseError` about the option of that name."""
        from memseg3d.files import UnreadableFile, read_volume
        from memseg3d.propagation.volume.volume import Volume, VolumeError

        try:
            file = read_volume(source, series, scratch)
            return cls(file, Volume(file.voxels, file.spacing), source, series, scratch)
        except (UnreadableFile, VolumeError) as error:
            raise CaseError(str(error), about) from error


@dataclass
class LocalCase:
    """Rounds on one image. network, device, precision, threads: what computes, as session.json tells it."""

    image: Image
    session: Session
    model: dict[str, Any]
    names: SegmentNames = field(default_factory=SegmentNames)
    threads: int | None = None
    seconds: dict[str, float | None] = field(default_factory=dict)
    weak: dict[int, WeakPrompt] = field(default_factory=dict)
    """By object, where the prompts of rounds that were run here were too weak."""
    _folder: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def begin(
        cls, image: Image, network: Network, options: Options | None, device: str, threads: int | None = None
    ) -> LocalCase:
        """A case without rounds."""
        from memseg3d.propagation.rounds.session import Session

        session = Session(image.volume, network, options, folder=image.scratch)
        return cls(image, session, model_words(network, device), threads=threads)

    @classmethod
    def restore(
        cls, document: SessionDocument, image: Image, network: Network, device: str, threads: int | None = None
    ) -> LocalCase:
        """The case that a document holds. Nothing is computed where its rounds hold what they changed. Raises
        `CaseError` for another image or model, and for rounds that cannot be gone on from.
        """
        from memseg3d.propagation.prompts.options import Options
        from memseg3d.propagation.volume.errors import PropagationError

        if document.sessions > 1 or document.mirrored:
            raise CaseError(
                "These rounds were exported from a scene, in several sessions or with its slices in the other order: "
                "go on in 3D Slicer, or segment anew."
            )
        check_image(document, image)
        if document.model.get("sha256") != network.info.sha256:
            raise CaseError(
                f"The rounds were made by the model {document.model.get('name')} with the hash "
                f"{str(document.model.get('sha256'))[:12]}…, this one is {network.info.name}, "
                f"{network.info.sha256[:12]}…: give that one.",
                "--model",
            )
        try:
            case = cls.begin(image, network, Options.from_json(document.options), device, threads)
            case.names = SegmentNames({name: number for number, name in document.names.items()})
            if document.is_computed:
                case.session.restore(document.rounds, document.applied)
            else:
                for words in document.rounds[: document.applied]:
                    case._again(words)
        except PropagationError as error:
            if error.code == "bad_record":
                raise CaseError(
                    "What session.json tells of its rounds is damaged: segment again, or take it from a copy."
                ) from error
            raise CaseError(f"The rounds cannot be taken up: {error}") from error
        return case

    def _again(self, words: Mapping[str, Any]) -> None:
        from memseg3d.propagation.prompts.as_json import prompt_from_json
        from memseg3d.propagation.prompts.object_limits import limits_from_json

        prompts = [prompt_from_json(each, self.image.volume.shape) for each in words["prompts"]]
        limits = limits_from_json(words.get("limits", {}))
        for _ in self.session.begin(str(words["id"]), prompts, words["removed"], limits, words.get("full", [])):
            pass

    def settle(self) -> None:
        """Nothing is unsettled here: a round of this process is whole or was never there."""

    def run(
        self,
        prompts: Sequence[Prompt],
        removed: Sequence[str] = (),
        limits: Mapping[int, SliceLimits | ObjectLimits] | None = None,
        follow: Callable[[Event], None] | None = None,
    ) -> RoundDone:
        """One round; `follow` is told every event. Raises `PropagationError`."""
        from memseg3d.propagation.prompts.events import RoundDone
        from memseg3d.propagation.prompts.prompts import with_id

        rounds = self.session.rounds[: self.session.applied]
        free = 1 + max((place for each in rounds for place in _places(each)), default=0)
        named = [prompt if prompt.id else with_id(prompt, f"p{free + place}") for place, prompt in enumerate(prompts)]
        done = None
        for event in self.session.begin(f"round-{self.session.applied + 1}", named, removed, limits):
            if follow is not None:
                follow(event)
            if isinstance(event, RoundDone):
                done = event
        assert done is not None
        self.weak |= done.weak
        return done

    def undo(self) -> None:
        """Take the last round back. Raises `PropagationError`."""
        self.session.undo()

    def redo(self) -> None:
        """Bring the round back that was taken back last. Raises `PropagationError`."""
        self.session.redo()

    def mask(self, number: int) -> np.ndarray:
        """Boolean (k, j, i) of one object, overlaps included."""
        return self.session.labelmap(number)

    def keep(self, folder: tempfile.TemporaryDirectory[str]) -> None:
        """Delete a folder of mapped voxels when the case is closed."""
        self._folder = folder

    def close(self) -> None:
        """Let go of the folder that voxels are mapped from."""
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def axes(self) -> dict[int, int]:
        """The axis of propagation of every object."""
        return {number: self.session.qualities(number)[0] for number in self.session.objects}

    @property
    def numbers(self) -> dict[str, int]:
        """The segments that there are, by name; not those whose rounds were all taken back."""
        return {name: number for name, number in self.names.numbers.items() if number in self.session.objects}

    def document(self, files: Mapping[str, Any] | None = None) -> SessionDocument:
        """What session.json shall hold."""
        image = self.image
        return SessionDocument(
            image=image_words(image.source, image.series, image.file, image.volume),
            model=self.model,
            options=self.session.options.to_json(),
            names={number: name for name, number in self.names.numbers.items()},
            rounds=self.session.records(),
            applied=self.session.applied,
            files=dict(files or {"format": "nii.gz", "layers": False}),
            software=software_words(self.threads),
        )

    def outcome(self) -> Outcome:
        """What is to be written of it as it stands."""
        from memseg3d.propagation.rounds.records.object_states import prompts_after

        standing = prompts_after(self.session.rounds[: self.session.applied])
        prompts = list(standing.values())
        return Outcome(
            self.session, self.numbers, self.image.geometry, self.model, prompts, self.seconds, weak=self.weak
        )


def check_image(document: SessionDocument, image: Image) -> None:
    """Raise `CaseError` where the document's rounds were made on another image."""
    if document.image.get("sha256") != image.volume.id:
        raise CaseError(
            "The rounds were made on another volume (voxels, type or spacing differ); give that one.", "--image"
        )


def _places(record: Any) -> list[int]:
    """The numbers of a round's prompts: p7 has 7."""
    ids = [str(prompt.id) for prompt in record.prompts]
    return [int(each[1:]) for each in ids if each[:1] == "p" and each[1:].isdecimal()]

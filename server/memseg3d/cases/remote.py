"""A case computed by a worker over HTTP: the same rounds on the wire protocol; names stay on this side."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from memseg3d.cases.documents import SessionDocument, image_words
from memseg3d.cases.drafts import SegmentNames
from memseg3d.cases.errors import CaseError
from memseg3d.cases.http import Connection, NoWorker
from memseg3d.cases.results import Outcome

if TYPE_CHECKING:
    from memseg3d.cases.local import Image
    from memseg3d.propagation.prompts.events import Event, Suggestion
    from memseg3d.propagation.prompts.object_limits import ObjectLimits
    from memseg3d.propagation.prompts.prompts import Prompt


@dataclass(frozen=True)
class ArrayClaim:
    """A finished labelmap as what an object asks of one: where objects overlap the worker has decided already."""

    mask: np.ndarray

    def voxels(self) -> int:
        """How many voxels it claims."""
        return int(np.count_nonzero(self.mask))

    def slab(self, start: int, stop: int) -> np.ndarray:
        """Boolean (n, j, i) of the slices `start` to `stop` (exclusive) across k."""
        return np.asarray(self.mask[start:stop])

    def at(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """places: (n, 3) integer (k, j, i). Bool (n,): it claims them; int16 (n,): how surely."""
        return self.mask[places[:, 0], places[:, 1], places[:, 2]], np.full(len(places), 255, np.int16)


def _in_queue(line: Mapping[str, Any]) -> str:
    """What a progress line says of the others; nothing where there are none."""
    queue = line.get("queue")
    if not queue:
        return ""
    about = "" if queue["seconds"] is None else f", about {max(1, round(queue['seconds']))} s"
    return f"{line['phase']}, {queue['ahead']} of {queue['rounds'] - 1} others first{about}"


@dataclass
class RemoteCase:
    """Rounds of one session of a worker. state: of the session, as the worker told it last."""

    image: Image
    connection: Connection
    session: str
    model: dict[str, Any]
    options: dict[str, Any]
    names: SegmentNames = field(default_factory=SegmentNames)
    seconds: dict[str, float | None] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    _rounds: list[dict[str, Any]] = field(default_factory=list)
    _qualities: dict[int, tuple[int, dict[int, float]]] = field(default_factory=dict)
    _labels: np.ndarray | None = None
    _is_closed: bool = False
    _folder: tempfile.TemporaryDirectory[str] | None = None
    _unsure: tuple[dict[str, Any], SegmentNames] | None = None
    """A round of which the worker's last word is missing, and the names with it."""

    @classmethod
    def begin(cls, image: Image, connection: Connection, options: Mapping[str, Any]) -> RemoteCase:
        """A session on the image, which is uploaded where the worker lacks it. Raises `CaseError`."""
        info = connection.info()
        connection.upload(image.volume)
        session = str(uuid.uuid4())
        state = connection.json(
            "POST", "/v1/sessions", {"id": session, "volume": image.volume.id, "options": dict(options)}
        )
        model = {**info["model"], "device": info.get("device", ""), "precision": info["model"].get("precision", "fp32")}
        return cls(image, connection, session, model, dict(options), state=state)

    def run(
        self,
        prompts: Sequence[Prompt],
        removed: Sequence[str] = (),
        limits: Mapping[int, ObjectLimits] | None = None,
        follow: Callable[[Event], None] | None = None,
    ) -> None:
        """One round; `follow` is told every event. Raises `CaseError`."""
        from memseg3d.propagation.prompts.as_json import prompt_to_json
        from memseg3d.propagation.prompts.prompts import with_id

        self.settle()
        free = 1 + sum(len(one["prompts"]) for one in self._rounds)
        named = [prompt if prompt.id else with_id(prompt, f"p{free + place}") for place, prompt in enumerate(prompts)]
        body = {
            "id": str(uuid.uuid4()),
            "prompts": [prompt_to_json(prompt) for prompt in named],
            "removed": list(removed),
            "limits": {str(number): each.to_json() for number, each in (limits or {}).items()},
        }
        self._unsure = body, self.names
        try:
            for line in self.connection.round(self.session, body):
                event = self._take(line)
                if event is not None and follow is not None:
                    follow(event)
        except CaseError:
            with contextlib.suppress(CaseError):
                self.settle()
            if not self._has(body):
                raise
        else:
            self.settle()
            if not self._has(body):
                raise CaseError("The round was ended at the worker before it was done: nothing has changed.")

    def settle(self) -> None:
        """Look up whether the last round was closed. Raises `CaseError` where it runs, or the worker is not there."""
        if self._unsure is None:
            return
        (body, names), applied = self._unsure, self.state["applied"]
        state = self.connection.json("GET", f"/v1/sessions/{self.session}")
        status = next((each["status"] for each in state["rounds"] if each["id"] == body["id"]), "")
        if status == "running":
            raise CaseError("The last round still runs at the worker, where the connection to it broke: wait for it.")
        self._unsure = None
        if status == "closed":
            self._rounds[applied:] = [{**body, "options": self.options, "full": []}]
            self.names = names
        self._refresh(state)

    def _has(self, body: Mapping[str, Any]) -> bool:
        """Whether a round stands."""
        return bool(self._rounds) and self._rounds[-1]["id"] == body["id"]

    def undo(self) -> None:
        """Take the last round back. Raises `CaseError`."""
        self._step("undo")

    def redo(self) -> None:
        """Bring the round back that was taken back last. Raises `CaseError`."""
        self._step("redo")

    def _step(self, what: str) -> None:
        self.settle()
        state = self.connection.json("POST", f"/v1/sessions/{self.session}/{what}", {})
        for line in state.pop("changes", []):
            self._take({**line, "type": "slice"})
        self._refresh(state)

    def _refresh(self, state: dict[str, Any]) -> None:
        self.state, self._labels = state, None

    def _take(self, line: Mapping[str, Any]) -> Event | None:
        """A line of the stream as the event that it tells."""
        from memseg3d.propagation.prompts.events import Progress, RoundDone, SliceDone

        kind = line["type"]
        if kind == "progress":
            return Progress(line["phase"], line["done"], line["total"], line.get("note") or _in_queue(line))
        if kind == "round":
            return RoundDone(line["round"], line["status"], {}, {}, line["seconds"])
        number, axis, index = int(line["object"]), int(line["axis"]), int(line["index"])
        along, known = self._qualities.get(number, (axis, {}))
        if along != axis:
            known = {}
        if line["extent"] is None:
            known.pop(index, None)
        elif line.get("quality") is not None:
            known[index] = float(line["quality"])
        self._qualities[number] = axis, known
        # Contours are drawn from the labelmap that the worker closes the round with.
        return SliceDone(
            number, axis, index, np.zeros((0, 0), bool), float(line.get("quality") or 0), bool(line.get("prompted"))
        )

    @property
    def labels(self) -> np.ndarray:
        """The labelmap of all objects, (k, j, i), as the worker shares out voxels that several claim."""
        if self._labels is None:
            self._labels = self.connection.labelmap(self.session)
        return self._labels

    def mask(self, number: int) -> np.ndarray:
        """Boolean (k, j, i) of one object, overlaps included."""
        return self.connection.labelmap(self.session, number) > 0

    def claim(self, number: int) -> ArrayClaim:
        """What one object has of the labelmap."""
        return ArrayClaim(self.labels == number)

    def qualities(self, number: int) -> tuple[int, dict[int, float]]:
        """Axis and predicted quality of the object's slices."""
        axis, known = self._qualities.get(number, (0, {}))
        return axis, dict(sorted(known.items()))

    @property
    def suggested(self) -> dict[int, Suggestion]:
        """For every object the slice to look at next, where there is one."""
        from memseg3d.propagation.prompts.events import Suggestion

        found = self.state.get("suggested", {})
        return {int(number): Suggestion(one["axis"], one["index"], one["quality"]) for number, one in found.items()}

    @property
    def axes(self) -> dict[int, int]:
        """The axis of propagation of every object."""
        return {number: axis for number, (axis, _) in self._qualities.items() if number in self.numbers.values()}

    @property
    def numbers(self) -> dict[str, int]:
        """The segments that there are, by name."""
        known = {int(number) for number in self.state.get("objects", {})}
        return {name: number for name, number in self.names.numbers.items() if number in known}

    def document(self, files: Mapping[str, Any] | None = None) -> SessionDocument:
        """What session.json shall hold: the prompts of every round; what it changed is with the worker."""
        return SessionDocument(
            image=image_words(self.image.source, self.image.series, self.image.file, self.image.volume),
            model=self.model,
            options=self.options,
            names={number: name for name, number in self.names.numbers.items()},
            rounds=self._rounds,
            applied=int(self.state["applied"]),
            files=dict(files or {"format": "nii.gz", "layers": False}),
            software={**self.connection.software},
        )

    def outcome(self) -> Outcome:
        """What is to be written of it as it stands."""
        from memseg3d.propagation.prompts.as_json import prompt_from_json

        shape = self.image.volume.shape
        prompts = [prompt_from_json(each, shape) for each in self.document().prompts()]
        return Outcome(self, self.numbers, self.image.geometry, self.model, prompts, self.seconds)

    def keep(self, folder: tempfile.TemporaryDirectory[str]) -> None:
        """Delete a folder of mapped voxels when the case is closed."""
        self._folder = folder

    def close(self) -> None:
        """Delete the session at the worker; the volume goes when idle, and what a worker that is gone still has."""
        if self._folder is not None:
            self._folder.cleanup()
        if not self._is_closed:
            with contextlib.suppress(NoWorker):
                self.connection.json("DELETE", f"/v1/sessions/{self.session}")
        self._is_closed = True

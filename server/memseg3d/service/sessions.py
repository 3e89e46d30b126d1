"""A session as the service keeps it: propagation's session, its journal, its rounds' lines. Compute thread only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from memseg3d.propagation.masks.merged_labels import MergedLabels
from memseg3d.propagation.prompts.as_json import prompt_from_json
from memseg3d.propagation.prompts.events import RoundDone
from memseg3d.propagation.prompts.object_limits import limits_from_json
from memseg3d.propagation.prompts.prompts import Prompt
from memseg3d.propagation.rounds.ahead import slices_ahead, whole_slices_ahead
from memseg3d.propagation.rounds.records.changed_slices import ChangedSlices
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.errors import PropagationError, SessionError
from memseg3d.service.errors import ServiceError, disk_full
from memseg3d.service.history import RESTARTS
from memseg3d.service.journal import Record
from memseg3d.service.restored import are_same_options, options_of, restored
from memseg3d.service.running import RunningRound
from memseg3d.service.session_log import SessionLog
from memseg3d.service.streams import RoundStream
from memseg3d.service.tools import Tools
from memseg3d.service.wire import Line, error_line, objects_words, round_line, slice_line, suggested_words

log = logging.getLogger(__name__)

MOST_PROMPTS = 20_000
"""Prompts of one session: with each round they are looked through anew."""


class ServedSession:
    """Every change is in the journal before it is answered; what the journal cannot take does not happen.

    Made on any thread; from `start` on the compute thread's own.
    """

    def __init__(self, session_log: SessionLog, tools: Tools) -> None:
        """Raises ServiceError where the volume is gone, SessionError where a stored round cannot be restored."""
        self.history = session_log.history
        self._log = session_log
        self._tools = tools
        self._running: RunningRound | None = None
        self._volume = tools.open_volume(self.history.volume_key)
        self._present: Session | None = self._restored()

    @classmethod
    def create(
        cls,
        folder: Path,
        volume_id: str,
        options: dict[str, Any],
        geometry: dict[str, Any] | None,
        tools: Tools,
        owner: dict[str, str] | None = None,
    ) -> ServedSession:
        """A new session in a new folder named by its key. geometry: the grid of its downloads; None: a plain one.

        owner: `owner` and `name` of the history, None for those of the shared account. Raises ServiceError, OSError.
        """
        options_of(options)
        model = tools.network.info.sha256
        words = {"volume": volume_id, "options": options, "model": model, "geometry": geometry}
        first = {"type": "session", "version": 1, "id": folder.name, **(owner or {}), **words}
        return cls(SessionLog.create(folder, first, tools.clock, tools.vault), tools)

    @classmethod
    def load(cls, folder: Path, tools: Tools) -> ServedSession:
        """A session from its journal, as long as nobody else has it."""
        return cls(SessionLog.open(folder, tools.clock, tools.vault), tools)

    def start(self) -> None:
        """Begin to compute what can be foreseen."""
        self._look_ahead()

    @property
    def is_cut_short(self) -> bool:
        """Whether a round has begun that neither runs nor has ended: `resume` it."""
        return self._running is None and self.history.open is not None

    @property
    def running(self) -> str | None:
        """The id of the round that runs."""
        return self._running.stream.round_id if self._running else None

    @property
    def is_running(self) -> bool:
        """Whether a round is being computed."""
        return self._running is not None

    @property
    def owner(self) -> str:
        """Whose part of the worker its rounds are computed with; behind a token that all share, each session's own."""
        return self.history.owner or self.history.id

    def has_options(self, options: dict[str, Any]) -> bool:
        """Whether the session was opened with these options; those that its worker did not know are left out."""
        return are_same_options(options, self.history.options)

    def state(self) -> dict[str, Any]:
        """The session state of the wire protocol."""
        rounds = [{"id": item.id, "status": item.status, "prompts": item.prompt_count} for item in self.history.rounds]
        return {
            "id": self.history.name,
            "volume": self.history.volume,
            "options": self.history.options,
            "running": self.running,
            "rounds": rounds,
            "applied": len(self.history.applied),
            "objects": objects_words(self._session.objects),
            "suggested": suggested_words(self._session.suggested),
            "lost": self.history.lost,
        }

    @property
    def shape(self) -> tuple[int, int, int]:
        """(k, j, i) of the volume."""
        return self._volume.shape

    def known(self, round_id: str) -> RoundStream | None:
        """The stream of a round that has begun before; None where there is none, and one may begin.

        Raises ServiceError `busy`.
        """
        if self.history.find(round_id) is not None:
            return self.stream(round_id)
        self._refuse_while_running()
        return None

    def begin(self, request: dict[str, Any], prompts: Sequence[Prompt]) -> RoundStream:
        """Start a round, or return the stream of the one with this id. Raises ServiceError (busy, bad_prompt, ...).

        prompts: those of the request, made for this volume.
        """
        known = self.known(request["id"])
        if known is not None:
            return known
        if self.history.prompt_count + len(prompts) > MOST_PROMPTS:
            raise ServiceError(
                "too_large", f"A session takes {MOST_PROMPTS} prompts in all its rounds: open a new one for the rest."
            )
        self._tools.admission.check(self.owner)
        run = self._begun(request, prompts)
        try:
            self._log.write({"type": "begun", "round": request["id"], "request": request})
        except ServiceError:
            run.cancel()
            raise
        return self._started(run)

    def hint(self, prompts: Sequence[Prompt]) -> bool:
        """Compute ahead what a round with these prompts needs; without prompts nothing more. False while a round runs.

        Raises ServiceError (bad_prompt).
        """
        if self._running is not None:
            return False
        if not prompts:
            self._look_ahead()
            return True
        try:
            self._tools.ahead.begin(self.history.volume_key, slices_ahead(self._session, prompts))
        except PropagationError as error:
            raise ServiceError("bad_prompt", error.message) from error
        return True

    def stream(self, round_id: str) -> RoundStream:
        """The lines of a round that runs or has ended. Raises ServiceError `unknown_round`."""
        if self._running is not None and self._running.stream.round_id == round_id:
            return self._running.stream
        if self.history.find(round_id) is None:
            raise ServiceError("unknown_round", "The session has no round with this id: look at the session's state.")
        return self._log.stream(round_id)

    def cancel(self, round_id: str) -> None:
        """Stop a round. Cancelling it again changes nothing. Raises ServiceError: unknown_round, conflict."""
        found = self.history.find(round_id)
        if found is None:
            raise ServiceError("unknown_round", "The session has no round with this id: look at the session's state.")
        if found.status == "cancelled":
            return
        if self._running is None or found.status != "running":
            raise ServiceError(
                "conflict", f"The round has ended already ({found.status}): undo takes it out of the labelmaps."
            )
        done = self._running.cancel()
        self._tools.metrics.rounds.labels("cancelled").inc()
        self._end_without_change({"type": "cancelled", "round": round_id}, round_line(done))

    def undo(self) -> dict[str, Any]:
        """Take the last round back; the state with `changes`. Raises ServiceError (nothing_to_undo, busy, ...)."""
        return self._step_in_history("undo", self._session.undo, self._session.redo)

    def redo(self) -> dict[str, Any]:
        """Put the round undone last back; the state with `changes`."""
        return self._step_in_history("redo", self._session.redo, self._session.undo)

    def labelmap(self, number: int | None) -> MergedLabels:
        """The labels of one object (0, 1), or of all with their numbers. They stay as they are now.

        Raises ServiceError `disk_full`.
        """
        session = self._session
        numbers = {each: each for each in session.objects} if number is None else {number: 1}
        try:
            claims = {label: session.claim(each) for each, label in numbers.items() if each in session.objects}
        except OSError as error:
            raise disk_full() from error
        return MergedLabels(claims, self._volume.shape)

    def close(self) -> None:
        """Leave the memory; a round that runs is abandoned, its listeners leave, and the journal still holds it."""
        if self._running is not None:
            self._running.cancel()
            self._running.stream.leave()
            self._running = None
            self._tools.metrics.running.dec()

    def round_closed(self, done: RoundDone) -> None:
        """Called by the running round: its result is in the labelmaps, and now on disk as well."""
        assert self._running is not None
        stream = self._running.stream
        last = stream.encode(round_line(done))
        try:
            self._log.store_lines(stream.round_id, stream.content + last)
            self._log.write({"type": "closed", "round": stream.round_id, "record": self._session.rounds[-1].to_json()})
        except ServiceError as error:
            self.round_failed(error.code, error.message)
            return
        self._tools.metrics.rounds.labels("closed").inc()
        self._ended(last)

    def round_failed(self, code: str, message: str) -> None:
        """Called by the running round: it threw an error; the session stays usable."""
        assert self._running is not None
        # The journal is the truth: what it does not hold must not stay in the labelmaps. Whoever needs the session next
        # brings it back; that may fail for the same reason as the round, and the round must end all the same.
        self._present = None
        self._tools.features.forget(self._volume.key)
        self._tools.metrics.rounds.labels("failed").inc()
        self._end_without_change({"type": "failed", "round": self._running.stream.round_id}, error_line(code, message))

    @property
    def _session(self) -> Session:
        """Propagation's session, brought back from the journal where it is not in the memory."""
        if self._present is None:
            self._present = self._restored()
        return self._present

    def _begun(self, request: dict[str, Any], prompts: Sequence[Prompt] | None = None) -> RunningRound:
        try:
            if prompts is None:
                prompts = [prompt_from_json(words, self._volume.shape) for words in request["prompts"]]
            # Rounds that an older worker began know neither limits nor objects to compute anew.
            limits = limits_from_json(request.get("limits", {}))
            run = self._session.begin(request["id"], prompts, request["removed"], limits, request.get("full", ()))
        except SessionError as error:
            raise ServiceError("bad_request", error.message) from error
        except PropagationError as error:
            raise ServiceError("bad_prompt", error.message) from error
        compute, stream = self._tools.compute, RoundStream(request["id"])
        return RunningRound(run, stream, self, self._tools.metrics, compute.place, self.owner, self.history.id)

    def _started(self, running: RunningRound) -> RoundStream:
        self._running = running
        # What was foreseen has come.
        self._tools.ahead.drop(self.history.volume_key)
        self._tools.metrics.running.inc()
        self._tools.compute.schedule(running)
        return running.stream

    def resume(self) -> None:
        """Compute a round anew that the last worker did not finish. Raises ServiceError `disk_full`; try later then."""
        cut_short = self.history.open
        if cut_short is None:
            return
        if self.history.model != self._tools.network.info.sha256:
            self._log.write({"type": "model", "model": self._tools.network.info.sha256})
            self._give_up(cut_short.id, "The worker was started with another model.")
        elif cut_short.restarts >= RESTARTS:
            self._give_up(cut_short.id, f"The worker ended {RESTARTS + 1} times in this round.")
        else:
            self._log.write({"type": "resumed", "round": cut_short.id})
            try:
                self._started(self._begun(cut_short.request))
            except ServiceError as error:
                self._give_up(cut_short.id, error.message)

    def _give_up(self, round_id: str, reason: str) -> None:
        line = error_line("internal", f"{reason} The round was given up: post it again with a new id.")
        self._log.store_lines(round_id, RoundStream(round_id).encode(line))
        self._log.write({"type": "failed", "round": round_id})

    def _restored(self) -> Session:
        tools = self._tools
        return restored(self.history, self._volume, tools.network, tools.features, tools.scratch)

    def _step_in_history(
        self, name: str, step: Callable[[], ChangedSlices], back: Callable[[], object]
    ) -> dict[str, Any]:
        self._refuse_while_running()
        try:
            changes = step()
        except SessionError as error:
            if error.code != "bad_record":
                raise ServiceError(error.code, error.message) from error
            self._present = None
            raise ServiceError("internal", error.message) from error
        except OSError as error:
            # Some objects may have been stepped and others not: the journal tells how they were.
            self._present = None
            raise disk_full() from error
        try:
            self._log.write({"type": name})
        except ServiceError:
            back()
            raise
        return {**self.state(), "changes": [slice_line(change) for change in changes]}

    def _refuse_while_running(self) -> None:
        if self._running is not None:
            raise ServiceError("busy", "A round is being computed in this session: wait for its end or cancel it.")

    def _end_without_change(self, record: Record, line: Line) -> None:
        """End the running round with a line that stands alone: no slice of it is valid."""
        assert self._running is not None
        last = self._running.stream.encode(line)
        # A full disk keeps neither the lines from being sent nor the round from ending.
        for keep in (lambda: self._log.store_lines(record["round"], last), lambda: self._log.write(record)):
            try:
                keep()
            except ServiceError as error:
                log.error("the end of round %s is not on disk yet: %s", record["round"], error.message)
        self._ended(last, alone=True)

    def _ended(self, last: bytes, alone: bool = False) -> None:
        assert self._running is not None
        stream, self._running = self._running.stream, None
        self._tools.metrics.running.dec()
        # Last of all: who hears of the end may look at the counters at once.
        stream.finish(last, alone)
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Compute in idle time what does not depend on what the user draws."""
        if self._present is not None:
            self._tools.ahead.begin(self.history.volume_key, whole_slices_ahead(self._present))

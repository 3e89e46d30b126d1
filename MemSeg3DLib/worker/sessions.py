"""A worker's session and the rounds of the scene: which session a round belongs to, and how the two come to agree."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.worker.connection.answers import plain_words
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.jobs import PastRound
from MemSeg3DLib.worker.told import lost_of, state_of

BUSY_SECONDS = 30.0

OnRunAgain = Callable[[str, str], None]


def _ignore(session: str, round_id: str) -> None:
    """Nobody wants to know which round is run again."""


def _unheard(words: str) -> None:
    """Nobody wants to know what the worker has lost."""


def session_of(past: Sequence[PastRound], volume: str, options: dict[str, object]) -> tuple[str, list[PastRound]]:
    """The session of the last round where it was of this volume and these options, with its rounds; else a new one."""
    if past and past[-1].volume == volume and past[-1].options == options:
        session = past[-1].session
        return session, [one for one in past if one.session == session]
    return str(uuid.uuid4()), []


def standing_prompts(past: Sequence[PastRound]) -> dict[str, dict[str, Any]]:
    """The prompts that stand after the rounds of a session, as they travelled, by id."""
    standing: dict[str, dict[str, Any]] = {}
    for one in past:
        for removed in one.removed:
            standing.pop(removed, None)
        standing.update({str(prompt["id"]): prompt for prompt in one.prompts})
    return standing


def carried_prompts(
    past: Sequence[PastRound], session: str, volume: str, objects: Collection[int], removed: Collection[str]
) -> list[dict[str, Any]]:
    """Prompts of these objects that stand by rounds of other sessions on the volume, and that this one lacks.

    Other options are another session: with them, an object is computed from all its prompts, not from the new ones
    alone. removed: ids that no longer count.
    """
    held = standing_prompts([one for one in past if one.session == session])
    standing = standing_prompts([one for one in past if one.volume == volume])
    return [
        words
        for name, words in standing.items()
        if name not in held and name not in removed and words["object"] in objects
    ]


def objects_of(past: Iterable[PastRound]) -> set[int]:
    """The objects that rounds have prompted."""
    return {int(prompt["object"]) for one in past for prompt in one.prompts}


def align(
    client: WorkerClient,
    session: str,
    past: Sequence[PastRound],
    keep_running: str | None = None,
    on_run_again: OnRunAgain = _ignore,
) -> None:
    """Make the session's applied rounds those of `past`: undo what is too much, redo or run again what is missing.

    The scene is the truth: its user may have undone rounds, and a worker may have lost its disk. keep_running: a round
    that may go on. on_run_again: as for `open_session`. Raises WorkerError; `conflict` where the session cannot be
    brought there.
    """
    wanted = [one.id for one in past]
    state = _wait_until_idle(client, session, keep_running, on_run_again)
    have = [one["id"] for one in state["rounds"] if one["status"] == "closed"]
    same = 0
    while same < min(len(wanted), len(have)) and wanted[same] == have[same]:
        same += 1
    for _ in have[same:]:
        client.undo(session)
    known = {one["id"]: one["status"] for one in state["rounds"]}
    for one in past[same:]:
        if known.get(one.id) == "undone":
            client.redo(session)
        elif one.id not in known:
            _run_again(client, session, one, on_run_again)
        else:
            raise WorkerError("conflict", "The worker's session went another way than the scene: a new one is needed.")
    after = state_of(client.session(session))
    if [one["id"] for one in after["rounds"] if one["status"] == "closed"] != wanted:
        raise WorkerError("conflict", "The worker's session went another way than the scene: a new one is needed.")


def open_session(
    client: WorkerClient,
    session: str,
    volume: str,
    options: dict[str, object],
    past: Sequence[PastRound],
    upload: Callable[[], None],
    keep_running: str | None = None,
    on_run_again: OnRunAgain = _ignore,
    on_lost: Callable[[str], None] = _unheard,
) -> str:
    """Open the session, uploading the volume where the worker lacks it, and align it; returns its id.

    The id is another one where the worker's session cannot be brought to the scene's rounds. on_run_again: told again
    and again, while the worker runs an earlier round anew, of the session and the round; what it raises ends that.
    """
    for attempt in (session, str(uuid.uuid4())):
        try:
            state = client.create_session(volume, options, attempt)
        except WorkerError as error:
            if error.code != "unknown_volume":
                raise
            upload()
            state = client.create_session(volume, options, attempt)
        for words in lost_of(state):
            on_lost(words)
        try:
            align(client, attempt, past, keep_running, on_run_again)
        except WorkerError as error:
            if error.code != "conflict" or attempt != session:
                raise
        else:
            return attempt
    raise AssertionError("unreachable: the second attempt returns or raises")


def _wait_until_idle(
    client: WorkerClient, session: str, keep_running: str | None, on_waiting: OnRunAgain
) -> dict[str, list[dict[str, str]]]:
    """A round that nobody follows any more, left by a client that went away, is cancelled."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        state = state_of(client.session(session))
        running = state["running"]
        if running is None or running == keep_running:
            return state
        if time.monotonic() > deadline:
            raise WorkerError("busy", "The worker is still busy with another round of this volume: try again soon.")
        # What it raises, such as that the user has cancelled, ends the wait.
        on_waiting(session, running)
        client.cancel_round(session, running)
        time.sleep(0.05)


def _run_again(client: WorkerClient, session: str, past: PastRound, on_run_again: OnRunAgain) -> None:
    on_run_again(session, past.id)
    for line in client.post_round(session, past.id, past.prompts, past.removed, past.limits, past.full):
        on_run_again(session, past.id)
        if line.get("type") == "round":
            return
        if line.get("type") == "error":
            raise WorkerError(plain_words(line.get("code"), 40), plain_words(line.get("message")))
    raise WorkerError("unreachable", "The worker stopped while it ran an earlier round again.")

"""The library's errors: each carries a sentence for the user that says what to do."""

from __future__ import annotations


class MemSeg3DError(Exception):
    """Base of every error that this library raises on purpose; `str(error)` can be shown to the user."""


class SceneError(MemSeg3DError):
    """A volume or segmentation in the scene cannot be used as it is."""


class PromptError(MemSeg3DError):
    """A prompt that means nothing on this volume: outside of it, without area, on several slices."""


class RoundError(MemSeg3DError):
    """A round cannot be undone, redone or recovered."""


class UnreadableRounds(RoundError):
    """The rounds of a segmentation in the scene are damaged, or of another version; they can be set aside."""


class ExportError(MemSeg3DError):
    """Segments cannot be written or sent as asked; nothing half done is left."""


class SetupError(MemSeg3DError):
    """The worker's environment, a model or a local store cannot be made, repaired or removed as asked."""


NOT_READY = frozenset({"not_chosen", "not_installed", "not_confirmed"})
"""Codes of errors that end once the user has chosen, installed or confirmed: no run fails by itself for them."""


class WorkerError(MemSeg3DError):
    """The worker refused, failed, or cannot be reached.

    code: an error code of the wire protocol, or of this side: `unreachable`, `bad_answer`, `protocol`, `certificate`,
    `bad_address`, `not_started`, `stalled`, and, where the user has yet to do something, those of NOT_READY.
    wait: after so many seconds it makes sense to ask again, where the answer said so.
    """

    def __init__(self, code: str, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.wait = wait


def in_a_sentence(error: Exception) -> MemSeg3DError:
    """An error for the user: its own sentence, or one that says where more is written."""
    if isinstance(error, MemSeg3DError):
        return error
    return RoundError(f"This failed on this side ({type(error).__name__}): try again; the log says more.")

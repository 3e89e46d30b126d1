"""Errors of propagation: a short code for programs and a sentence for the user."""

from __future__ import annotations


class PropagationError(ValueError):
    """Base of all errors that a caller can mend.

    code: short snake_case word, stable for programs. The message is a sentence that says what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class SessionError(PropagationError):
    """A session was asked for something that its state does not allow (busy, nothing_to_undo, bad_record, ...)."""

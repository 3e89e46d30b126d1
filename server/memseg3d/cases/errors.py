"""The error of a case: a sentence for the user, and which of his words it is about."""

from __future__ import annotations


class CaseError(ValueError):
    """What was asked for cannot be done; the sentence says why and what to do. about: the option, or None."""

    def __init__(self, message: str, about: str | None = None) -> None:
        super().__init__(message)
        self.about = about


class Questioned(CaseError):
    """What was asked for can be done, but looks like a mistake: it wants a yes."""

"""The two errors of this package, each with a sentence for the user."""

from __future__ import annotations


class UnreadableFile(ValueError):
    """A file or folder is no volume that can be read. The message names it and says what to do."""


class UnwritableLabelmap(ValueError):
    """A labelmap cannot be written as asked: unknown format, other grid, or labels that do not fit."""

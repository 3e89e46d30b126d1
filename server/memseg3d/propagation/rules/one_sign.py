"""What a round of clicks may change: clicks of one sign only add or only remove."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np

from memseg3d.propagation.prompts.prompts import Prompt, sign_of


class Edit(Enum):
    """How a round's masks are bounded by those before it."""

    FREE = "free"
    GROW = "grow"
    SHRINK = "shrink"


def edit_of(added: Sequence[Prompt], withdrew: bool) -> Edit:
    """The edit that new prompts ask for: positive clicks and strokes alone grow, negative ones alone shrink.

    withdrew: True where the round also takes prompts away.
    """
    signs = {sign_of(prompt) for prompt in added}
    if withdrew or len(signs) != 1 or signs == {None}:
        return Edit.FREE
    return Edit.GROW if signs == {True} else Edit.SHRINK


def within_edit(edit: Edit, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The slice's mask (rows, columns), bool, kept within what the edit allows."""
    if edit is Edit.GROW:
        return before | after
    if edit is Edit.SHRINK:
        return before & after
    return after

"""Fills a run's folder with states of sessions, played with the weights that the run has come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from memseg3d.datasets.training_data import TrainingCase
from memseg3d.network.seam import Network
from memseg3d.training.clips.scenes import Shares
from memseg3d.training.clips.serving import PropagationError
from memseg3d.training.clips.session_states import play, write_state

SHARES = Shares(shapes=0.35, images=0.2)
TRIES = 4
"""Scenes tried for one state: some hold no target, others are segmented without an error."""
SAY_EVERY = 25


def fill_states(
    folder: Path,
    network: Network,
    cases: Sequence[TrainingCase],
    seed: int,
    count: int,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Write states 0 to `count` - 1 into `folder`/states, over those that are there; returns how many were made."""
    target = folder / "states"
    target.mkdir(parents=True, exist_ok=True)
    made = 0
    for number in range(count):
        rng = np.random.default_rng([seed, 37, number])
        for _ in range(TRIES):
            try:
                state = play(rng, network, cases, SHARES)
            except PropagationError:
                # A session refuses some volumes of chance, as those without contrast.
                continue
            if state is not None:
                write_state(target / f"{number:06d}.npz", state)
                made += 1
                break
        if number % SAY_EVERY == SAY_EVERY - 1:
            say(f"{made} of {number + 1}")
    return made

"""Propagation's session as its journal tells it, journals of older workers included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.propagation.volume.volume import Volume
from memseg3d.service.errors import ServiceError
from memseg3d.service.history import History

_DEFAULTS = Options().to_json()
OF_OLDER_WORKERS = {"tolerance": 0.0}
"""Options that the sessions of older workers lack, and what these workers did."""


def restored(
    history: History, volume: Volume, network: Network, features: FeatureStore, scratch: Path | None
) -> Session:
    """The session with its closed rounds, nothing computed. scratch: where large labelmaps are mapped from.

    Raises ServiceError `bad_request` for options that this worker does not know, SessionError where a round does not
    fit.
    """
    session = Session(volume, network, options_of(OF_OLDER_WORKERS | history.options), features, scratch)
    kept = [*history.applied, *history.redoable]
    session.restore([item.record for item in kept if item.record is not None], applied=len(history.applied))
    return session


def options_of(words: dict[str, Any]) -> Options:
    """The options of the wire protocol. Raises ServiceError `bad_request`."""
    try:
        return Options.from_json(words)
    except PropagationError as error:
        raise ServiceError("bad_request", error.message) from error


def are_same_options(asked: dict[str, Any], opened: dict[str, Any]) -> bool:
    """Whether a session that was `opened` with options has those `asked` for; what its worker did not know counts where
    it is not the default.
    """
    known = {name: value for name, value in asked.items() if name in opened or value != _DEFAULTS.get(name)}
    return known == opened

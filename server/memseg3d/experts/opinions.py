"""Two opinions on the same voxels, an expert's and propagation's, as one: log odds are weighed and added.

The weights of an expert are fitted where the truth is known (`python Testing/benchmarks/fit_opinions.py`) and kept in
the model's card; where one is far weaker than the other, its weight goes to 0 and the other is picked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

LARGEST = 6.0
"""Log odds beyond this count as this: networks are surer than they are right."""


@dataclass(frozen=True)
class Weighing:
    """expert, propagation: weights of their log odds. inside, outside: what a voxel of propagation's mask gains, and
    what any other loses, for propagation tells nothing finer beyond its mask.

    Where nothing was fitted, an expert that was asked stands.
    """

    expert: float = 1.0
    propagation: float = 0.0
    inside: float = 0.0
    outside: float = 0.0

    @property
    def is_alone(self) -> bool:
        """Whether propagation's opinion counts nothing."""
        return not (self.propagation or self.inside or self.outside)

    def joined(self, logits: np.ndarray, sure: np.ndarray) -> np.ndarray:
        """float32 log odds of both. logits: the expert's; sure: propagation's probability in its mask, 0 elsewhere."""
        return np.asarray(features(logits, sure) @ self._weights(), dtype=np.float32)

    def _weights(self) -> np.ndarray:
        return np.array([self.expert, self.propagation, self.inside, -self.outside], np.float32)

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Weighing:
        """What a model's card says under `weighing`; the default where it says nothing that can be read."""
        told = card.get("weighing")
        names = {field.name for field in fields(cls)}
        if not isinstance(told, Mapping) or not set(told) <= names:
            return cls()
        if not all(isinstance(value, int | float) and np.isfinite(value) for value in told.values()):
            return cls()
        return cls(**{name: float(value) for name, value in told.items()})


def features(logits: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """float32 (..., 4), what a weighing multiplies: the expert's log odds, propagation's in its mask, 1 inside of it, 1
    outside of it.
    """
    is_inside = sure > 0
    odds = np.where(is_inside, np.clip(sure, 1e-3, 1 - 1e-3), 0.5)
    told = np.log(odds / (1 - odds))
    return np.stack([np.clip(logits, -LARGEST, LARGEST), told, is_inside, ~is_inside], axis=-1).astype(np.float32)


def sureness(logits: np.ndarray) -> float:
    """What a network without a quality head says of itself: the mean probability of its mask; 0 of an empty one."""
    inner = logits[logits > 0]
    return float((1 / (1 + np.exp(-inner))).mean()) if inner.size else 0.0

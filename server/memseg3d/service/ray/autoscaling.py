"""How many replicas Ray Serve should have; its controller imports this alone."""

from __future__ import annotations

import math
from typing import Any

BUSY_ROUNDS = 4
"""Rounds that a replica computes at once before another one is started."""


def wanted_replicas(context: Any) -> tuple[int, dict[str, Any]]:
    """As many as the rounds that are computed need, within the bounds. context: Serve's `AutoscalingContext`."""
    rounds = sum((context.aggregated_metrics or {}).get("rounds", {}).values())
    wanted = math.ceil(rounds / BUSY_ROUNDS)
    return max(context.capacity_adjusted_min_replicas, min(context.capacity_adjusted_max_replicas, wanted)), {}

"""Memory policies by name: which mask of a slice is taken, what is remembered, and what each slice reads."""

from __future__ import annotations

from memseg3d.propagation.policies.trained import NeighbourPolicy, Sam2Policy, default_policy

__all__ = ["NeighbourPolicy", "Sam2Policy", "default_policy"]

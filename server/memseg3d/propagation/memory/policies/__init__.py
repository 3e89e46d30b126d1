"""Memory policies by name: which mask of a slice is taken, what is remembered, and what each slice reads."""

from __future__ import annotations

from collections.abc import Callable

from memseg3d.network.seam import NetworkInfo
from memseg3d.propagation.memory.bank.policy import MemoryPolicy
from memseg3d.propagation.memory.policies.distractor import DistractorPolicy
from memseg3d.propagation.memory.policies.layout import Layout
from memseg3d.propagation.memory.policies.motion import MotionPolicy
from memseg3d.propagation.memory.policies.quality import QualityPolicy
from memseg3d.propagation.memory.policies.self_sorting import SelfSortingPolicy
from memseg3d.propagation.memory.policies.stm import StmPolicy
from memseg3d.propagation.memory.policies.trained import NeighbourPolicy, Sam2Policy, default_policy
from memseg3d.propagation.memory.policies.tree import PathwayPolicy
from memseg3d.propagation.prompts.options import POLICIES

__all__ = ["DEFAULT", "MADE_OF", "POLICIES", "TREE", "NeighbourPolicy", "Sam2Policy", "default_policy", "policy_named"]

DEFAULT, TREE = "default", "tree"

MADE_OF: dict[str, Callable[[Layout], MemoryPolicy]] = {
    "stm": StmPolicy,
    "self_sorting": SelfSortingPolicy,
    "quality": QualityPolicy,
    "distractor": DistractorPolicy,
    "motion": MotionPolicy,
    TREE: PathwayPolicy,
}
"""Every policy but the default by its name; the names themselves are the session options' (`POLICIES`)."""


def policy_named(name: str, info: NetworkInfo) -> MemoryPolicy:
    """The policy of that name for a network; that of one pathway where it is a tree. Raises ValueError for another."""
    if name == DEFAULT:
        return default_policy(info)
    if name not in MADE_OF:
        raise ValueError(f"There is no memory policy {name!r}; there are {', '.join(POLICIES)}.")
    return MADE_OF[name](Layout.of(info))

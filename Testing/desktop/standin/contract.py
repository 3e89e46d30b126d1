"""Reads the contract: what Python can reach in each class of Slicer and CTK that stands in here."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTRACT = Path(__file__).parent.parent / "contract.json"


@dataclass(frozen=True)
class PropertyFacts:
    """A Qt property: its C++ type, whether it can be set, and the signal that tells of a change."""

    type: str
    is_writable: bool
    notify: str | None


@dataclass(frozen=True)
class ClassFacts:
    """What Python can reach in one class, without its base's.

    methods: for each name its overloads as (types of the arguments, how many have no default). hidden: public in C++,
    out of Python's reach.
    """

    name: str
    base: str
    methods: dict[str, list[tuple[tuple[str, ...], int]]]
    static: frozenset[str]
    properties: dict[str, PropertyFacts]
    signals: tuple[str, ...]
    enums: dict[str, list[str]]
    hidden: frozenset[str]

    def accepts(self, method: str, count: int) -> bool:
        """Whether some overload takes so many arguments."""
        return any(least <= count <= len(types) for types, least in self.methods[method])


def _facts(name: str, words: dict[str, Any]) -> ClassFacts:
    return ClassFacts(
        name=name,
        base=words["base"],
        methods={
            method: [(tuple(types.split(",")) if types else (), least) for types, least in overloads]
            for method, overloads in words["methods"].items()
        },
        static=frozenset(words["static"]),
        properties={key: PropertyFacts(*value) for key, value in words["properties"].items()},
        signals=tuple(words["signals"]),
        enums=words["enums"],
        hidden=frozenset(words["hidden"]),
    )


@functools.cache
def contract() -> dict[str, ClassFacts]:
    """Every class of contract.json by its name."""
    classes = json.loads(CONTRACT.read_text(encoding="utf-8"))["classes"]
    return {name: _facts(name, words) for name, words in classes.items()}

"""Settings of a run as its state keeps them: a run goes on with the same ones, but may go on for longer."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def words_of(settings: DataclassInstance, length: str) -> dict[str, Any]:
    """Plain values. length: the field that tells how long a run goes on, which is left out."""
    words = asdict(settings)
    del words[length]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in words.items()}


def differing(settings: DataclassInstance, kept: dict[str, Any], length: str) -> list[str]:
    """Names of the settings that a kept run was made with otherwise."""
    now = words_of(settings, length)
    found = []
    for each in fields(settings):
        # A state that does not tell of a setting is older than it and was made with its default.
        default = list(each.default) if isinstance(each.default, tuple) else each.default
        if each.name in now and now[each.name] != kept.get(each.name, default):
            found.append(each.name)
    return sorted(found)

"""The rounds and names of a session.json, checked before anything counts on them: people edit and shorten files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

_PLACES = ("position", "lower", "upper", "radii")


def checked_rounds(words: Any) -> list[dict[str, Any]]:
    """The rounds, every prompt with its id. Raises ValueError or TypeError with the reason."""
    return [_round(one, f"round {place}") for place, one in enumerate(_of(words, list, "rounds"), start=1)]


def checked_names(words: Any, rounds: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """Names by object number, the number itself where none is told. Raises ValueError or TypeError with the reason."""
    names = {int(number): _of(name, str, "a name") for number, name in _of(words, dict, "names").items()}
    if min(names, default=1) < 1:
        raise ValueError("objects count from 1")
    if len(set(names.values())) < len(names):
        raise ValueError("two segments have one name")
    for number in sorted({prompt["object"] for one in rounds for prompt in one["prompts"]}):
        names.setdefault(number, str(number))
    return names


def checked_files(words: Any) -> dict[str, Any]:
    """How results are written. Raises ValueError or TypeError with the reason."""
    files = {"format": "nii.gz", "layers": False, **_of(words, dict, "files")}
    if files["format"] not in ("nii.gz", "nrrd") or not isinstance(files["layers"], bool):
        raise ValueError("files tell no format")
    return files


def _round(words: Any, what: str) -> dict[str, Any]:
    one = dict(_of(words, dict, what))
    name = _of(one.get("id"), str, f"the id of {what}")
    one["prompts"] = [
        _prompt(each, f"{name}/{place}", f"a prompt of {what}")
        for place, each in enumerate(_of(one.get("prompts"), list, f"prompts of {what}"))
    ]
    for each in _of(one.get("removed"), list, f"removed of {what}"):
        _of(each, str, f"removed of {what}")
    _of(one.get("options", {}), dict, f"options of {what}")
    if not isinstance(one.get("session", 1), int):
        raise TypeError(f"the session of {what} is no number")
    if "objects" in one:
        changed = {int(number) for number in _of(one["objects"], dict, f"objects of {what}")}
        if not {prompt["object"] for prompt in one["prompts"]} <= changed:
            raise ValueError(f"{what} does not tell what it changed")
    return one


def _prompt(words: Any, name: str, what: str) -> dict[str, Any]:
    """One prompt; those of a scene's document have no id."""
    prompt = {"id": name, **_of(words, dict, what)}
    _of(prompt["id"], str, f"the id of {what}")
    _of(prompt.get("type"), str, f"the type of {what}")
    number = prompt.get("object")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(f"{what} is of no object")
    for field in _PLACES:
        if field in prompt:
            _check_place(prompt[field], what)
    for point in _of(prompt.get("points", []), list, f"points of {what}"):
        _check_place(point, what)
    return prompt


def _check_place(words: Any, what: str) -> None:
    numbers = _of(words, list, f"a place of {what}")
    if len(numbers) != 3 or not all(isinstance(each, int | float) and math.isfinite(each) for each in numbers):
        raise ValueError(f"{what} has a place of other than three numbers")


def _of(words: Any, kind: type, what: str) -> Any:
    if not isinstance(words, kind):
        raise TypeError(f"{what}: missing, or of another kind")
    return words

"""Options: the protocol's JSON, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from memseg3d.propagation.memory.policies import DEFAULT, MADE_OF
from memseg3d.propagation.prompts.options import POLICIES, Options
from memseg3d.propagation.volume.errors import PropagationError


def test_options_survive_their_json() -> None:
    options = Options(window=(-100.0, 300.0), axis=1, region="crop", first=3, last=9, bidirectional="shared")
    assert Options.from_json(options.to_json()) == options
    assert Options.from_json({}) == Options()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"windw": [0, 1]}, "Unknown option 'windw'"),
        ({"window": [5, 1]}, "low below high"),
        ({"window": [1]}, "two numbers"),
        ({"window": "soft"}, "two numbers"),
        ({"axis": 3}, "axis"),
        ({"axis": 1.0}, "axis"),
        ({"reach": True}, "reach"),
        ({"region": "slice"}, "region"),
        ({"region": []}, "region"),
        ({"bidirectional": "no"}, "bidirectional"),
        ({"first": -1}, "first"),
        ({"last": 1.5}, "last"),
        ({"first": 5, "last": 4}, "beyond last"),
    ],
)
def test_a_bad_option_is_refused_with_a_sentence(data: dict[str, Any], words: str) -> None:
    with pytest.raises(PropagationError, match=words):
        Options.from_json(data)


def test_the_names_of_memory_policies_are_those_of_the_table() -> None:
    assert (DEFAULT, *MADE_OF) == POLICIES, "options know names alone, and must not import what is above them"


def test_limits_end_with_the_volume() -> None:
    assert Options().limits(10) == (0, 9)
    assert Options(first=2, last=99).limits(10) == (2, 9)

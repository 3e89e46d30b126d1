"""Mutations of good inputs, the same for the same seed: bits, bytes and pieces of files; values and shapes of JSON."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

ODD = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**400,
    -0.0,
    0.5,
    1e308,
    "",
    "1",
    "x" * 300,
    "\x00",
    [],
    {},
    [[]],
    {"a": 1},
]
"""Values that something might not expect."""


def bytes_of(content: bytes, rng: random.Random) -> bytes:
    """One to four flips, cuts, insertions, deletions or repetitions."""
    result = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(result) + 1) if rng.random() < 0.5 else rng.randrange(min(len(result), 400) + 1)
        kind = rng.randrange(6)
        if kind == 0 and place < len(result):
            result[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del result[place:]
        elif kind == 2:
            result[place:place] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 20)))
        elif kind == 3:
            del result[place : place + rng.randint(1, 40)]
        elif kind == 4:
            result[place:place] = result[place : place + rng.randint(1, 60)]
        elif place < len(result):
            result[place : place + 4] = rng.choice(
                [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"]
            )
    return bytes(result)


def _odd(rng: random.Random) -> Any:
    """A copy: what is put into a value is changed with it, and the same seed shall give the same words."""
    return copy.deepcopy(rng.choice(ODD))


def words_of(words: Any, rng: random.Random, most: int = 3) -> Any:
    """The JSON value with one to `most` places changed, lost, doubled or exchanged."""
    result = copy.deepcopy(words)
    for _ in range(rng.randint(1, most)):
        places = list(_places(result))
        if not places:
            return _odd(rng)
        holder, key = rng.choice(places)
        kind = rng.randrange(5)
        if kind == 0:
            holder[key] = _odd(rng)
        elif kind == 1:
            del holder[key]
        elif kind == 2 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif kind == 3 and isinstance(holder, dict):
            holder[rng.choice(["", "extra", "type", "axis", "object"])] = _odd(rng)
        else:
            other, name = rng.choice(places)
            value = copy.deepcopy(other[name]) if _holds(other, name) else None
            if _holds(holder, key):
                holder[key] = value
    return result


def as_body(words: Any) -> bytes:
    """JSON as a hostile client writes it: NaN and Infinity included."""
    return json.dumps(words).encode("utf-8", "surrogatepass")


def _places(words: Any) -> Iterator[tuple[Any, Any]]:
    keys: Any = words.keys() if isinstance(words, dict) else range(len(words)) if isinstance(words, list) else ()
    for key in keys:
        yield words, key
        yield from _places(words[key])


def _holds(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)

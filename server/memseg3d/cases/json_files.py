"""JSON that people write and edit: read with what editors leave in it, and a sentence where it is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from memseg3d.cases.errors import CaseError

MOST_DIGITS = 300
"""Of a whole number: what has more is no float, as which all places are computed."""


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError("a number is too large")
    return int(digits)


def read_json(path: Path, what: str, about: str | None = None) -> Any:
    """What a file holds, a byte order mark aside. what: that it should be, for the sentence. Raises `CaseError`."""
    if path.is_char_device() or path.is_block_device():
        # It could be read without end.
        raise CaseError(f"{path} is no file: name a {what}.", about)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), parse_int=_whole_number)
    except FileNotFoundError as error:
        raise CaseError(f"{path} does not exist; check the path.", about) from error
    except OSError as error:
        raise CaseError(f"{path} cannot be read ({error.strerror}).", about) from error
    except (ValueError, RecursionError) as error:
        place = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise CaseError(f"{path} is no {what}: it is no JSON that can be read{place}.", about) from error

"""JSON bodies: read within a budget, parsed beside the event loop, refused where they hold too much."""

from __future__ import annotations

from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from memseg3d.service.errors import ServiceError

MOST_VALUES = 500_000
"""Numbers, texts, lists and objects in one body, a few more or fewer: they are parsed in some tenths of a second.

The points of twenty strokes of the greatest length are 400,000.
"""

Words = TypeVar("Words", bound=BaseModel)

_AT_ONCE = CapacityLimiter(2)


async def body_of(request: Request, words: type[Words]) -> Words:
    """The request's JSON as `words`. Raises ServiceError: bad_request, too_large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise ServiceError("bad_request", "The body must be JSON: send it with Content-Type: application/json.")
    content = await request.body()
    if len(content) < _SMALL:
        return parsed(content, words)
    return await to_thread.run_sync(parsed, content, words, limiter=_AT_ONCE)


_SMALL = 1 << 14
"""Bytes up to which parsing takes less time than handing it to another thread."""


def parsed(content: bytes, words: type[Words]) -> Words:
    """The words of a JSON body. Raises ServiceError: bad_request, too_large."""
    # Counted before anything is parsed: a parser holds up every thread while it works.
    if sum(content.count(each) for each in (b",", b"[", b"{")) > MOST_VALUES:
        raise ServiceError(
            "too_large", f"The body holds more than {MOST_VALUES} numbers and lists: send what it says in several."
        )
    try:
        return words.model_validate_json(content)
    except ValidationError as error:
        raise told(error) from error


def told(error: ValidationError) -> ServiceError:
    """The first thing that is wrong, as the wire protocol says it."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return ServiceError("bad_request", "The body is not valid JSON.")
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return ServiceError("bad_request", f"{place}: there is no such word.")
    return ServiceError("bad_request", f"{place or 'The body'}: {first['msg']}.")

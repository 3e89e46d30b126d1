"""The service's errors: a code that programs read, a sentence that people read, an HTTP status."""

from __future__ import annotations

import errno

STATUS = {
    "bad_request": 400,
    "unauthorised": 401,
    "token_ended": 401,
    "forbidden": 403,
    "not_found": 404,
    "unknown_volume": 404,
    "unknown_session": 404,
    "unknown_round": 404,
    "method_not_allowed": 405,
    "hash_mismatch": 409,
    "busy": 409,
    "conflict": 409,
    "nothing_to_undo": 409,
    "nothing_to_redo": 409,
    "too_large": 413,
    "over_quota": 413,
    "elsewhere": 421,
    "too_many": 429,
    "bad_volume": 422,
    "bad_prompt": 422,
    "bad_file": 422,
    "internal": 500,
    "stopping": 503,
    "overloaded": 503,
    "disk_full": 507,
}
"""HTTP status of each error code of the wire protocol."""

RETRY_SECONDS = {"busy": 2, "too_many": 5, "stopping": 10, "overloaded": 5, "disk_full": 60, "over_quota": 3600}
"""After so long it makes sense to send a refused request again (`Retry-After`), where nothing better is known."""

_NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class ServiceError(Exception):
    """A request that cannot be served. `code` is one of `STATUS`, `message` a sentence that says what to do."""

    def __init__(self, code: str, message: str, closes: bool = False, retry: int | None = None) -> None:
        """closes: the connection ends with the answer. retry: seconds after which it makes sense to try again."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.closes = closes
        self.retry = RETRY_SECONDS.get(code) if retry is None else retry

    @property
    def status(self) -> int:
        """The HTTP status that belongs to the code."""
        return STATUS[self.code]


def is_disk_full(error: OSError) -> bool:
    """True where the file system refused to grow a file (no space left, or the user's quota is used up)."""
    return error.errno in _NO_SPACE


def disk_full() -> ServiceError:
    """The answer when the worker's data folder cannot take more."""
    return ServiceError(
        "disk_full",
        "The worker's disk is full: delete volumes or sessions that nobody needs, or ask the administrator for space.",
    )

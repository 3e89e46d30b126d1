"""The audit log: who, from where, when, what kind of request, with which result. No id, no name of a file, no patient.

One JSON object a line, in files that are turned by size.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from memseg3d.service.users.account import Account

log = logging.getLogger(__name__)


class AuditLog:
    """One thread at a time uses it: that of the event loop."""

    def __init__(self, path: Path, file_bytes: int, files: int) -> None:
        """Raises OSError where the file cannot be written."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._handler = _Turning(path, maxBytes=file_bytes, backupCount=max(1, files - 1), encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(message)s"))

    def write(self, account: Account | None, address: str, request: str, status: int) -> None:
        """request: method and route, such as "DELETE /v1/sessions/{session_id}". A full disk keeps nobody from work."""
        words = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "user": None if account is None else account.name,
            "account": None if account is None else account.key or "shared",
            "address": address,
            "request": request,
            "status": status,
            "result": _result(status),
        }
        self._handler.handle(logging.LogRecord("audit", logging.INFO, "", 0, json.dumps(words), None, None))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


class _Turning(RotatingFileHandler):
    """Says once that it cannot write, and once that it can again."""

    _fails = _failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """logging calls this within the exception."""
        self._fails = True
        if not self._failed:
            log.error("the audit log cannot be written: %s", sys.exc_info()[1])

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self._failed, self._fails = self._fails, False
        super().emit(record)
        if self._failed and not self._fails:
            log.error("the audit log is written again; lines in between are lost")


def _result(status: int) -> str:
    if status < 400:
        return "done"
    return "failed" if status >= 500 else "refused"

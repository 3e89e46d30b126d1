"""The log as lines of JSON, for those who gather logs by machine."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """time (UTC), level, logger, message, and `error` with its traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        words = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            words["error"] = self.formatException(record.exc_info)
        return json.dumps(words)

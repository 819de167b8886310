"""Logs on stderr, as text for people or as JSON lines for collectors."""

from __future__ import annotations

import logging
import sys
import time
from typing import Literal

import msgspec

IDS = ("request_id", "trace_id")
"""What a line about one request carries: its own id, and that of the trace which it is part of."""


class TextFormatter(logging.Formatter):
    """One line for people: time, level, message, ids."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        ids = "".join(f" {name}={getattr(record, name)}" for name in IDS if hasattr(record, name))
        return super().format(record) + ids


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, ids."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in IDS if hasattr(record, name)},
        }
        return msgspec.json.encode(line).decode()


def configure(level: str, form: Literal["text", "json"], *, access: bool = False) -> None:
    """Send every log of this process to stderr; with `access`, a line for each request."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # uvicorn tells at `info` what our own start and end lines say better.
    quiet = logging.DEBUG if level == "debug" else logging.WARNING
    logging.getLogger("uvicorn.error").setLevel(quiet)
    told = logging.INFO if access or level == "debug" else logging.WARNING
    logging.getLogger("cannery.access").setLevel(told)
    logging.getLogger("asyncio").setLevel(logging.WARNING)

"""Our own log records on standard error; for stream TELEMETRY see ``runtime.telemetry``."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from dagnats.model.codec import encode
from dagnats.runtime.telemetry.logs import ROOT, to_wire
from dagnats.services.text import one_line


class LineFormatter(logging.Formatter):
    """One line for people: time, level, service, text, attributes. Safe for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        found = to_wire(record)
        exception = found.attributes.pop("exception", "")
        about = " ".join(f"{key}={value}" for key, value in found.attributes.items())
        clock = self.formatTime(record, "%H:%M:%S")
        line = f"{clock} {found.severity:<5} {found.service_name} {found.body}"
        line = one_line(f"{line} [{about}]" if about else line)
        return "\n    ".join([line, *map(one_line, exception.splitlines())])


class JsonFormatter(logging.Formatter):
    """One JSON object, the same that lies in TELEMETRY."""

    def format(self, record: logging.LogRecord) -> str:
        """The object on one line."""
        return encode(to_wire(record)).decode()


def configure(form: str, level: str, stream: TextIO | None = None) -> logging.Handler:
    """Send our records to standard error. Returns the handler, for taking it off again.

    Args:
        form: ``text`` or ``json``.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        stream: where to write instead.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else LineFormatter())
    logger = logging.getLogger(ROOT)
    logger.setLevel(level.upper())
    logger.propagate = False
    logger.addHandler(handler)
    return handler

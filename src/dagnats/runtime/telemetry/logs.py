"""Log records: what they say on the wire, and the way there.

Loggers of ours are named ``dagnats.<service>``. What a record is about goes in
``extra={"about": {...}}`` and becomes its attributes; while a task is worked on, its run and step
are added, and the span that is open.
"""

from __future__ import annotations

import itertools
import logging
import traceback
from collections.abc import Callable

from dagnats.model.codec import encode
from dagnats.model.records import LogRecord
from dagnats.model.times import format_time
from dagnats.runtime.telemetry.spool import Spool
from dagnats.telemetry.context import span_id_of, trace_id_of
from dagnats.telemetry.spans import SCOPE
from dagnats.wire import msgids, subjects
from dagnats.wire.publisher import Outgoing

ROOT = "dagnats"

BODY_LIMIT = 8192
"""Longest body of a record in characters, and longest value of an attribute."""

_SEVERITIES = {"DEBUG": "DEBUG", "INFO": "INFO", "WARNING": "WARN", "ERROR": "ERROR"}


def severity_of(record: logging.LogRecord) -> str:
    """The level in the words of ``dagnats logs``."""
    return _SEVERITIES.get(record.levelname, "ERROR" if record.levelno > logging.ERROR else "INFO")


def to_wire(record: logging.LogRecord, foreign: str = "server") -> LogRecord:
    """A record as it lies on the wire; never empty where readers need something.

    Args:
        record: of Python's logging.
        foreign: the service of records whose logger is none of ours.
    """
    scope = SCOPE.get()
    about: dict[str, object] = {**(scope.attributes if scope else {}), **_about(record)}
    traceparent = scope.traceparent if scope else str(about.pop("traceparent", ""))
    if record.exc_info and record.exc_info[0] is not None:
        about["exception"] = "".join(traceback.format_exception(*record.exc_info))
    root, _, service = record.name.partition(".")
    if root != ROOT:
        about["logger"] = record.name
    return LogRecord(
        timestamp=format_time(int(record.created * 1e9)),
        severity=severity_of(record),
        body=_text(record)[:BODY_LIMIT] or "(empty)",
        attributes={key: str(value)[-BODY_LIMIT:] for key, value in about.items()},
        trace_id=trace_id_of(traceparent),
        span_id=span_id_of(traceparent),
        service_name=(service.partition(".")[0] if root == ROOT else foreign) or "server",
    )


def _about(record: logging.LogRecord) -> dict[str, object]:
    about = getattr(record, "about", None)
    return dict(about) if isinstance(about, dict) else {}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return str(record.msg)  # The arguments do not fit the text; somebody else's mistake.


class LogHandler(logging.Handler):
    """Hands records to a spool; never makes the caller wait.

    Args:
        spool: where they wait until they are stored.
        foreign: the service of records whose logger is none of ours.
        also: takes every record as well.
    """

    def __init__(
        self,
        spool: Spool,
        foreign: str = "server",
        also: Callable[[LogRecord], None] | None = None,
    ) -> None:
        super().__init__()
        self._also = also
        self._spool = spool
        self._foreign = foreign
        self._numbers = itertools.count()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record; from any thread."""
        found = to_wire(record, self._foreign)
        number = next(self._numbers)
        self._spool.put(
            Outgoing(
                subject=subjects.log(found.service_name, found.severity),
                data=encode(found),
                msg_id=msgids.log(int(record.created * 1e9), number),
            )
        )
        if self._also is not None:
            self._also(found)


class OfTasks(logging.Filter):
    """Lets pass what is logged while a task is worked on, whoever logs it, and what we log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record passes."""
        return SCOPE.get() is not None or record.name.startswith(f"{ROOT}.")

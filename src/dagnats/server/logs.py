"""Our own log records: to standard error, and to stream TELEMETRY (wire.md 11.2).

Loggers are named ``dagnats.<service>``. What a record is about goes in ``extra={"about": {...}}``
and becomes its attributes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import traceback
from collections import deque
from typing import TextIO

from dagnats.errors import DagnatsError
from dagnats.model.codec import encode
from dagnats.model.records import LogRecord
from dagnats.model.times import format_time
from dagnats.services.text import one_line
from dagnats.wire import msgids, subjects
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores

ROOT = "dagnats"

BODY_LIMIT = 8192
"""Longest body of a record in characters, and longest value of an attribute."""

QUEUE_LIMIT = 10_000
"""Records kept for TELEMETRY while NATS is away; the oldest go first."""

BATCH = 200
RETRY_S = 1.0
FLUSH_S = 2.0

SEVERITIES = {"DEBUG": "DEBUG", "INFO": "INFO", "WARNING": "WARN", "ERROR": "ERROR"}


def severity_of(record: logging.LogRecord) -> str:
    """The level in the words of ``dagnats logs``."""
    return SEVERITIES.get(record.levelname, "ERROR" if record.levelno > logging.ERROR else "INFO")


def to_wire(record: logging.LogRecord) -> LogRecord:
    """A record as it lies on the wire; never empty where readers need something."""
    about: dict[str, object] = dict(getattr(record, "about", {}))
    if record.exc_info and record.exc_info[0] is not None:
        about["exception"] = "".join(traceback.format_exception(*record.exc_info))
    _, _, service = record.name.partition(".")
    return LogRecord(
        timestamp=format_time(int(record.created * 1e9)),
        severity=severity_of(record),
        body=record.getMessage()[:BODY_LIMIT] or "(empty)",
        attributes={key: str(value)[-BODY_LIMIT:] for key, value in about.items()},
        service_name=service.partition(".")[0] or "server",
    )


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


class Telemetry(logging.Handler):
    """Keeps records until they are stored in TELEMETRY; never makes the caller wait.

    Args:
        stores: the connection, provisioned.
    """

    def __init__(self, stores: Stores) -> None:
        super().__init__()
        self._stores = stores
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[int, Outgoing]] = deque(maxlen=QUEUE_LIMIT)
        self._count = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record; from any thread."""
        self._count += 1
        found = to_wire(record)
        message = Outgoing(
            subject=subjects.log(found.service_name, found.severity),
            data=encode(found),
            msg_id=msgids.log(int(record.created * 1e9), self._count),
        )
        self._waiting.append((self._count, message))
        with contextlib.suppress(RuntimeError):  # the loop is closed: this was the last word
            self._loop.call_soon_threadsafe(self._wake.set)

    def start(self) -> None:
        """Listen to our loggers and begin to store."""
        logging.getLogger(ROOT).addHandler(self)
        self._task = asyncio.create_task(self._run(), name="telemetry")

    async def stop(self) -> None:
        """Store what waits, unless that takes too long, and listen no more."""
        logging.getLogger(ROOT).removeHandler(self)
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(TimeoutError, DagnatsError):
            async with asyncio.timeout(FLUSH_S):
                while self._waiting:
                    await self._store()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                try:
                    await self._store()
                except DagnatsError:
                    # NATS is away, and a log line about it would wait here as well.
                    await asyncio.sleep(RETRY_S)

    async def _store(self) -> None:
        batch = [self._waiting[at] for at in range(min(BATCH, len(self._waiting)))]
        await self._stores.publisher.publish_all([message for _, message in batch])
        last = batch[-1][0]
        while self._waiting and self._waiting[0][0] <= last:
            self._waiting.popleft()


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

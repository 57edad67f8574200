"""The log of server and workers, as it lies in stream TELEMETRY."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec import Struct

from dagnats.errors import UsageError
from dagnats.model.records import LogRecord
from dagnats.model.times import read_time
from dagnats.services.session import Session
from dagnats.wire.subjects import is_key

LEVELS = ("ERROR", "WARN", "INFO", "DEBUG")
MAX_TAIL = 10_000
"""The most records that ``logs --tail`` shows (``cli-reference.txt``)."""


class LogQuery(Struct, frozen=True, kw_only=True):
    """Which records are wanted.

    Args:
        level: one of ``LEVELS``, in any case; empty: all.
        service: exact name; empty: all.
        run: id of a run, or the beginning of one, that a record is about; empty: all.
        search: text in the body, in any case; empty: all.
        since: not before this time, ns since 1970.
    """

    level: str = ""
    service: str = ""
    run: str = ""
    search: str = ""
    since: int | None = None

    def accepts(self, record: LogRecord) -> bool:
        """Whether a record is wanted; what the subject says is checked before."""
        if self.run and not record.attributes.get("run_id", "").startswith(self.run):
            return False
        if self.search and self.search.lower() not in record.body.lower():
            return False
        stamp = read_time(record.timestamp)
        return self.since is None or stamp is None or stamp >= self.since


def logs_subject(query: LogQuery) -> str:
    """The subject that holds the wanted levels and services.

    Raises:
        UsageError: the level is unknown, or the service no clean name.
    """
    level = query.level.upper()
    level = "WARN" if level == "WARNING" else level
    if level and level not in LEVELS:
        raise UsageError(f'unknown level "{query.level}"; valid: {", ".join(LEVELS)}')
    if query.service and (not is_key(query.service) or "." in query.service):
        raise UsageError(f'"{query.service[:64]}" is not the name of a service')
    # Levels lie in lower case on the wire (``wire.md`` 11.2).
    if level:
        return f"telemetry.logs.{query.service or '*'}.{level.lower()}"
    return f"telemetry.logs.{query.service}.>" if query.service else "telemetry.logs.>"


async def tail_logs(session: Session, query: LogQuery, count: int) -> list[LogRecord]:
    """The last ``count`` wanted records, oldest first, whatever the size of the stream.

    Raises:
        UsageError: ``count`` is not within 1..10000, or the query makes no sense.
    """
    if count < 1:
        raise UsageError("--tail must be a positive integer")
    if count > MAX_TAIL:
        raise UsageError(f"--tail exceeds maximum ({MAX_TAIL})")
    return await session.stores.logs.tail(logs_subject(query), count, query.accepts)


async def search_logs(session: Session, query: LogQuery, limit: int = 100) -> list[LogRecord]:
    """The newest wanted records since ``query.since``, oldest first.

    Raises:
        UsageError: the limit is not positive, or the query makes no sense.
    """
    if limit < 1:
        raise UsageError("--limit must be a positive integer")
    subject, since = logs_subject(query), query.since or 0
    return await session.stores.logs.tail(subject, limit, query.accepts, since)


class LogLine(Struct, frozen=True):
    """A record and its place in the stream."""

    sequence: int
    record: LogRecord


async def log_lines(
    session: Session, after: int | None = None, back: int = 0
) -> AsyncIterator[LogLine]:
    """Every record of every service, for ever; nothing is missed and nothing comes twice.

    Args:
        session: the connection.
        after: begin behind this sequence; ``None``: so many messages back from the end.
        back: how many.
    """
    start = after if after is not None else max(0, await session.stores.logs.end() - back)
    async for sequence, record in session.stores.logs.numbered(logs_subject(LogQuery()), start):
        yield LogLine(sequence, record)


async def follow_logs(session: Session, query: LogQuery) -> AsyncIterator[LogRecord]:
    """The wanted records from now on, for ever.

    Raises:
        UsageError: the query makes no sense.
    """
    async for record in session.stores.logs.follow(logs_subject(query)):
        if query.accepts(record):
            yield record

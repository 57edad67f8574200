"""What was told and fired: log records, and the fires of triggers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from dagnats.errors import InvalidError
from dagnats.model.codec import decode, encode
from dagnats.model.records import LogRecord
from dagnats.model.trigger import TriggerFire
from dagnats.wire import subjects
from dagnats.wire.connection import Bus
from dagnats.wire.direct import walk
from dagnats.wire.errors import MissingError
from dagnats.wire.publisher import Outgoing
from dagnats.wire.readers import follow_subject

FIRES = "TRIGGER_HISTORY"
LOGS = "TELEMETRY"
WINDOW = 1_000
"""Sequences looked at together when reading backwards."""

T = TypeVar("T")


async def newest(
    bus: Bus,
    stream: str,
    pattern: str,
    count: int,
    take: Callable[[bytes], T | None],
    since: int = 0,
) -> list[T]:
    """The last ``count`` messages of a subject that ``take`` makes something of, oldest first.

    Args:
        bus: the connection.
        stream: where; one that does not exist is empty.
        pattern: subject pattern.
        count: how many.
        take: makes a value of a body, or ``None`` if it is not wanted.
        since: nothing stored before this time, ns since 1970.
    """
    try:
        state: dict[str, Any] = (await bus.api(f"STREAM.INFO.{stream}"))["state"]
    except MissingError:
        return []
    found: list[T] = []
    high, width = int(state["last_seq"]), WINDOW
    while high >= int(state["first_seq"]) and len(found) < count and state["messages"]:
        low = max(int(state["first_seq"]), high - width + 1)
        batch, early = await _window(bus, stream, pattern, (low, high), take, since)
        found = batch + found
        if early:
            break
        # Where a subject is rare, look further at a time.
        high, width = low - 1, min(width * 2, 64 * WINDOW)
    return found[-count:]


async def _window(
    bus: Bus,
    stream: str,
    pattern: str,
    span: tuple[int, int],
    take: Callable[[bytes], T | None],
    since: int,
) -> tuple[list[T], bool]:
    """What is wanted of a span of sequences, and whether the span reaches back beyond ``since``."""
    found: list[T] = []
    early = False
    async for msg in walk(bus, stream, pattern, span[0] - 1):
        if msg.seq > span[1]:
            break
        if since and msg.timestamp_ns < since:
            early = True
            continue
        value = take(msg.data)
        if value is not None:
            found.append(value)
    return found, early


class Fires:
    """The history of triggers.

    Args:
        bus: the connection.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def append(self, fire: TriggerFire, msg_id: str = "") -> None:
        """Record a fire; ``msg_id`` makes a repeat harmless."""
        subject = subjects.trigger_fire(fire.trigger_id)
        await self._bus.publisher.publish(Outgoing(subject, encode(fire), msg_id))

    async def newest(self, trigger_id: str, count: int) -> list[TriggerFire]:
        """The last ``count`` fires of a trigger, newest first."""
        pattern = subjects.trigger_fire(trigger_id)
        found = await newest(self._bus, FIRES, pattern, count, _fire)
        return found[::-1]


class Logs:
    """The log of server and workers.

    Args:
        bus: the connection.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def append(self, record: LogRecord, msg_id: str = "") -> None:
        """Store a record; ``msg_id`` makes a repeat harmless."""
        subject = subjects.log(record.service_name, record.severity)
        await self._bus.publisher.publish(Outgoing(subject, encode(record), msg_id))

    async def tail(
        self,
        pattern: str,
        count: int,
        accepts: Callable[[LogRecord], bool],
        since: int = 0,
    ) -> list[LogRecord]:
        """The last ``count`` records that are accepted, oldest first.

        Args:
            pattern: subject pattern.
            count: how many.
            accepts: whether a record is wanted.
            since: nothing stored before this time, ns since 1970.
        """

        def take(data: bytes) -> LogRecord | None:
            record = _log(data)
            return record if record is not None and accepts(record) else None

        return await newest(self._bus, LOGS, pattern, count, take, since)

    async def follow(self, pattern: str) -> AsyncIterator[LogRecord]:
        """Records from now on."""
        async for _, record in self.numbered(pattern, await self.end()):
            yield record

    async def end(self) -> int:
        """The sequence of the newest message, of whatever kind."""
        info = await self._bus.api(f"STREAM.INFO.{LOGS}")
        return int(info["state"]["last_seq"])

    async def numbered(self, pattern: str, after: int) -> AsyncIterator[tuple[int, LogRecord]]:
        """Records above a sequence with theirs, those to come as well."""
        async for msg in follow_subject(self._bus, LOGS, pattern, after):
            record = _log(msg.data)
            if record is not None:
                yield msg.seq, record


def _fire(data: bytes) -> TriggerFire | None:
    try:
        return decode(data, TriggerFire)
    except InvalidError:
        return None


def _log(data: bytes) -> LogRecord | None:
    try:
        return decode(data, LogRecord)
    except InvalidError:
        return None

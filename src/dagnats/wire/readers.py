"""Readers of the streams: histories of runs, and dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from msgspec import Struct
from nats.aio.msg import Msg

from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.event import Event
from dagnats.model.records import DeadLetter
from dagnats.model.task import TaskPayload
from dagnats.model.times import format_time
from dagnats.wire import subjects
from dagnats.wire.connection import Bus
from dagnats.wire.direct import Stored, walk

HISTORY = "WORKFLOW_HISTORY"
DEAD = "DEAD_LETTERS"
POLL = 0.5
"""Seconds between looks at a stream that is followed; a message wakes the follower at once."""


class StoredEvent(Struct, frozen=True):
    """An event with its place in the log and its time there (ns since 1970)."""

    seq: int
    timestamp_ns: int
    event: Event


async def follow_subject(bus: Bus, stream: str, pattern: str, after: int) -> AsyncIterator[Stored]:
    """Messages above ``after``, those to come as well. Reads by sequence, so nothing is missed."""
    woken = asyncio.Event()

    async def wake(msg: Msg) -> None:
        del msg
        woken.set()

    subscription = await bus.nc.subscribe(pattern, cb=wake)
    try:
        while True:
            woken.clear()
            async for msg in walk(bus, stream, pattern, after):
                after = msg.seq
                yield msg
            try:
                async with asyncio.timeout(POLL):
                    await woken.wait()
            except TimeoutError:
                continue
    finally:
        await subscription.unsubscribe()


class History:
    """The events of runs.

    Args:
        bus: the connection.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def read(self, run_id: str, after_seq: int = 0) -> list[StoredEvent]:
        """The events of a run with a sequence above ``after_seq``, in order."""
        pattern = subjects.history(run_id)
        return [
            stored
            async for msg in walk(self._bus, HISTORY, pattern, after_seq)
            if (stored := _stored(msg)) is not None
        ]

    async def first(self, run_id: str) -> StoredEvent | None:
        """The first event of a run that is still kept."""
        async for msg in walk(self._bus, HISTORY, subjects.history(run_id), 0, first_page=1):
            return _stored(msg)
        return None

    async def follow(self, run_id: str, after_seq: int = 0) -> AsyncIterator[StoredEvent]:
        """The events of a run, those to come as well."""
        pattern = subjects.history(run_id)
        async for msg in follow_subject(self._bus, HISTORY, pattern, after_seq):
            stored = _stored(msg)
            if stored is not None:
                yield stored


class DeadLetters:
    """The dead letters.

    Args:
        bus: the connection.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def scan(self, after_seq: int = 0, run_id: str = "") -> AsyncIterator[DeadLetter]:
        """Dead letters above ``after_seq``, oldest first, of one run if given."""
        async for msg in walk(self._bus, DEAD, "dead.>", after_seq):
            letter = _dead_letter(msg)
            if run_id in ("", letter.run_id):
                yield letter

    async def follow(self, after_seq: int = 0) -> AsyncIterator[DeadLetter]:
        """Dead letters above ``after_seq``, those to come as well."""
        async for msg in follow_subject(self._bus, DEAD, "dead.>", after_seq):
            yield _dead_letter(msg)

    async def newest(self, count: int) -> list[DeadLetter]:
        """The last ``count`` dead letters, oldest of them first."""
        state = (await self._bus.api(f"STREAM.INFO.{DEAD}"))["state"]
        width = count
        while True:
            # Discarded letters leave holes, so look further back until there are enough.
            after = max(state["first_seq"] - 1, state["last_seq"] - width)
            found = [letter async for letter in self.scan(after)]
            if len(found) >= count or after < state["first_seq"]:
                return found[-count:]
            width *= 4

    async def get(self, seq: int) -> DeadLetter | None:
        """The dead letter of that sequence, if it is there."""
        async for msg in walk(self._bus, DEAD, "dead.>", seq - 1, first_page=1):
            letter = _dead_letter(msg)
            return letter if letter.sequence == seq else None
        return None

    async def delete(self, seq: int) -> None:
        """Take a dead letter out.

        Raises:
            MissingError, ApiError: it is not there.
        """
        await self._bus.api(f"STREAM.MSG.DELETE.{DEAD}", {"seq": seq})

    async def count(self) -> int:
        """How many there are."""
        return int((await self._bus.api(f"STREAM.INFO.{DEAD}"))["state"]["messages"])


def _stored(msg: Stored) -> StoredEvent | None:
    try:
        event = decode(msg.data, Event)
    except InvalidError:
        return None
    return StoredEvent(msg.seq, msg.timestamp_ns, event)


def _dead_letter(msg: Stored) -> DeadLetter:
    """``wire.md`` 10.3; a message without our headers is read from its body, as older ones are."""
    headers = msg.headers
    prefix = "Dagnats-Dlq-"
    body = TaskPayload()
    if f"{prefix}Run-Id" not in headers:
        try:
            body = decode(msg.data, TaskPayload)
        except InvalidError:
            body = TaskPayload()
    kept = {
        name: [headers[name]]
        for name in (f"{prefix}Task-Subject", f"{prefix}Attempts")
        if name in headers
    }
    count = headers.get(f"{prefix}Delivery-Count", "")
    return DeadLetter(
        sequence=msg.seq,
        subject=msg.subject,
        run_id=headers.get(f"{prefix}Run-Id", body.run_id),
        step_id=headers.get(f"{prefix}Step-Id", body.step_id),
        task=headers.get(f"{prefix}Task", ""),
        error=headers.get(f"{prefix}Error", ""),
        timestamp=format_time(msg.timestamp_ns),
        body=msg.data,
        headers=kept,
        delivery_count=int(count) if count.isdigit() else 0,
        consumer=headers.get(f"{prefix}Consumer", ""),
        body_preserved=bool(kept),
    )

"""Messages of other programs: as they pass by, and from streams that are not ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats.errors
from msgspec import Struct
from nats.aio.msg import Msg

from dagnats.model.times import SECOND, format_time
from dagnats.wire.connection import Bus
from dagnats.wire.delayed import delayed
from dagnats.wire.errors import MissingError
from dagnats.wire.features import Features

ACK_WAIT = 10 * SECOND
"""When a message comes again whose taker was killed; taking one is a matter of milliseconds."""

LEAVE_S = 2.0
"""How long messages that have arrived may take when a feed is stopped, in seconds."""

HELD = 65_536
"""Messages of one feed that may wait here; beyond it the client drops them."""


class Passing(Struct, frozen=True):
    """A message without a stream."""

    subject: str
    data: bytes
    headers: dict[str, str]


class CoreFeed:
    """Messages as they pass by: one server of the group gets each, and nobody keeps them.

    Args:
        bus: the connection.
        pattern: subject pattern.
        group: name of the queue group.
    """

    def __init__(self, bus: Bus, pattern: str, group: str) -> None:
        self._bus = bus
        self._pattern = pattern
        self._group = group
        self._arrived: list[Passing] = []
        self._arrival = asyncio.Event()
        self._idle = asyncio.Event()

    async def start(self) -> None:
        """Subscribe."""
        self._subscription = await self._bus.nc.subscribe(
            self._pattern, queue=self._group, cb=self._on_message, pending_msgs_limit=HELD
        )
        await self._bus.nc.flush()

    async def _on_message(self, msg: Msg) -> None:
        self._arrived.append(Passing(msg.subject, msg.data, dict(msg.headers or {})))
        self._arrival.set()

    async def take(self) -> list[Passing]:
        """Everything that has arrived; waits until there is something.

        Who asks again has dealt with what it got before.
        """
        while not self._arrived:
            self._idle.set()
            self._arrival.clear()
            await self._arrival.wait()
        self._idle.clear()
        taken, self._arrived = self._arrived, []
        return taken

    async def stop(self) -> None:
        """Leave the group, and wait a moment until what has arrived is dealt with."""
        if self._bus.nc.is_connected:
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                await self._subscription.drain()
        if self._arrived:
            self._idle.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self._idle.wait()


@asynccontextmanager
async def reply_to(
    bus: Bus, pattern: str, answer: Callable[[str, bytes], Awaitable[bytes]]
) -> AsyncGenerator[None]:
    """Answer requests on a pattern, one after the other, while the block runs.

    Args:
        bus: the connection.
        pattern: subject pattern.
        answer: given the subject and body of a request; never raises.
    """

    async def on_message(msg: Msg) -> None:
        reply = await answer(msg.subject, msg.data)
        if msg.reply:
            await bus.nc.publish(msg.reply, reply)

    subscription = await bus.nc.subscribe(pattern, cb=on_message)
    try:
        await bus.nc.flush()
        yield
    finally:
        if bus.nc.is_connected:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()


async def ensure_durable(
    bus: Bus, stream: str, name: str, filters: list[str], since_ns: int | None
) -> None:
    """Make a durable consumer, or give the one there is these filters; its position stays.

    Args:
        bus: the connection.
        stream: of which stream.
        name: of the consumer.
        filters: subject patterns within those of the stream, not overlapping.
        since_ns: a new consumer begins with what was stored then, ns since 1970; ``None``: now.
            Work queues hand out everything they hold (nats-server allows nothing else).

    Raises:
        ApiError: the stream does not allow it, e.g. a work queue that has a consumer already.
    """
    try:
        present = (await bus.api(f"CONSUMER.INFO.{stream}.{name}"))["config"]
    except MissingError:
        config: dict[str, Any] = {
            "durable_name": name,
            "name": name,
            "ack_policy": "explicit",
            "ack_wait": ACK_WAIT,
            "max_deliver": -1,
            **await _from(bus, stream, since_ns),
        }
    else:
        now: list[str] = present.get("filter_subjects") or [present.get("filter_subject", "")]
        if sorted(now) == sorted(filters):
            return
        config = {key: value for key, value in present.items() if not key.startswith("filter")}
    config |= {"filter_subject": filters[0]} if len(filters) == 1 else {"filter_subjects": filters}
    await bus.api(
        f"CONSUMER.DURABLE.CREATE.{stream}.{name}", {"stream_name": stream, "config": config}
    )


async def _from(bus: Bus, stream: str, since_ns: int | None) -> dict[str, str]:
    if (await bus.api(f"STREAM.INFO.{stream}"))["config"].get("retention") == "workqueue":
        return {"deliver_policy": "all"}
    if since_ns is None:
        return {"deliver_policy": "new"}
    return {"deliver_policy": "by_start_time", "opt_start_time": format_time(since_ns)}


async def drop_durable(bus: Bus, stream: str, name: str) -> None:
    """Take a durable consumer away; one that is not there is no error."""
    with contextlib.suppress(MissingError):
        await bus.api(f"CONSUMER.DELETE.{stream}.{name}")


async def schedule(bus: Bus, place: str, target: str, due_ns: int, body: bytes) -> None:
    """Let NATS publish ``body`` on ``target`` at ``due_ns``; replaces what is scheduled there.

    Args:
        bus: the connection.
        place: subject in SLEEP_TIMERS under which the order lies.
        target: subject in SLEEP_TIMERS.
        due_ns: when, ns since 1970.
        body: what.
    """
    await bus.publisher.publish(delayed(place, target, due_ns, body, await Features.of(bus)))

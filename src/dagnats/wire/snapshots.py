"""Streams as files: JetStream's own snapshots, with every sequence and time as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
from nats.aio.msg import Msg

from dagnats.errors import InvalidError, UnreachableError
from dagnats.wire.connection import Bus

CHUNK = 128 * 1024
"""Bytes sent at once."""

WAIT_S = 10.0
"""Seconds a chunk, or its acknowledgement, may take."""


async def snapshot(bus: Bus, stream: str) -> AsyncIterator[dict[str, Any] | bytes]:
    """A stream with its consumers: first its configuration and state, then its data in pieces.

    Raises:
        UnreachableError: the server stopped in the middle.
    """
    inbox = bus.nc.new_inbox()
    chunks: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await bus.nc.subscribe(inbox, cb=chunks.put)
    try:
        body = {"deliver_subject": inbox, "chunk_size": CHUNK}
        answer = await bus.api(f"STREAM.SNAPSHOT.{stream}", body)
        yield {"config": answer["config"], "state": answer["state"]}
        while True:
            msg = await _next(chunks, stream)
            if not msg.data:
                return
            if msg.reply:
                await bus.nc.publish(msg.reply)
            yield msg.data
    finally:
        await subscription.unsubscribe()


async def _next(chunks: asyncio.Queue[Msg], stream: str) -> Msg:
    try:
        async with asyncio.timeout(WAIT_S):
            return await chunks.get()
    except TimeoutError:
        raise UnreachableError(f"the snapshot of {stream} stopped in the middle") from None


async def restore(bus: Bus, about: dict[str, Any], data: Iterable[bytes]) -> None:
    """Make a stream from a snapshot. It keeps its messages whatever their age.

    Args:
        bus: the connection.
        about: configuration and state, as :func:`snapshot` gave them.
        data: the pieces.

    Raises:
        InvalidError: the server refused it.
    """
    config = about["config"] | {"max_age": 0, "num_replicas": 1, "max_bytes": -1}
    for key in ("placement", "allow_msg_schedules", "allow_msg_ttl"):
        config.pop(key, None)  # Nothing in it may come due, move or expire any more.
    name = config["name"]
    body = {"config": config, "state": about["state"]}
    target = (await bus.api(f"STREAM.RESTORE.{name}", body))["deliver_subject"]
    for piece in data:
        await _sent(bus, name, target, piece)
    await _sent(bus, name, target, b"")


async def _sent(bus: Bus, name: str, target: str, piece: bytes) -> None:
    answer = await bus.request(target, piece, WAIT_S)
    if answer:
        error = msgspec.json.decode(answer).get("error")
        if error:
            raise InvalidError(f"cannot restore {name}: {error.get('description', error)}")

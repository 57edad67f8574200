"""Following a bucket by sequence: nothing is missed, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Generic, TypeVar

from msgspec import Struct
from nats.aio.msg import Msg

from dagnats.wire.connection import Bus
from dagnats.wire.direct import walk
from dagnats.wire.kv import Bucket, Deleted, Entry

T = TypeVar("T")

LOOK_S = 2.0
"""How often a bucket is looked at without being woken, in seconds: a wake-up may get lost."""

PAGE = 500
"""Entries handed on at once."""


class Changes(Struct, Generic[T], frozen=True):
    """What was written to a bucket up to a sequence of its stream."""

    entries: list[Entry[T] | Deleted]
    seq: int


async def mark(bus: Bus, bucket: Bucket[T]) -> int:
    """The sequence of the last write: behind it is only what comes."""
    info = await bus.api(f"STREAM.INFO.KV_{bucket.name}")
    return int(info["state"]["last_seq"])


async def follow_bucket(
    bus: Bus, bucket: Bucket[T], after: int, pattern: str = ">", pace_s: float = 0.1
) -> AsyncGenerator[Changes[T]]:
    """What is written behind a sequence, for ever, in batches.

    A key written several times between two looks comes once, as it was written last.

    Args:
        bus: the connection.
        bucket: what is followed.
        after: the sequence.
        pattern: subject pattern of the keys.
        pace_s: seconds between two looks at least: a burst is read in few of them.
    """
    woken = asyncio.Event()

    async def wake(msg: Msg) -> None:
        del msg
        woken.set()

    subscription = await bus.nc.subscribe(f"$KV.{bucket.name}.{pattern}", cb=wake)
    try:
        while True:
            woken.clear()
            async for batch in _behind(bus, bucket, after, pattern):
                after = batch.seq
                yield batch
            await asyncio.sleep(pace_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await woken.wait()
    finally:
        await subscription.unsubscribe()


async def _behind(
    bus: Bus, bucket: Bucket[T], after: int, pattern: str
) -> AsyncIterator[Changes[T]]:
    found: list[Entry[T] | Deleted] = []
    subject = f"$KV.{bucket.name}.{pattern}"
    async for msg in walk(bus, f"KV_{bucket.name}", subject, after):
        after, entry = bucket.stored(msg)
        if entry is not None:
            found.append(entry)
        if len(found) == PAGE:
            yield Changes(found, after)
            found = []
    if found:
        yield Changes(found, after)

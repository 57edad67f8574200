"""Reading what a stream holds, many messages with one request (``perf.md`` G).

Every listing of the product goes through here, so a message costs as little as it can: bytes come
straight from the connection, and the next page is asked for before the last one is used up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import nats.errors

from dagnats.errors import UnreachableError
from dagnats.model.times import read_time
from dagnats.wire.connection import Bus

ANSWER_S = 5.0
"""How long a server may say nothing before it counts as gone."""

FIRST_PAGE = 256
PAGE = 1024
"""Messages asked for at once: few at first, since many readers stop early."""


_MESSAGE = b"NATS/1.0\r\n"


class Stored:
    """A message and its place in the stream; its headers are looked at when they are asked for."""

    __slots__ = ("_block", "data")

    def __init__(self, data: bytes, block: bytes) -> None:
        self.data = data
        self._block = block

    @property
    def subject(self) -> str:
        """What it was published on."""
        return self._last(b"\r\nNats-Subject:")

    @property
    def seq(self) -> int:
        """Its place in the stream."""
        return int(self._last(b"\r\nNats-Sequence:"))

    @property
    def timestamp_ns(self) -> int:
        """When it was stored, ns since 1970; 0 if that cannot be read."""
        return read_time(self._last(b"\r\nNats-Time-Stamp:")) or 0

    @property
    def headers(self) -> dict[str, str]:
        """All of them."""
        lines = self._block.decode(errors="replace").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:])
        return {key: value.strip() for key, colon, value in pairs if colon}

    def has(self, name: bytes) -> bool:
        """Whether there is such a header."""
        return b"\r\n%s:" % name in self._block

    def _last(self, start: bytes) -> str:
        # The server's own headers come after those of the message, which cannot pretend to be them.
        at = self._block.rfind(start)
        if at < 0:
            return ""
        begin = at + len(start)
        end = self._block.find(b"\r\n", begin)
        return self._block[begin:end].decode(errors="replace").strip()


async def fetch(bus: Bus, stream: str, body: dict[str, Any]) -> list[Stored]:
    """The messages that one batched direct get answers with.

    Raises:
        UnreachableError: the server fell silent.
    """
    found: list[Stored] = []
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def receive(subject: str, reply: str, data: bytes, block: bytes) -> None:
        del subject, reply
        if ended.done():
            return
        if block.startswith(_MESSAGE):
            found.append(Stored(data, block))
        else:  # The status with which an answer ends.
            ended.set_result(None)

    inbox = bus.nc.new_inbox()
    lane = await bus.nc.open_lane(inbox, receive)
    try:
        await bus.nc.publish(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(body), inbox)
        await _answered(ended, found, stream)
    finally:
        bus.nc.close_lane(lane)
        if bus.nc.is_connected:
            with contextlib.suppress(nats.errors.Error):
                await lane.unsubscribe()
    return found


async def _answered(ended: asyncio.Future[None], found: list[Stored], stream: str) -> None:
    while not ended.done():
        before = len(found)
        await asyncio.wait({ended}, timeout=ANSWER_S)
        if not ended.done() and len(found) == before:
            raise UnreachableError(f"no answer from {stream}: timed out")


async def walk(
    bus: Bus, stream: str, pattern: str, after: int, first_page: int = FIRST_PAGE
) -> AsyncGenerator[Stored]:
    """Messages of a subject pattern with a sequence above ``after``, in order.

    Args:
        bus: the connection.
        stream: where.
        pattern: subject pattern.
        after: sequence; 0: from the beginning.
        first_page: how many are probably wanted.
    """
    size, ahead = first_page, None
    batch = await fetch(bus, stream, _request(pattern, after, size))
    try:
        while True:
            full = len(batch) == size
            if full and size == PAGE:
                ahead = asyncio.ensure_future(
                    fetch(bus, stream, _request(pattern, batch[-1].seq, PAGE))
                )
            for message in batch:
                yield message
            if not full:
                return
            after, size = batch[-1].seq, PAGE
            batch = await (ahead or fetch(bus, stream, _request(pattern, after, size)))
            ahead = None
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)


def _request(pattern: str, after: int, count: int) -> dict[str, Any]:
    return {"seq": after + 1, "next_by_subj": pattern, "batch": count}

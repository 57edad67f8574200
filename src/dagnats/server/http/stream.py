"""Server-sent events: a line now and then while nothing happens, and an end when we stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from msgspec import Struct
from starlette.responses import StreamingResponse

KEEPALIVE_S = 15.0
"""Seconds of silence after which a comment is sent: proxies drop what is silent."""

MEDIA = "text/event-stream"


class Item(Struct, frozen=True):
    """One event: its name, its data (one line), and the id a client may come back with."""

    name: str
    data: bytes
    id: str = ""

    def encoded(self) -> bytes:
        """The event as it is sent."""
        number = f"id: {self.id}\n" if self.id else ""
        return f"{number}event: {self.name}\ndata: ".encode() + self.data + b"\n\n"


def event_stream(
    items: AsyncIterator[Item],
    closing: asyncio.Event,
    keepalive_s: float = KEEPALIVE_S,
    beat: bytes = b": still here\n\n",
) -> StreamingResponse:
    """An answer that lasts as long as ``items`` do, or until the client or the server leaves.

    Args:
        items: what is sent.
        closing: set when the server stops.
        keepalive_s: silence, in seconds, after which ``beat`` is sent.
        beat: the sign of life.
    """
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(_parts(items, closing, keepalive_s, beat), 200, headers, MEDIA)


async def _parts(
    items: AsyncIterator[Item], closing: asyncio.Event, keepalive_s: float, beat: bytes
) -> AsyncIterator[bytes]:
    coming = asyncio.ensure_future(_next(items))
    ending = asyncio.create_task(closing.wait())
    try:
        yield beat if beat.startswith(b":") else b""  # The head goes out at once.
        while True:
            await asyncio.wait(
                {coming, ending}, timeout=keepalive_s, return_when=asyncio.FIRST_COMPLETED
            )
            if ending.done():
                return
            if not coming.done():
                yield beat
                continue
            item = coming.result()
            if item is None:
                return
            yield item.encoded()
            coming = asyncio.ensure_future(_next(items))
    finally:
        coming.cancel()
        ending.cancel()
        await asyncio.gather(coming, ending, return_exceptions=True)


async def _next(items: AsyncIterator[Item]) -> Item | None:
    return await anext(items, None)

"""Work for a client that may leave while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request

T = TypeVar("T")


async def while_there(
    request: Request, closing: asyncio.Event, work: Awaitable[T], nothing: T
) -> T:
    """The result of ``work``, which ends when the client leaves or the server stops.

    Args:
        request: whose body has been read.
        closing: set when the server stops.
        work: what is done.
        nothing: the result where it was ended.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_gone(request))
    ending = asyncio.create_task(closing.wait())
    tasks = (working, leaving, ending)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else nothing
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue

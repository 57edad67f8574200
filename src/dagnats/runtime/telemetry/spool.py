"""Messages that nobody waits for: kept until they are stored, the oldest given up first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque

from dagnats.errors import DagnatsError
from dagnats.runtime.keeper import Keeper
from dagnats.wire.publisher import Outgoing, Publisher

log = logging.getLogger("dagnats.telemetry")

QUEUE_LIMIT = 10_000
"""Messages kept while NATS is away; the oldest go first."""

BATCH = 200
RETRY_S = 1.0
FLUSH_S = 2.0


class Spool:
    """Stores messages in the background.

    Args:
        publisher: where they go.
        name: of the background task.
    """

    def __init__(self, publisher: Publisher, name: str) -> None:
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[int, Outgoing]] = deque(maxlen=QUEUE_LIMIT)
        self._count = 0
        self._wake = asyncio.Event()
        self._asked = False
        self._keeper = Keeper(name, self._run, log)

    def put(self, message: Outgoing) -> None:
        """Keep a message until it is stored; from any thread, never waits."""
        self._count += 1
        self._waiting.append((self._count, message))
        if not self._asked:
            self._asked = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: this was the last word
                self._loop.call_soon_threadsafe(self._wake.set)

    def start(self) -> None:
        """Begin to store."""
        self._keeper.start()

    async def stop(self) -> None:
        """Store what waits, unless that takes too long, and end."""
        await self._keeper.stop()
        with contextlib.suppress(TimeoutError, DagnatsError):
            async with asyncio.timeout(FLUSH_S):
                while self._waiting:
                    await self._store()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._asked = False  # Before looking: what is put from now on asks again.
            while self._waiting:
                try:
                    await self._store()
                except DagnatsError:
                    # NATS is away, and a log line about it would wait here as well.
                    await asyncio.sleep(RETRY_S)

    async def _store(self) -> None:
        batch = [self._waiting[at] for at in range(min(BATCH, len(self._waiting)))]
        await self._publisher.publish_all([message for _, message in batch])
        last = batch[-1][0]
        while self._waiting and self._waiting[0][0] <= last:
            self._waiting.popleft()

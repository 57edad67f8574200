"""Events of all running tasks, published together: one batch per turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dagnats.errors import DagnatsError
from dagnats.wire.publisher import Outgoing

Publish = Callable[[Sequence[Outgoing]], Awaitable[Any]]


class Posted:
    """A message on its way. ``await`` gives None when it is stored, else why it is not."""

    __slots__ = ("_outbox", "_turn", "future")

    def __init__(self, outbox: Outbox, turn: int, future: asyncio.Future[DagnatsError | None]):
        self._outbox = outbox
        self._turn = turn
        self.future = future

    @property
    def waits(self) -> bool:
        """Whether it has not left yet: what is posted now goes in the same batch, behind it."""
        return self._turn == self._outbox.turn

    @property
    def stored(self) -> bool:
        """Whether the stream has acknowledged it."""
        return self.future.done() and self.future.result() is None


class Outbox:
    """Collects messages for a turn of the loop and publishes them as one batch.

    Args:
        publish: publishes a batch and waits for its acknowledgements.
    """

    def __init__(self, publish: Publish) -> None:
        self.turn = 0
        self._publish = publish
        self._batch: list[tuple[Outgoing, asyncio.Future[DagnatsError | None]]] = []
        self._running: set[asyncio.Task[None]] = set()

    def post(self, message: Outgoing) -> Posted:
        """Send ``message`` with this turn's batch."""
        loop = asyncio.get_running_loop()
        if not self._batch:
            loop.call_soon(self._flush)
        future: asyncio.Future[DagnatsError | None] = loop.create_future()
        self._batch.append((message, future))
        return Posted(self, self.turn, future)

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        self.turn += 1
        task = asyncio.create_task(self._send(batch), name="dagnats-outbox")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _send(
        self, batch: list[tuple[Outgoing, asyncio.Future[DagnatsError | None]]]
    ) -> None:
        error: DagnatsError | None = None
        try:
            await self._publish([message for message, _ in batch])
        except DagnatsError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            error = DagnatsError(f"cannot publish: {failure or type(failure).__name__}")
        for _, future in batch:
            if not future.done():
                future.set_result(error)

    async def drain(self) -> None:
        """Wait for what is on its way."""
        while self._batch or self._running:
            await asyncio.sleep(0)
            if self._running:
                await asyncio.wait(tuple(self._running))

"""A background task that is started again when it fails."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from dagnats.errors import DagnatsError

REPEAT_S = 60.0
"""How often the same reason for starting over is told, in seconds."""

PAUSE_S = 1.0
"""How long to wait before a failed task is started again."""


class Keeper:
    """Keeps one task going until it is stopped.

    Args:
        name: of the task, for the log.
        work: what it does, for ever.
        log: where failures are told.
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[None]], log: logging.Logger) -> None:
        self._name = name
        self._work = work
        self._log = log
        self._told = ("", 0.0)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._keep(), name=self._name)

    async def stop(self) -> None:
        """End, and wait until it has."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _keep(self) -> None:
        while True:
            attempt = asyncio.ensure_future(self._work())
            try:
                await asyncio.wait({attempt})
            except asyncio.CancelledError:
                attempt.cancel()
                await asyncio.gather(attempt, return_exceptions=True)
                raise
            if attempt.cancelled():
                return
            self._tell(attempt.exception())
            await asyncio.sleep(PAUSE_S)

    def _tell(self, error: BaseException | None) -> None:
        """Say why it starts over; the same reason again only after a while."""
        reason, now = f"{type(error).__name__}: {error}", time.monotonic()
        again = reason == self._told[0] and now - self._told[1] < REPEAT_S
        if not again:
            self._told = (reason, now)
        expected = isinstance(error, DagnatsError | OSError | TimeoutError)
        self._log.log(
            logging.DEBUG if again else logging.WARNING,
            *("%s starts over: %s", self._name, error),
            exc_info=None if expected else error,
        )

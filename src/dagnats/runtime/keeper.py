"""A background task that is started again when it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from dagnats.errors import DagnatsError

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
            finally:
                attempt.cancel()
            if attempt.cancelled():
                return
            error = attempt.exception()
            expected = isinstance(error, DagnatsError | OSError | TimeoutError)
            self._log.warning(
                "%s starts over: %s", self._name, error, exc_info=None if expected else error
            )
            await asyncio.sleep(PAUSE_S)

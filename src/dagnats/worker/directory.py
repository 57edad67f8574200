"""A worker's entry in the directory, kept fresh (``wire.md`` 13.1)."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time

from dagnats import __version__
from dagnats.errors import DagnatsError
from dagnats.model.records import WorkerRegistration, WorkerStatus
from dagnats.model.times import format_time
from dagnats.wire.stores import Stores

log = logging.getLogger("dagnats.worker")

REFRESH_S = 30.0
"""How often the entry is written; it vanishes after 60 s (``engine.md`` W-23)."""


class Directory:
    """A worker as others see it.

    Args:
        stores: the buckets.
        worker_id: this worker.
        name: what the user calls it; may be empty.
        tasks: the task types it serves.
        max_tasks: how many it runs at once.
    """

    def __init__(
        self, stores: Stores, worker_id: str, name: str, tasks: list[str], max_tasks: int
    ) -> None:
        self._stores = stores
        self._skipped = 0
        self._changed = asyncio.Event()
        self._entry = WorkerRegistration(
            worker_id=worker_id,
            task_types=tasks,
            language="python",
            transport="nats",
            max_tasks=max_tasks,
            metadata={"name": name} if name else {},
            pid=os.getpid(),
            hostname=socket.gethostname(),
            version=__version__,
        )

    def skipped(self) -> None:
        """A task of a cancelled run was dropped."""
        self._skipped += 1
        self._changed.set()

    async def run(self) -> None:
        """Keep the entries fresh until cancelled."""
        while True:
            try:
                await self._write()
            except DagnatsError as error:
                # Dispatch does not look at the directory: work goes on without it.
                log.warning("cannot refresh the worker directory: %s", error)
            try:
                # Not wait_for(): before Python 3.12 it may swallow a cancellation.
                async with asyncio.timeout(REFRESH_S):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _write(self) -> None:
        self._changed.clear()
        self._entry.last_seen = format_time(time.time_ns())
        await self._stores.workers.put(self._entry.worker_id, self._entry)
        if self._skipped:
            status = WorkerStatus(
                worker_id=self._entry.worker_id, cancelled_tasks_skipped=self._skipped
            )
            await self._stores.worker_status.put(self._entry.worker_id, status)

    async def leave(self) -> None:
        """Take the entry out."""
        try:
            await self._stores.workers.delete(self._entry.worker_id)
        except DagnatsError as error:
            log.warning("cannot leave the worker directory: %s", error)

"""The configured workers as a room of the server."""

from __future__ import annotations

import asyncio
import logging

from dagnats.errors import DagnatsError
from dagnats.server.rooms import Context
from dagnats.server.settings import WorkerSpec
from dagnats.server.workers.command import Command
from dagnats.server.workers.web import WebCall
from dagnats.wire.connection import ConnectOptions
from dagnats.worker.worker import Worker

log = logging.getLogger("dagnats.workers")

GRACE_S = 5.0
"""How long running tasks may take to end when the server stops; others go back to the queue."""

RESTART_S = 2.0
"""Pause before a worker that failed is started again, in seconds."""


class WorkersRoom:
    """One worker with a handler per configured task type.

    Args:
        context: of the server.
    """

    name = "configured workers"
    url = ""

    def __init__(self, context: Context) -> None:
        self._specs = context.settings.workers
        self._options = context.session.bus.options
        self._worker: Worker | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take tasks, if there is anything to do.

        Raises:
            DagnatsError: a task type cannot be served.
        """
        if not self._specs:
            return
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._run(ready), name="configured workers")
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._task.done():
            self._task.result()

    async def _run(self, ready: asyncio.Event) -> None:
        """Serve; once it has worked, what fails later is tried again."""
        while True:
            self._worker = _worker(self._specs, self._options)
            try:
                await self._worker.serve(ready)
            except DagnatsError as error:
                if not ready.is_set():
                    raise
                log.error("configured workers start over: %s", error.message)
                await asyncio.sleep(RESTART_S)
            else:
                return

    async def stop(self) -> None:
        """Take no more, let what runs end in time, hand the rest back."""
        if self._task is None or self._worker is None:
            return
        self._worker.stop()
        await asyncio.wait({self._task}, timeout=GRACE_S + 5)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def _worker(specs: tuple[WorkerSpec, ...], options: ConnectOptions) -> Worker:
    worker = Worker(options, name="config", grace=GRACE_S)
    for spec in specs:
        limit = spec.timeout_s
        handler = Command(spec.exec) if spec.exec else WebCall(spec.http, spec.http_method, limit)
        worker.task(spec.task, concurrency=spec.concurrency, timeout=limit)(handler)
    return worker

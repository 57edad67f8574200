"""Threads for plain handlers.

The standard executor joins its threads when the interpreter ends, so one stuck handler would
keep the process alive for ever, and it never replaces a thread that a handler holds. These
threads are daemons, and there is always one for the next task.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any

IDLE_S = 10.0
"""A thread without work for this long ends."""

Job = Callable[[], None]


class Threads:
    """Runs functions in daemon threads, which wait a while for more work."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._idle = 0
        self._lock = threading.Lock()

    def run(self, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Call ``function`` in a thread, in the caller's context variables.

        Whatever it raises, SystemExit and StopIteration included, comes back wrapped in
        :class:`Raised`, since a future cannot carry everything.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def job() -> None:
            try:
                result = context.run(function, *args)
            except BaseException as error:  # noqa: BLE001 - handed over, not swallowed
                result = Raised(error)
            _deliver(loop, future, result)

        self._submit(job)
        return future

    def _submit(self, job: Job) -> None:
        with self._lock:
            spare = self._idle > 0
            if spare:
                self._idle -= 1
        self._jobs.put(job)
        if not spare:
            threading.Thread(target=self._work, name="dagnats-handler", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_S)
            except queue.Empty:
                with self._lock:
                    if self._idle > 0:
                        self._idle -= 1
                        return
                continue  # A job was promised to this thread just now.
            job()
            with self._lock:
                self._idle += 1


class Raised:
    """What a function raised in its thread."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _deliver(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: Any) -> None:
    def deliver() -> None:
        if not future.done():
            future.set_result(result)

    try:
        loop.call_soon_threadsafe(deliver)
    except RuntimeError:
        # The loop is closed: the worker has given the task up, and somebody else has it by now.
        return

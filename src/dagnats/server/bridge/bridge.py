"""The bridge of one server: what its HTTP routes call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable

from dagnats.errors import DagnatsError, InvalidError
from dagnats.model.records import WorkerRegistration
from dagnats.model.times import format_time
from dagnats.server.bridge.results import Resolution, Results
from dagnats.server.bridge.tasks import PolledTask, Polling, check_task_types
from dagnats.server.bridge.tickets import Tickets
from dagnats.services.session import Session
from dagnats.wire.subjects import is_key
from dagnats.worker.link import WorkerLink

log = logging.getLogger("dagnats.bridge")

REFRESH_S = 25.0
"""How often the directory entry of a connected worker is written (``wire.md`` 13.2)."""

MAX_TASKS = 500
"""Most tasks one poll gets."""

DEFAULT_WAIT_MS, MAX_WAIT_MS = 5_000, 60_000
"""How long a poll waits for the first task (``wire.md`` 13.2)."""


class Bridge:
    """Tasks for workers behind HTTP.

    Args:
        session: the connection.
        ack_wait_s: how long a silent worker may hold a task, where no other worker has said.
    """

    def __init__(self, session: Session, ack_wait_s: float) -> None:
        self._session = session
        self._link = WorkerLink(session.bus, "bridge", 1)
        self._ack_wait_s = ack_wait_s
        self._parts: tuple[Polling, Results] | None = None
        self._lock = asyncio.Lock()

    async def poll(
        self, types: list[str], max_tasks: int, timeout_ms: int, worker_id: str = ""
    ) -> list[PolledTask]:
        """Tasks of any of these types; none if none comes in time.

        Raises:
            InvalidError: the request makes no sense.
            DagnatsError: none of the types has a queue.
        """
        names = check_task_types(types)
        if worker_id and not is_key(worker_id):
            raise InvalidError(f"worker_id {worker_id[:64]!r} is not valid", "letters, digits, - _")
        wait_ms = min(timeout_ms, MAX_WAIT_MS) if timeout_ms > 0 else DEFAULT_WAIT_MS
        polling, _ = await self._ready()
        most = min(max(1, max_tasks), MAX_TASKS)
        return await polling.poll(names, most, wait_ms / 1000, worker_id)

    async def resolve(self, task_id: str, said: Resolution) -> bytes:
        """See :meth:`Results.resolve`."""
        _, results = await self._ready()
        return await results.resolve(task_id, said)

    def hand_back(self, tasks: Iterable[PolledTask]) -> None:
        """The caller left before it got them: the next one gets them at once."""
        assert self._parts is not None
        self._parts[1].hand_back([task.task_id for task in tasks])

    async def _ready(self) -> tuple[Polling, Results]:
        async with self._lock:
            if self._parts is None:
                tickets = await Tickets.of(self._session.stores)
                self._parts = (
                    Polling(self._link, tickets, self._ack_wait_s),
                    Results(self._session, self._link, tickets),
                )
            return self._parts

    async def connected(
        self, worker_id: str, types: list[str], max_tasks: int
    ) -> AsyncGenerator[None]:
        """Keep a worker in the directory; yields at every refresh, for as long as it is read.

        Raises:
            InvalidError: the request makes no sense.
            DagnatsError: the worker could not be registered.
        """
        entry = WorkerRegistration(
            worker_id=worker_id,
            task_types=types,
            language="http",
            transport="bridge",
            max_tasks=max(1, max_tasks),
        )
        bucket = self._session.stores.workers
        await bucket.put(worker_id, self._fresh(entry))
        try:
            yield
            while True:
                await asyncio.sleep(REFRESH_S)
                try:
                    await bucket.put(worker_id, self._fresh(entry))
                except DagnatsError as error:
                    log.warning("cannot refresh worker %s: %s", worker_id, error.message)
                yield
        finally:
            # The worker has left, or we stop: the entry would vanish by itself a minute later.
            leaving = asyncio.ensure_future(self._leave(worker_id))
            await asyncio.shield(leaving)

    async def _leave(self, worker_id: str) -> None:
        try:
            await self._session.stores.workers.delete(worker_id)
        except DagnatsError as error:
            log.warning("cannot take worker %s out: %s", worker_id, error.message)

    def _fresh(self, entry: WorkerRegistration) -> WorkerRegistration:
        entry.last_seen = format_time(self._session.now())
        return entry


def check_worker(worker_id: str, types: list[str]) -> list[str]:
    """The task types with which a worker connects.

    Raises:
        InvalidError: it has no usable id, or a type cannot be a task type.
    """
    if not worker_id:
        raise InvalidError("worker_id is required")
    if not is_key(worker_id):
        raise InvalidError(f"worker_id {worker_id[:64]!r} is not valid", "letters, digits, - _ . =")
    return check_task_types(types)

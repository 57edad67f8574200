"""Everything a worker does on NATS besides pulling tasks."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict

from dagnats.errors import ConflictError, DagnatsError, TooLargeError, UnreachableError
from dagnats.model.codec import decode
from dagnats.model.event import ChildPayload, Event, EventType
from dagnats.model.run import RunStatus
from dagnats.wire import subjects
from dagnats.wire.connection import Bus
from dagnats.wire.stores import Stores
from dagnats.worker.outbox import Outbox
from dagnats.worker.threads import Threads

SNAPSHOT_WAIT_S = 2.0
"""How long the look at a run may take; without an answer the task is run (``engine.md`` CAN-4)."""

SIGNAL_LOOK_S = 2.0
"""A signal is looked for at least this often, in case its announcement was missed."""

EVENT_ROOM = 4096
"""Bytes of a message kept free for subject, headers and the protocol around an event."""


REMEMBERED_RECALLS = 1000
"""Recalled runs whose later tasks are checked against the run's snapshot."""


class WorkerLink:
    """A worker's connection, and what its tasks share.

    Args:
        bus: the connection.
        worker_id: this worker.
        slots: how many tasks may run at once in the whole worker.
    """

    def __init__(self, bus: Bus, worker_id: str, slots: int) -> None:
        self.bus = bus
        self.worker_id = worker_id
        self.stores = Stores(bus)
        self.loop = asyncio.get_running_loop()
        self.outbox = Outbox(bus.publisher.publish_all)
        self.threads = Threads()
        self.slots = asyncio.Semaphore(slots)
        self.recalled: OrderedDict[str, None] = OrderedDict()

    @property
    def max_event(self) -> int:
        """The largest event the connected server takes, in bytes."""
        return self.bus.max_payload - EVENT_ROOM

    def note_recall(self, run_id: str) -> None:
        """Remember that the tasks of a run were recalled: others of it may still be on the way."""
        self.recalled[run_id] = None
        if len(self.recalled) > REMEMBERED_RECALLS:
            self.recalled.popitem(last=False)

    async def is_cancelled(self, run_id: str) -> bool:
        """Whether the run's snapshot says that it was cancelled; False when nobody can tell."""
        try:
            async with asyncio.timeout(SNAPSHOT_WAIT_S):
                entry = await self.stores.runs.get(f"run.{run_id}")
        except (DagnatsError, TimeoutError):
            return False
        return entry is not None and entry.value.status == RunStatus.CANCELLED

    def stream(self, run_id: str, step_id: str, data: bytes) -> None:
        """Publish a part of a step's output to whoever listens."""
        subject = subjects.stream(run_id, step_id)
        if len(data) > self.bus.max_payload:
            raise TooLargeError(
                f"{subject}: {len(data)} bytes exceed the server's limit of "
                f"{self.bus.max_payload} bytes",
                "stream smaller parts",
            )
        self.bus.publish_soon(subject, data)

    async def save_checkpoint(self, key: str, data: bytes) -> None:
        """Store a checkpoint."""
        await self.stores.checkpoints.put(key, data)

    async def load_checkpoint(self, key: str) -> bytes | None:
        """A checkpoint, or None."""
        entry = await self.stores.checkpoints.get(key)
        return None if entry is None else entry.value

    async def send_signal(self, run_id: str, name: str, data: bytes) -> None:
        """Store a signal."""
        await self.stores.signals.put(f"{run_id}.{name}", data)

    async def ask(self, subject: str, data: bytes) -> bytes:
        """Ask the server, and wait for its answer."""
        return await self.bus.request(subject, data)

    async def child_end(self, run_id: str, child_id: str) -> Event:
        """Wait for the event with which a child tells its parent that it has ended."""
        async for stored in self.stores.history.follow(run_id):
            event = stored.event
            if event.type in (EventType.CHILD_COMPLETED, EventType.CHILD_FAILED):
                child = decode(bytes(event.payload) or b"{}", ChildPayload)
                if child.child_run_id == child_id:
                    return event
        raise UnreachableError(f"the history of run {run_id} ended")

    async def sleep(self, delay_s: float) -> None:
        """Wait for so many seconds."""
        await asyncio.sleep(delay_s)

    async def take_signal(self, run_id: str, name: str, limit_s: float) -> bytes:
        """Wait for a signal and consume it, so that each is taken by one wait only.

        Raises:
            TimeoutError: none came within ``limit_s`` seconds.
        """
        async with asyncio.timeout(limit_s):
            return await self._signal(run_id, name)

    async def _signal(self, run_id: str, name: str) -> bytes:
        key = f"{run_id}.{name}"
        sent = asyncio.Event()
        # A bucket's writes are messages on its subjects: hearing one is cheaper than a consumer.
        announced = self.stores.listen(
            self.stores.signals.subject(key), lambda _subject, _data: sent.set()
        )
        await announced.start()
        try:
            while True:
                sent.clear()
                entry = await self.stores.signals.get(key)
                if entry is not None:
                    with contextlib.suppress(ConflictError):  # Taken, or sent again, meanwhile.
                        await self.stores.signals.delete(key, entry.revision)
                        return entry.value
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SIGNAL_LOOK_S):
                        await sent.wait()
        finally:
            await announced.stop()

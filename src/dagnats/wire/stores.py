"""Every bucket by name and type, and the readers of the streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from msgspec import Struct
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.event import Event
from dagnats.model.records import (
    ApprovalToken,
    EventWaiter,
    ScheduledRun,
    SingletonLock,
    TokenBucket,
    WorkerRegistration,
)
from dagnats.model.run import WorkflowRun
from dagnats.model.times import read_time
from dagnats.model.trigger import TriggerDef
from dagnats.model.workflow import WorkflowDef
from dagnats.wire import subjects
from dagnats.wire.connection import Bus
from dagnats.wire.kv import Bucket
from dagnats.wire.publisher import Publisher

HISTORY = "WORKFLOW_HISTORY"


class StoredEvent(Struct, frozen=True):
    """An event with its place in the log and its time there (ns since 1970)."""

    seq: int
    timestamp: int
    event: Event


class Listening:
    """A core subscription. Messages that come while it is not connected are missed."""

    def __init__(self, bus: Bus, pattern: str, heard: Callable[[str, bytes], None]) -> None:
        self._bus = bus
        self._pattern = pattern
        self._heard = heard
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Subscribe."""
        self._subscription = await self._bus.nc.subscribe(self._pattern, cb=self._on_message)

    async def _on_message(self, msg: Msg) -> None:
        self._heard(msg.subject, msg.data)

    async def stop(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None and self._bus.nc.is_connected:
            await self._subscription.unsubscribe()


class Stores:
    """All buckets of one connection.

    Args:
        bus: the connection.
    """

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.publisher = publisher = Publisher(bus)
        self.definitions = Bucket(bus, publisher, "workflow_defs", WorkflowDef)
        self.revisions = Bucket(bus, publisher, "workflow_revisions", WorkflowDef)
        self.runs = Bucket(bus, publisher, "workflow_runs", WorkflowRun)
        self.scheduled = Bucket(bus, publisher, "scheduled_runs", ScheduledRun)
        self.workers = Bucket(bus, publisher, "workers", WorkerRegistration)
        self.waiters = Bucket(bus, publisher, "event_waiters", EventWaiter)
        self.rate_limits = Bucket(bus, publisher, "rate_limits", TokenBucket)
        self.approvals = Bucket(bus, publisher, "approval_tokens", ApprovalToken)
        self.idempotency = Bucket(bus, publisher, "idempotency_keys", str)
        self.sticky = Bucket(bus, publisher, "sticky_bindings", str)
        self.singletons = Bucket(bus, publisher, "singleton_locks", SingletonLock)
        self.triggers = Bucket(bus, publisher, "triggers", TriggerDef)
        self.run_counts = Bucket(bus, publisher, "concurrency_runs", str)
        self.task_counts = Bucket(bus, publisher, "concurrency_tasks", str)
        self.engine_state = Bucket(bus, publisher, "engine_state", bytes)
        self.leases = Bucket(bus, publisher, "leases", bytes)

    async def history(self, run_id: str, after: int = 0) -> list[StoredEvent]:
        """The events of a run with a sequence above ``after``, in order."""
        return [
            stored
            async for msg in self._read(HISTORY, subjects.history(run_id), after)
            if (stored := _stored(msg)) is not None
        ]

    async def read_since(
        self, stream: str, subject: str, since: int
    ) -> AsyncIterator[tuple[int, int, bytes]]:
        """Sequence, time (ns) and body of the messages stored at ``since`` (ns) or later."""
        info = await self.bus.api(f"STREAM.INFO.{stream}")
        newest = read_time(info["state"].get("last_ts", "")) or 0
        if newest < since:
            return  # The usual case: nothing has come in since.
        async for msg in self._read(stream, subject, info["state"]["first_seq"] - 1):
            headers = msg.headers or {}
            stamp = read_time(headers.get("Nats-Time-Stamp", "")) or 0
            if stamp >= since:
                yield int(headers["Nats-Sequence"]), stamp, msg.data

    def listen(self, pattern: str, heard: Callable[[str, bytes], None]) -> Listening:
        """A core subscription that calls ``heard`` with subject and body of each message."""
        return Listening(self.bus, pattern, heard)

    async def _read(self, stream: str, pattern: str, after: int) -> AsyncIterator[Msg]:
        """Messages of a subject by batched direct gets."""
        seq, page = after + 1, 500
        while True:
            inbox, count = self.bus.nc.new_inbox(), 0
            subscription = await self.bus.nc.subscribe(inbox)
            try:
                body = {"seq": seq, "next_by_subj": pattern, "batch": page}
                await self.bus.nc.publish(
                    f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(body), inbox
                )
                while not (msg := await subscription.next_msg(timeout=5.0)).headers or (
                    "Status" not in msg.headers
                ):
                    headers = msg.headers or {}
                    seq, count = int(headers["Nats-Sequence"]) + 1, count + 1
                    yield msg
            finally:
                await subscription.unsubscribe()
            if count < page:
                return

    async def stream_names(self) -> list[dict[str, Any]]:
        """Configuration and state of every stream."""
        found: list[dict[str, Any]] = []
        while True:
            page = await self.bus.api("STREAM.LIST", {"offset": len(found)})
            found += page.get("streams") or []
            if len(found) >= page["total"] or not page.get("streams"):
                return found

    async def consumers(self, stream: str) -> list[dict[str, Any]]:
        """Configuration and state of every consumer of a stream."""
        found: list[dict[str, Any]] = []
        while True:
            page = await self.bus.api(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
            found += page.get("consumers") or []
            if len(found) >= page["total"] or not page.get("consumers"):
                return found


def _stored(msg: Msg) -> StoredEvent | None:
    headers = msg.headers or {}
    try:
        event = decode(msg.data, Event)
    except InvalidError:
        return None
    stamp = read_time(headers.get("Nats-Time-Stamp", "")) or 0
    return StoredEvent(int(headers["Nats-Sequence"]), stamp, event)

"""Every bucket by name and type, and the readers of the streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from nats.aio.subscription import Subscription

from dagnats.model.records import (
    ApprovalToken,
    AuditEvent,
    DebounceEntry,
    EngineMember,
    EventWaiter,
    ScheduledRun,
    ServiceRecord,
    SingletonLock,
    TokenBucket,
    WorkerRegistration,
    WorkerStatus,
)
from dagnats.model.run import WorkflowRun
from dagnats.model.times import read_time
from dagnats.model.trigger import TriggerDef, TriggerTypeDef
from dagnats.model.workflow import WorkflowDef
from dagnats.wire.connection import Bus
from dagnats.wire.direct import walk
from dagnats.wire.feeds import Fires, Logs
from dagnats.wire.kv import Bucket
from dagnats.wire.readers import DeadLetters, History
from dagnats.wire.spanfeed import Spans


class Listening:
    """A core subscription. Messages that come while it is not connected are missed."""

    def __init__(self, bus: Bus, pattern: str, heard: Callable[[str, bytes], None]) -> None:
        self._bus = bus
        self._pattern = pattern
        self._heard = heard
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Subscribe."""
        self._subscription = await self._bus.nc.open_lane(self._pattern, self._on_message)

    def _on_message(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        del reply, headers
        self._heard(subject, data)

    async def stop(self) -> None:
        """Unsubscribe."""
        if self._subscription is None:
            return
        if self._bus.nc.is_connected:
            await self._subscription.unsubscribe()
        self._bus.nc.close_lane(self._subscription)


class Stores:
    """All buckets of one connection.

    Args:
        bus: the connection.
    """

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.publisher = publisher = bus.publisher
        self.history = History(bus)
        self.dead_letters = DeadLetters(bus)
        self.fires = Fires(bus)
        self.logs = Logs(bus)
        self.spans = Spans(bus)
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
        self.engine_control = Bucket(bus, publisher, "engine_control", bytes)
        self.worker_status = Bucket(bus, publisher, "worker_status", WorkerStatus)
        self.http_idempotency = Bucket(bus, publisher, "http_idempotency", bytes)
        self.trigger_types = Bucket(bus, publisher, "trigger_types", TriggerTypeDef)
        self.trigger_state = Bucket(bus, publisher, "trigger_state", str)
        self.debounce = Bucket(bus, publisher, "debounce_state", DebounceEntry)
        self.services = Bucket(bus, publisher, "services", ServiceRecord)
        self.signals = Bucket(bus, publisher, "signals", bytes)
        self.checkpoints = Bucket(bus, publisher, "checkpoints", bytes)
        self.audit = Bucket(bus, publisher, "console_audit", AuditEvent)
        self.leases = Bucket(bus, publisher, "leases", EngineMember)

    async def read_since(
        self, stream: str, subject: str, since: int
    ) -> AsyncIterator[tuple[int, int, bytes]]:
        """Sequence, time (ns) and body of the messages stored at ``since`` (ns) or later."""
        info = await self.bus.api(f"STREAM.INFO.{stream}")
        newest = read_time(info["state"].get("last_ts", "")) or 0
        if newest < since:
            return  # The usual case: nothing has come in since.
        async for msg in walk(self.bus, stream, subject, info["state"]["first_seq"] - 1):
            stamp = msg.timestamp_ns
            if stamp >= since:
                yield msg.seq, stamp, msg.data

    def listen(self, pattern: str, heard: Callable[[str, bytes], None]) -> Listening:
        """A core subscription that calls ``heard`` with subject and body of each message."""
        return Listening(self.bus, pattern, heard)

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

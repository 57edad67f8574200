"""The small records in KV buckets (``wire.md`` 2.1, 13.1) and dead letters (10)."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, field

from dagnats.model.codec import ABSENT, Wire, always
from dagnats.model.times import ZERO_TIME


class ScheduledRun(Wire):
    """A run that starts at ``run_at``; status ``scheduled`` or ``cancelled``."""

    run_id: str = always("")
    workflow_id: str = always("")
    input: Raw = ABSENT
    run_at: str = always(ZERO_TIME)
    created_at: str = always(ZERO_TIME)
    status: str = always("scheduled")


class ResolvedMatch(Wire):
    """A wait's condition with its right side already looked up."""

    left: str = always("")
    op: str = always("")
    right: Raw = Raw(b"null")


class EventWaiter(Wire):
    """Who waits for an event: key ``{event}.{run}.{step}``. The last two keys are ours."""

    run_id: str = always("")
    step_id: str = always("")
    event_type: str = always("")
    match: ResolvedMatch = field(default_factory=ResolvedMatch)
    action: str = always("complete")
    since_ns: int = 0
    """When the wait began, ns since 1970: events from before do not count."""
    expires_at: str = ""


class TokenBucket(Wire):
    """State of one rate limit."""

    tokens: int = always(0)
    last_refill_ns: int = always(0)
    limit: int = always(0)
    period_ns: int = always(0)


class DebounceEntry(Wire):
    """What a debounced trigger holds back. The keys after ``timer_seq`` are ours."""

    last_event: Raw = Raw(b"null")
    first_seen_ns: int = always(0)
    timer_seq: int = always(0)
    due_ns: int = 0
    order: int = 0
    """Orders events: place in a stream, or time of arrival (ns)."""
    kind: str = ""
    """How the event came, as in the envelope: ``subject`` or ``webhook``."""
    trace_parent: str = ""


class ApprovalToken(Wire):
    """The single-use token of an approval: key ``{run}.{step}``."""

    token: str = always("")
    run_id: str = always("")
    step_id: str = always("")
    created_at: str = always(ZERO_TIME)
    expires_at: str = always(ZERO_TIME)


class SingletonLock(Wire):
    """Which run holds a singleton lock."""

    run_id: str = always("")


class BrokenLock(Wire):
    """An operator took a singleton lock away from a run. Ours: bucket ``engine_control``."""

    key: str = always("")
    run_id: str = always("")


class EngineMember(Wire):
    """A server's engine, active or standing by. Ours: bucket ``leases``.

    Args:
        id: made anew by every process.
        machine: identifies a boot of a machine; empty where that cannot be known.
        process: tells apart processes that had the same pid.
        since: when it began to be what it is.
        epoch: which one in the succession of active engines it is; 0 when standing by.
    """

    id: str = always("")
    host: str = always("")
    pid: int = always(0)
    machine: str = ""
    process: str = ""
    since: str = always(ZERO_TIME)
    epoch: int = 0


class ServerRecord(Wire):
    """What a server tells of the NATS it runs on. Ours: key ``server`` of ``engine_state``.

    Args:
        sync: how often acknowledged writes go to disk: ``always``, an interval, or empty where a
            NATS that is not ours does not say.
    """

    sync: str = ""
    started_at: str = ""
    nats: str = ""


class EngineEpoch(Wire):
    """The last engine that was active. Ours: key ``epoch`` of bucket ``engine_state``.

    Args:
        epoch: its number.
        holder: its id.
        closed: it ended in good order and writes nothing any more.
    """

    epoch: int = always(0)
    holder: str = always("")
    closed: bool = False


class WorkerRegistration(Wire):
    """One worker in the directory, refreshed every 30 s."""

    worker_id: str = always("")
    task_types: list[str] = field(default_factory=list[str])  # always written
    language: str = always("")
    transport: str = always("")
    max_tasks: int = always(0)
    metadata: dict[str, str] = {}
    pid: int = 0
    hostname: str = ""
    version: str = ""
    last_seen: str = always(ZERO_TIME)


class WorkerStatus(Wire):
    """How many tasks of cancelled runs a worker has skipped."""

    worker_id: str = always("")
    cancelled_tasks_skipped: int = always(0)


class ServiceRecord(Wire):
    """A service that a worker announced."""

    name: str = always("")
    description: str = always("")
    registered_at: str = always(ZERO_TIME)


class AuditEvent(Wire):
    """One row of the audit trail; outcome ``success``, ``denied`` or ``failed``."""

    time: str = always(ZERO_TIME)
    actor: str = always("")
    action: str = always("")
    target: str = always("")
    data: dict[str, Any] = {}
    outcome: str = always("success")


class DeadLetter(Wire):
    """A dead letter as read from stream DEAD_LETTERS (``wire.md`` 10.3)."""

    sequence: int = always(0)
    subject: str = always("")
    run_id: str = always("")
    step_id: str = always("")
    task: str = always("")
    error: str = always("")
    timestamp: str = always(ZERO_TIME)
    body: bytes = b""
    headers: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    delivery_count: int = 0
    consumer: str = ""
    body_preserved: bool = always(False)


class LogRecord(Wire):
    """One log line in stream TELEMETRY (``wire.md`` 11.2)."""

    timestamp: str = always(ZERO_TIME)
    severity: str = always("info")
    body: str = always("")
    attributes: dict[str, str] = {}
    trace_id: str = field(default="", name="traceId")
    span_id: str = field(default="", name="spanId")
    service_name: str = field(default_factory=str, name="serviceName")

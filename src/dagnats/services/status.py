"""The health of the system in one answer."""

from __future__ import annotations

from collections import Counter
from typing import Any

from msgspec import Struct

from dagnats.errors import NotFoundError
from dagnats.model.codec import decode
from dagnats.model.records import ServerRecord
from dagnats.model.run import RunStatus
from dagnats.model.times import SECOND, read_time
from dagnats.services.control import PauseState, paused
from dagnats.services.engines import EngineInfo, list_engines
from dagnats.services.infos import (
    QueueRow,
    consumer_info,
    list_queues,
    stream_info,
    stream_infos,
    subject_counts,
)
from dagnats.services.run_query import RUN_PREFIX, created_ns
from dagnats.services.session import Session
from dagnats.services.tolerant import api_or_none, entries_of
from dagnats.services.workers import cancelled_tasks_skipped

SERVER_KEY = "server"
"""Key of ``engine_state`` under which a server says what it knows of its NATS."""
HISTORY = "WORKFLOW_HISTORY"
ENGINE = "orchestrator"
TIMERS = "SLEEP_TIMERS"
SHOWN_COUNTS = ("pending", "running", "completed", "failed", "cancelled")
"""Run counts that are told even when they are zero."""


class StreamRow(Struct, frozen=True):
    """One stream."""

    name: str
    messages: int
    bytes: int
    consumers: int


class WorkflowRow(Struct, frozen=True, omit_defaults=True):
    """The runs of one workflow."""

    name: str
    total: int
    running: int
    failed: int
    completed: int
    last_run_at: str = ""


class DeadSummary(Struct, frozen=True, omit_defaults=True):
    """The dead-letter queue."""

    total: int
    by_task: dict[str, int]
    oldest: str = ""
    newest: str = ""


class EngineRow(Struct, frozen=True, kw_only=True):
    """The engine.

    Args:
        history_lag_messages: events it has not applied yet.
        history_lag_seconds: the age of the oldest of them; 0.0 when there is none.
        scheduled_timers: timers that are set.
        history_exhausted_count: events that could not be applied and became dead letters.
    """

    history_lag_messages: int
    history_lag_seconds: float
    scheduled_timers: int
    history_exhausted_count: int = 0


class Status(Struct, frozen=True, kw_only=True):
    """The system.

    Args:
        engine: whether an engine is attached: ``running`` or ``none``.
        sync: how often acknowledged writes go to disk: ``always``, an interval, or ``unknown``.
        engines: the active engine and those that stand by.
        paused: what is held back.
        server_version: of nats-server.
        detail: queues, dead letters and lag; ``None`` unless asked for.
    """

    nats: str
    jetstream: str
    stream_count: int
    active_runs: int
    streams: list[StreamRow]
    runs: dict[str, int]
    workflows: list[WorkflowRow]
    engine: str
    paused: PauseState
    server_version: str
    sync: str = "unknown"
    engines: list[EngineInfo] = []
    cancelled_tasks_skipped: int = 0
    unreadable_runs: int = 0
    detail: StatusDetail | None = None


class StatusDetail(Struct, frozen=True):
    """What ``status --detail`` adds."""

    queues: list[QueueRow]
    dlq: DeadSummary
    engine: EngineRow


async def get_status(session: Session, detail: bool = False) -> Status:
    """How the system is.

    Args:
        session: the connection.
        detail: look at queues, dead letters and the engine's lag as well.
    """
    account = await api_or_none(session, "INFO")
    infos = await stream_infos(session) if account else []
    before = session.stores.runs.unreadable
    counts, workflows = await _runs(session)
    engine = await consumer_info(session, HISTORY, ENGINE)
    return Status(
        nats="connected",
        jetstream="available" if account else "unavailable",
        stream_count=len(infos),
        active_runs=counts[RunStatus.PENDING.value] + counts[RunStatus.RUNNING.value],
        streams=[_stream_row(info) for info in infos],
        runs={name: counts[name] for name in (*SHOWN_COUNTS, *sorted(set(counts)))},
        workflows=workflows,
        engine="running" if engine and engine.get("num_waiting") else "none",
        paused=await paused(session),
        server_version=session.server_version,
        sync=await sync_of(session) if account else "unknown",
        engines=await list_engines(session) if account else [],
        cancelled_tasks_skipped=await cancelled_tasks_skipped(session),
        unreadable_runs=session.stores.runs.unreadable - before,
        detail=await _detail(session, engine) if detail else None,
    )


async def sync_of(session: Session) -> str:
    """How often acknowledged writes go to disk: ``always``, an interval, or ``unknown``."""
    try:
        entry = await session.stores.engine_state.get(SERVER_KEY)
    except NotFoundError:
        return "unknown"  # A server of another make.
    if entry is None:
        return "unknown"
    return decode(entry.value, ServerRecord).sync or "unknown"


def _stream_row(info: dict[str, Any]) -> StreamRow:
    state = info["state"]
    return StreamRow(
        info["config"]["name"],
        state.get("messages", 0),
        state.get("bytes", 0),
        state.get("consumer_count", 0),
    )


async def _runs(session: Session) -> tuple[Counter[str], list[WorkflowRow]]:
    counts: Counter[str] = Counter()
    by_workflow: dict[str, Counter[str]] = {}
    last: dict[str, tuple[int, str]] = {}
    async for entry in entries_of(session.stores.runs, f"{RUN_PREFIX}>"):
        run = entry.value
        counts[run.status] += 1
        by_workflow.setdefault(run.workflow_id, Counter())[run.status] += 1
        last[run.workflow_id] = max(
            last.get(run.workflow_id, (0, "")), (created_ns(run), run.created_at)
        )
    rows = [
        WorkflowRow(
            name,
            total=of.total(),
            running=of[RunStatus.RUNNING.value],
            failed=of[RunStatus.FAILED.value],
            completed=of[RunStatus.COMPLETED.value],
            last_run_at=last[name][1],
        )
        for name, of in by_workflow.items()
    ]
    return counts, sorted(rows, key=lambda row: (-row.total, row.name))


async def _detail(session: Session, engine: dict[str, Any] | None) -> StatusDetail:
    dead, exhausted = await _dead(session)
    return StatusDetail(
        queues=await list_queues(session),
        dlq=dead,
        engine=EngineRow(
            history_lag_messages=(engine or {}).get("num_pending", 0),
            history_lag_seconds=await engine_lag(session, engine),
            scheduled_timers=await _timers(session),
            history_exhausted_count=exhausted,
        ),
    )


async def _dead(session: Session) -> tuple[DeadSummary, int]:
    by_task: Counter[str] = Counter()
    oldest = newest = ""
    exhausted = 0
    async for letter in session.stores.dead_letters.scan():
        by_task[letter.task] += 1
        oldest, newest = oldest or letter.timestamp, letter.timestamp
        exhausted += letter.consumer == HISTORY
    summary = DeadSummary(by_task.total(), dict(by_task.most_common()), oldest, newest)
    return summary, exhausted


async def engine_lag(session: Session, engine: dict[str, Any] | None) -> float:
    """The age in seconds of the oldest event that the engine has not seen."""
    if not engine or not engine.get("num_pending"):
        return 0.0
    after = engine["delivered"]["stream_seq"]
    body = {"seq": after + 1, "next_by_subj": "history.>"}
    found = await api_or_none(session, f"STREAM.MSG.GET.{HISTORY}", body)
    stored = read_time(found["message"]["time"]) if found else None
    return 0.0 if stored is None else round(max(0, session.now() - stored) / SECOND, 1)


async def _timers(session: Session) -> int:
    """Timers that are set. Where fired ones stay in the stream (Go), its consumer knows better."""
    info = await stream_info(session, TIMERS)
    if info is None:
        return 0
    if info["config"].get("retention") == "workqueue":
        # What fences a deposed engine off lies there too.
        fences = await subject_counts(session, TIMERS, "sleep.fenced.>")
        return info["state"]["messages"] - sum(fences.values())
    consumer = await consumer_info(session, TIMERS, "sleep-timer") or {}
    return consumer.get("num_pending", 0) + consumer.get("num_ack_pending", 0)

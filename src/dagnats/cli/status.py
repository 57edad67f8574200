"""``dagnats status``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagnats.cli.arguments import Watch
from dagnats.cli.execute import run_async
from dagnats.cli.options import App
from dagnats.cli.render.console import out
from dagnats.cli.render.refresh import refreshing
from dagnats.cli.render.results import print_table, show
from dagnats.cli.render.sizes import short_size
from dagnats.cli.render.table import Column
from dagnats.cli.render.times import date_time, minute
from dagnats.cli.state import session
from dagnats.services.documents import document
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.services.infos import QueueRow
    from dagnats.services.status import DeadSummary, EngineRow, Status, StreamRow, WorkflowRow

app = App("status", "Show system health.", group=False)

MAX_WORKFLOWS = 100
SHOWN_RUNS = ("completed", "failed", "running", "pending", "cancelled")


@app.add("status")
def status(
    detail: Annotated[
        bool,
        typer.Option("--detail", help="Include queue health, dead letters, and engine lag."),
    ] = False,
    watch: Watch = False,
) -> None:
    """Show the connection, JetStream, runs, streams and workflows."""
    run_async(_status(detail, watch))


async def _status(detail: bool, watch: bool) -> None:
    from dagnats.services.status import get_status

    async with session() as opened:
        await refreshing(lambda: get_status(opened, detail), _show, watch)


def _show(found: Status) -> None:
    show(_document(found), lambda: _print(found))


def _document(found: Status) -> dict[str, Any]:
    """The status as JSON; what --detail adds lies on the top level."""
    shown: dict[str, Any] = document(found)
    detail: dict[str, Any] = shown.pop("detail", None) or {}
    engine = shown.pop("engine")
    return shown | {"engine_state": engine} | detail


def _print(found: Status) -> None:
    out(f"NATS:        {found.nats}")
    out(f"JetStream:   {found.jetstream} ({found.stream_count} streams)")
    out(f"Active runs: {found.active_runs}")
    out(f"Engine:      {_engine_text(found)}")
    for engine in found.engines if len(found.engines) > 1 else ():
        out(f"  {engine.state:<9} {one_line(engine.host)} (process {engine.pid})")
    out(f"Durability:  {_sync_text(found.sync)}")
    if found.streams:
        out("\nStreams:")
        print_table(found.streams, _STREAM_COLUMNS, indent="  ")
    if found.cancelled_tasks_skipped:
        out(f"\nCancelled tasks skipped: {found.cancelled_tasks_skipped}")
    out(f"\nRuns:  {_runs_text(found.runs)}")
    if found.workflows:
        out("\nWorkflows:")
        ranked = sorted(found.workflows, key=lambda row: -row.total)
        print_table(ranked[:MAX_WORKFLOWS], _WORKFLOW_COLUMNS, indent="  ")
    if found.detail:
        _print_queues(found.detail.queues)
        _print_dead(found.detail.dlq)
        _print_engine(found.detail.engine)


def _sync_text(sync: str) -> str:
    if sync == "always":
        return "always: every acknowledged write is on disk"
    if sync == "unknown":
        return "unknown: this NATS does not say when it writes to disk"
    return f"every {sync}: a power cut may lose what was acknowledged since"


def _engine_text(found: Status) -> str:
    if found.paused.paused:
        return f"{found.engine} (paused)"
    if found.paused.workflows:
        return f"{found.engine} (paused: {', '.join(map(one_line, found.paused.workflows))})"
    return found.engine


def _runs_text(runs: dict[str, int]) -> str:
    if not any(runs.values()):
        return "none"
    more = [name for name in runs if name not in SHOWN_RUNS and runs[name]]
    return ", ".join(f"{runs.get(name, 0)} {name}" for name in (*SHOWN_RUNS, *more))


def _print_queues(queues: list[QueueRow]) -> None:
    out("\nTask Queues:" if queues else "\nTask Queues: none")
    if queues:
        print_table(queues, _QUEUE_COLUMNS, indent="  ")


def _print_dead(dead: DeadSummary) -> None:
    if not dead.total:
        out("\nDead Letters: none")
        return
    out(f"\nDead Letters: {dead.total} total")
    out(f"  Oldest: {date_time(dead.oldest)}")
    out(f"  Newest: {date_time(dead.newest)}")
    columns: list[Column[tuple[str, int]]] = [
        Column("TASK", lambda row: row[0]),
        Column("COUNT", lambda row: str(row[1])),
    ]
    print_table(sorted(dead.by_task.items()), columns, indent="  ")


def _print_engine(engine: EngineRow) -> None:
    lag = engine.history_lag_messages
    out("\nEngine:")
    out(f"  History lag:     {lag} messages ({engine.history_lag_seconds:.1f}s)")
    out(f"  Scheduled timers: {engine.scheduled_timers}")
    if engine.history_exhausted_count:
        out(f"  Events that could not be applied: {engine.history_exhausted_count}")


_STREAM_COLUMNS: list[Column[StreamRow]] = [
    Column("STREAM", lambda row: row.name),
    Column("MESSAGES", lambda row: f"{row.messages:,}"),
    Column("BYTES", lambda row: short_size(row.bytes)),
    Column("CONSUMERS", lambda row: str(row.consumers)),
]
_WORKFLOW_COLUMNS: list[Column[WorkflowRow]] = [
    Column("WORKFLOW", lambda row: row.name),
    Column("TOTAL", lambda row: str(row.total)),
    Column("RUNNING", lambda row: str(row.running)),
    Column("FAILED", lambda row: str(row.failed)),
    Column("COMPLETED", lambda row: str(row.completed)),
    Column("LAST RUN", lambda row: minute(row.last_run_at)),
]
_QUEUE_COLUMNS: list[Column[QueueRow]] = [
    Column("TASK", lambda row: row.task),
    Column("ASKING", lambda row: str(row.waiting), wide=True),
    Column("PENDING", lambda row: str(row.pending)),
    Column("IN-FLIGHT", lambda row: str(row.in_flight)),
    Column("REDELIVERED", lambda row: str(row.redelivered)),
    Column("ACK WAIT", lambda row: f"{row.ack_wait_ms}ms"),
]

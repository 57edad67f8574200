"""``dagnats workers``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.arguments import Watch
from dagnats.cli.execute import run_async
from dagnats.cli.options import App
from dagnats.cli.render.console import out
from dagnats.cli.render.refresh import refreshing
from dagnats.cli.render.results import print_table, show, show_list
from dagnats.cli.render.table import Column, short_ids
from dagnats.cli.render.times import date_time
from dagnats.cli.state import session
from dagnats.cli.texts import given
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.model.records import WorkerRegistration
    from dagnats.services.workers import RunningStep, WorkerDetail

app = App("workers", "Observe worker status.")


@app.add("list")
def list_(watch: Watch = False) -> None:
    """List currently registered workers."""
    run_async(_list(watch))


async def _list(watch: bool) -> None:
    from dagnats.services.workers import list_workers

    async with session() as opened:
        await refreshing(lambda: list_workers(opened), _print_list, watch)


def _print_list(found: list[WorkerRegistration]) -> None:
    columns: list[Column[WorkerRegistration]] = [
        Column("WORKER_ID", lambda worker: worker.worker_id),
        Column("TASK_TYPES", lambda worker: ",".join(worker.task_types), flex=True),
        Column("HOST", lambda worker: worker.hostname or "-", wide=True),
        Column("VERSION", lambda worker: worker.version or "-", wide=True),
        Column("LAST_SEEN", lambda worker: date_time(worker.last_seen), wide=True),
        Column("LANGUAGE", lambda worker: worker.language),
        Column("MAX_TASKS", lambda worker: str(worker.max_tasks)),
    ]
    show_list(found, columns, name=lambda worker: worker.worker_id, empty="No workers registered.")


@app.add("show")
def show_(
    worker: Annotated[str, typer.Argument(metavar="WORKER_ID", help="Worker ID or its beginning.")],
) -> None:
    """Show one worker and the steps it has in hand."""
    given(worker, "worker ID")
    run_async(_show(worker))


async def _show(worker_id: str) -> None:
    from dagnats.services.workers import get_worker

    async with session() as opened:
        found = await get_worker(opened, worker_id)
    show(found, lambda: _print_worker(found), name=found.worker.worker_id)


def _print_worker(found: WorkerDetail) -> None:
    worker = found.worker
    rows = {
        "Worker": worker.worker_id,
        "Task types": ", ".join(worker.task_types),
        "Language": worker.language,
        "Max tasks": str(worker.max_tasks),
        "Host": worker.hostname or "-",
        "Process": str(worker.pid or "-"),
        "Version": worker.version or "-",
        "Last seen": f"{date_time(worker.last_seen)} UTC",
        "Skipped": f"{found.cancelled_tasks_skipped} tasks of cancelled runs",
    }
    for label, value in rows.items():
        out(f"{label + ':':<12}{one_line(value)}")
    if found.running:
        out("\nRunning:")
        print_table(found.running, _running_columns(found.running), indent="  ")


def _running_columns(steps: list[RunningStep]) -> list[Column[RunningStep]]:
    shown = short_ids([step.run_id for step in steps])
    return [
        Column("RUN_ID", lambda step: shown[step.run_id]),
        Column("WORKFLOW", lambda step: step.workflow),
        Column("STEP", lambda step: step.step_id),
        Column("STARTED", lambda step: date_time(step.started_at)),
    ]

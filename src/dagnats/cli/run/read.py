"""``run list``, ``status``, ``inspect``, ``events``, ``output``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.arguments import (
    After,
    Before,
    Last,
    RunId,
    Watch,
    needs_run,
    span,
    the_run,
    the_started_run,
)
from dagnats.cli.execute import run_async
from dagnats.cli.outputs import Count, Outputs
from dagnats.cli.render.console import err, out
from dagnats.cli.render.refresh import refreshing
from dagnats.cli.render.results import show, show_list
from dagnats.cli.render.table import Column, short_ids
from dagnats.cli.render.times import between, date_time
from dagnats.cli.run.app import app
from dagnats.cli.run.detail import print_inspection, print_run, print_schedule
from dagnats.cli.run.output import print_outputs
from dagnats.cli.state import current, session
from dagnats.cli.texts import moment_or_age, whole
from dagnats.model.run import is_terminal
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.model.records import ScheduledRun
    from dagnats.model.run import WorkflowRun
    from dagnats.services.run_events import RunEvent
    from dagnats.services.run_filter import RunFilter
    from dagnats.services.run_query import RunPage, RunQuery

Where = Annotated[
    str,
    typer.Option(
        "--where",
        metavar="QUERY",
        help="Only runs that fit, e.g. 'wf:etl-* status:failed since:2h /timeout'.",
    ),
]
DATA_LIMIT = 200
"""Characters of an event's data that are shown without --full."""


@app.add("list")
def list_(
    workflow: Annotated[str, typer.Option("--workflow", help="Filter by workflow ID.")] = "",
    status: Annotated[str, typer.Option("--status", "--state", help="Filter by status.")] = "",
    scheduled: Annotated[bool, typer.Option("--scheduled", help="List scheduled runs.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", parser=whole(1), help="How many, newest first.")
    ] = 1000,
    since: Annotated[
        str, typer.Option("--since", metavar="AGE|TIME", help="Only runs created since then.")
    ] = "",
    after: After = "",
    before: Before = "",
    where: Where = "",
    watch: Watch = False,
) -> None:
    """List workflow runs, newest first."""
    if scheduled:
        run_async(_list_scheduled(workflow, watch))
        return
    from dagnats.services.run_query import RunQuery, check_status

    check_status(status)
    first, last = span(after, before)
    if since:
        first = moment_or_age(since, "--since", time.time_ns())
    query = RunQuery(workflow=workflow, status=status, after=first, before=last, limit=limit)
    run_async(_list(query, _filter(where), watch))


def _filter(where: str) -> RunFilter | None:
    if not where:
        return None
    from dagnats.services.run_where import parse_where

    return parse_where(where)


async def _list(query: RunQuery, wanted: RunFilter | None, watch: bool) -> None:
    from dagnats.services.run_query import list_runs

    async def fetch() -> RunPage:
        if wanted is None:
            return await list_runs(opened, query)
        from dagnats.services.run_where import list_where

        return await list_where(opened, query, wanted)

    async with session() as opened:
        await refreshing(fetch, _print_page, watch)


def _print_page(page: RunPage) -> None:
    show_list(
        page.runs,
        _run_columns(page.runs),
        name=lambda run: run.run_id,
        empty="No runs found.",
    )
    if page.truncated:
        err(f"showing the newest {len(page.runs)} runs; see more with --limit")
    if page.unreadable:
        err(f"{page.unreadable} runs could not be read and are left out")


def _run_columns(runs: list[WorkflowRun]) -> list[Column[WorkflowRun]]:
    shown = short_ids([run.run_id for run in runs])
    now = time.time_ns()
    return [
        Column("RUN_ID", lambda run: shown[run.run_id]),
        Column("WORKFLOW", lambda run: run.workflow_id, flex=True),
        Column("STATUS", lambda run: run.status, status=True),
        Column("CREATED", lambda run: date_time(run.created_at)),
        Column("DURATION", lambda run: between(run.created_at, run.completed_at, now), wide=True),
        Column("FULL_ID", lambda run: run.run_id, wide=True),
        Column("STEPS", lambda run: str(len(run.steps))),
    ]


async def _list_scheduled(workflow: str, watch: bool) -> None:
    from dagnats.services.schedules import list_schedules

    async with session() as opened:
        await refreshing(lambda: list_schedules(opened, workflow), _print_schedules, watch)


def _print_schedules(runs: list[ScheduledRun]) -> None:
    shown = short_ids([run.run_id for run in runs])
    columns: list[Column[ScheduledRun]] = [
        Column("RUN ID", lambda run: shown[run.run_id]),
        Column("WORKFLOW", lambda run: run.workflow_id, flex=True),
        Column("RUN AT", lambda run: run.run_at),
        Column("STATUS", lambda run: run.status, status=True),
    ]
    show_list(runs, columns, name=lambda run: run.run_id, empty="No scheduled runs.")


@app.add("status")
def status(run_id: RunId = "", last: Last = False) -> None:
    """Show the current status of a run, with each of its steps."""
    needs_run(run_id, last)
    run_async(_status(run_id, last))


async def _status(ref: str, last: bool) -> None:
    from dagnats.services.run_query import get_run
    from dagnats.services.schedules import get_schedule

    async with session() as opened:
        found = await the_run(opened, ref, last)
        if found.scheduled:
            schedule = await get_schedule(opened, found.run_id)
            show(schedule, lambda: print_schedule(schedule), name=found.run_id)
            return
        view = await get_run(opened, found.run_id)
        show(view.run, lambda: print_run(view), name=found.run_id)


@app.add("inspect")
def inspect(run_id: RunId = "", last: Last = False) -> None:
    """Show status, failures and dead letters of one run together."""
    needs_run(run_id, last)
    run_async(_inspect(run_id, last))


async def _inspect(ref: str, last: bool) -> None:
    from dagnats.cli.reports import Inspected
    from dagnats.services.run_events import inspect_run

    async with session() as opened:
        found = await inspect_run(opened, await the_started_run(opened, ref, last))
    document = Inspected(
        run=found.view.run,
        failures=found.failures,
        dead_letters=found.dead_letters,
        reasons=[] if is_terminal(found.view.run.status) else found.reasons,
    )
    show(document, lambda: print_inspection(found), name=found.view.run.run_id)


@app.add("events")
def events(
    run_id: RunId = "",
    last: Last = False,
    full: Annotated[
        bool, typer.Option("--full", help="Show full event data (default: 200 characters).")
    ] = False,
    kind: Annotated[
        str, typer.Option("--type", help="Filter by event type (e.g., step.completed).")
    ] = "",
    step: Annotated[str, typer.Option("--step", help="Filter by step ID.")] = "",
) -> None:
    """Show the event history of a run."""
    needs_run(run_id, last)
    run_async(_events(run_id, last, full, kind, step))


async def _events(ref: str, last: bool, full: bool, kind: str, step: str) -> None:
    import msgspec

    from dagnats.services.run_events import run_events

    async with session() as opened:
        found = await run_events(opened, await the_started_run(opened, ref, last), kind, step)
    if not full:
        found = [msgspec.structs.replace(event, data=event.data[:DATA_LIMIT]) for event in found]
    columns: list[Column[RunEvent]] = [
        Column("TIMESTAMP", lambda event: date_time(event.timestamp)),
        Column("TYPE", lambda event: event.type, status=True),
        Column("STEP", lambda event: event.step_id or "-"),
        Column("TRACE", lambda event: event.trace_id[:16] or "-"),
        Column("WORKER", lambda event: event.worker_id or "-", wide=True),
        Column("SEQ", lambda event: str(event.seq), wide=True),
        Column("DATA", lambda event: event.data or "-", flex=not full),
    ]
    show_list(found, columns, name=lambda event: str(event.seq), empty="No events found.")


@app.add("output")
def output(run_id: RunId = "", last: Last = False) -> None:
    """Print the final output of a completed run's terminal steps."""
    needs_run(run_id, last)
    run_async(_output(run_id, last))


async def _output(ref: str, last: bool) -> None:
    from dagnats.services.run_events import run_outputs

    async with session() as opened:
        found = await run_outputs(opened, await the_started_run(opened, ref, last))
    document = Outputs(run_id=found.run_id, status=found.status, outputs=found.outputs)
    show(document, lambda: print_outputs(found), name=found.run_id)
    if found.outputs is None:
        if not current().json:
            err(f"Run {found.run_id} is not completed (status: {one_line(found.status)})")
        raise typer.Exit(1)


@app.add("count")
def count(
    workflow: Annotated[str, typer.Option("--workflow", help="Filter by workflow ID.")] = "",
    status: Annotated[str, typer.Option("--status", "--state", help="Filter by status.")] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="AGE|TIME", help="Only runs created since then.")
    ] = "",
    where: Where = "",
) -> None:
    """Count workflow runs."""
    from dagnats.services.run_query import RunQuery, check_status

    check_status(status)
    first = moment_or_age(since, "--since", time.time_ns()) if since else None
    query = RunQuery(workflow=workflow, status=status, after=first, limit=None)
    run_async(_count(query, _filter(where)))


async def _count(query: RunQuery, wanted: RunFilter | None) -> None:
    from dagnats.services.run_query import count_runs

    async with session() as opened:
        if wanted is not None:
            from dagnats.services.run_where import narrowed

            query = await narrowed(opened, query, wanted)
        number = await count_runs(opened, query)
    show(Count(count=number), lambda: out(str(number)), name=str(number))

"""``run start`` and ``run watch``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.arguments import Last, RunId, needs_run, the_started_run
from dagnats.cli.execute import run_async
from dagnats.cli.outputs import Outputs
from dagnats.cli.render.console import err, is_terminal, out
from dagnats.cli.render.results import emit, show
from dagnats.cli.run.app import app
from dagnats.cli.run.output import print_outputs
from dagnats.cli.run.watching import watch_run
from dagnats.cli.state import current, session
from dagnats.cli.texts import given, json_input

if TYPE_CHECKING:
    from dagnats.services.runs import Started
    from dagnats.services.session import Session


@app.add("start")
def start(
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="Workflow name to run.", show_default=False)
    ],
    payload: Annotated[
        str | None,
        typer.Argument(metavar="INPUT", help="JSON input, @FILE, or - for standard input."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Watch until completion.")] = False,
    output: Annotated[
        bool, typer.Option("--output", help="Print the output on completion (implies --watch).")
    ] = False,
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="Start at this RFC3339 time instead of now.")
    ] = "",
) -> None:
    """Start a run of a workflow, now or at a given time."""
    given(workflow, "workflow name")
    data = None if payload is None else json_input(payload)
    _check_time(at)
    run_async(_start(workflow, data, at, watch=(watch or output) and not at, output=output))


def _check_time(at: str) -> None:
    if at:
        import time

        from dagnats.services.runs import check_time

        check_time(at, time.time_ns())


async def _start(workflow: str, data: bytes | None, at: str, *, watch: bool, output: bool) -> None:
    from dagnats.services.runs import start_run

    async with session() as opened:
        started = await start_run(opened, workflow, data, at or None)
        _print_started(started)
        if watch:
            await _follow(opened, started.run_id, output=output)
        elif started.status != "scheduled":
            _next_commands(started.run_id)


def _print_started(started: Started) -> None:
    def text() -> None:
        if started.status == "scheduled":
            out(f"Scheduled {started.run_id[:8]} (run at {started.run_at})")
            return
        out(f"Started: {started.run_id}")
        if started.status == "existing":
            err("Note: the idempotency key of this input names a run that exists already")

    show(started, text, name=started.run_id)


@app.add("watch")
def watch(run_id: RunId = "", last: Last = False) -> None:
    """Follow a run until it ends; exit code 3 unless it completes."""
    needs_run(run_id, last)
    run_async(_watch(run_id, last))


async def _watch(ref: str, last: bool) -> None:
    async with session() as opened:
        run_id = await the_started_run(opened, ref, last)
        await _follow(opened, run_id, name=run_id)


async def _follow(
    opened: Session, run_id: str, *, output: bool = False, name: str | None = None
) -> None:
    from dagnats.services.run_events import run_outputs

    status = await watch_run(opened, run_id)
    outputs = await run_outputs(opened, run_id) if output else None
    if not current().human:
        texts = outputs.outputs if outputs else None
        emit(Outputs(run_id=run_id, status=status, outputs=texts), str, name=name)
    elif outputs is not None and outputs.outputs is not None:
        out("\nOutput:")
        print_outputs(outputs)
    elif outputs is not None:
        err(f"No output: run {status}")
    if status != "completed":
        raise typer.Exit(3)


def _next_commands(run_id: str) -> None:
    """Say at a terminal how to go on after a start."""
    if current().human and is_terminal():
        err(f"\n  dagnats run watch {run_id}\n  dagnats run inspect {run_id}    # if it fails")

"""``run why``, ``diff``, ``show``: to understand what a run did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.arguments import Last, RunId, needs_run, the_started_run
from dagnats.cli.execute import run_async
from dagnats.cli.render.console import out
from dagnats.cli.render.results import json_text, print_table, show
from dagnats.cli.render.table import Column, short_ids
from dagnats.cli.run.app import app
from dagnats.cli.run.detail import print_reasons, print_run
from dagnats.cli.state import session
from dagnats.cli.texts import whole
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.services.run_diff import Difference, RunDiff
    from dagnats.services.run_why import Reason

VALUE_LIMIT = 60


@app.add("show")
def show_run(
    run_id: RunId = "",
    at_seq: Annotated[
        int,
        typer.Option("--at-seq", parser=whole(0), help="As it was after this event (0: as it is)."),
    ] = 0,
    last: Last = False,
) -> None:
    """Show a run as it is, or as it was at an event."""
    needs_run(run_id, last)
    run_async(_show(run_id, last, at_seq))


async def _show(ref: str, last: bool, at_seq: int) -> None:
    from dagnats.services.run_query import RunView, get_run

    async with session() as opened:
        run_id = await the_started_run(opened, ref, last)
        view = await get_run(opened, run_id)
        if at_seq:
            from dagnats.services.run_events import run_at

            view = RunView(await run_at(opened, run_id, at_seq), view.definition)
    show(view.run, lambda: print_run(view), name=run_id)


@app.add("why")
def why(run_id: RunId = "", last: Last = False) -> None:
    """Say what a run waits for, what shows it, and what to do."""
    needs_run(run_id, last)
    run_async(_why(run_id, last))


async def _why(ref: str, last: bool) -> None:
    from dagnats.cli.reports import Why
    from dagnats.services.run_why import why as explain

    async with session() as opened:
        run_id = await the_started_run(opened, ref, last)
        reasons = await explain(opened, run_id)
    document = Why(run_id=run_id, reasons=reasons)
    show(document, lambda: _print_why(run_id, reasons), name=run_id)


def _print_why(run_id: str, reasons: list[Reason]) -> None:
    out(f"Run: {run_id}")
    if reasons:
        print_reasons(reasons)
    else:
        out("  nothing keeps it from going on")


@app.add("diff")
def diff(
    first: Annotated[str, typer.Argument(metavar="RUN_ID", help="One run.", show_default=False)],
    second: Annotated[str, typer.Argument(metavar="RUN_ID", help="Another.", show_default=False)],
) -> None:
    """Compare two runs; exit code 1 when they differ."""
    run_async(_diff(first, second))


async def _diff(first: str, second: str) -> None:
    from dagnats.services.run_diff import diff_runs

    async with session() as opened:
        left = await the_started_run(opened, first, last=False)
        right = await the_started_run(opened, second, last=False)
        found = await diff_runs(opened, left, right)
    show(found, lambda: _print_diff(found))
    if not found.same:
        raise typer.Exit(1)


def _print_diff(found: RunDiff) -> None:
    short = short_ids([found.a, found.b])
    if found.same:
        out("The runs are the same.")
    else:
        columns: list[Column[Difference]] = [
            Column("PATH", lambda row: row.path),
            Column(short[found.a], lambda row: one_line(json_text(row.a), VALUE_LIMIT), flex=True),
            Column(short[found.b], lambda row: one_line(json_text(row.b), VALUE_LIMIT), flex=True),
        ]
        print_table(found.differences, columns)
    took = [(step, *times) for step, times in found.timings.items() if any(times)]
    if took:
        out()
        timings: list[Column[tuple[str, str, str]]] = [
            Column("TOOK", lambda row: row[0], flex=True),
            Column(short[found.a], lambda row: row[1] or "-"),
            Column(short[found.b], lambda row: row[2] or "-"),
        ]
        print_table(took, timings)

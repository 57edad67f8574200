"""``run trace``: what took how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.cli.arguments import Last, RunId, needs_run, the_started_run
from dagnats.cli.execute import run_async
from dagnats.cli.render.console import out, paint, role_of
from dagnats.cli.render.results import show
from dagnats.cli.run.app import app
from dagnats.cli.state import session
from dagnats.errors import NotFoundError
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.services.run_trace import Branch, SpanRow

_ROLES = {"ok": "completed", "error": "failed"}
"""Spans are coloured as runs are."""


@app.add("trace")
def trace(run_id: RunId = "", last: Last = False) -> None:
    """Show the spans of a run as a tree: what took how long, because of what."""
    needs_run(run_id, last)
    run_async(_trace(run_id, last))


async def _trace(ref: str, last: bool) -> None:
    from dagnats.services.run_trace import run_trace

    async with session() as opened:
        run_id = await the_started_run(opened, ref, last)
        rows = await run_trace(opened, run_id)
    if not rows:
        raise NotFoundError(
            "No spans found for run.", "a busy server traces some runs only; try 'run events'"
        )
    show(rows, lambda: _print(rows), name=run_id)


def _print(rows: list[SpanRow]) -> None:
    from dagnats.services.run_trace import trees

    for trace_id, branches in trees(rows).items():
        out(f"Trace: {trace_id[:16]}...")
        for branch in branches:
            out(_line(branch))


def _line(branch: Branch) -> str:
    row, last = branch.row, branch.last
    bars = "".join("   " if ended else "│  " for ended in last[:-1])
    corner = "└─ " if last[-1] else "├─ "
    status = f"[{row.status}]"
    if row.status in _ROLES:
        status = paint(status, role_of(_ROLES[row.status]))
    return f"{bars}{corner}{one_line(row.name, 80)} ({row.duration_ms:.0f}ms) {status}"

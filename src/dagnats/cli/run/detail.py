"""The reports of one run: status, and status with failures and dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from dagnats.cli.render.console import out, paint, role_of
from dagnats.cli.render.results import json_text, print_table
from dagnats.cli.render.table import Column
from dagnats.cli.render.times import clock, date_time
from dagnats.model.run import is_terminal
from dagnats.services.text import one_line, sanitize

if TYPE_CHECKING:
    from dagnats.model.records import DeadLetter, ScheduledRun
    from dagnats.services.run_events import Inspection, RunEvent
    from dagnats.services.run_query import RunView
    from dagnats.services.run_why import Reason

STEP_WIDTH = 20
TYPE_WIDTH = 24
FAILURE_INDENT = " " * 10
DATA_LIMIT = 10_000


def print_schedule(run: ScheduledRun) -> None:
    """A run that waits for its time."""
    out(f"Run:    {run.run_id[:8]}")
    out(f"Status: {one_line(run.status)}")
    out(f"Run At: {one_line(run.run_at)}")


def print_run(view: RunView) -> None:
    """The head of a run, and a line per step in the order of the definition."""
    run = view.run
    out(f"Run:      {one_line(run.run_id)}")
    out(f"Workflow: {one_line(run.workflow_id)}")
    out(f"Status:   {paint(one_line(run.status), role_of(run.status))}")
    out(f"Created:  {date_time(run.created_at)} UTC")
    if run.error:
        out(f"Error:    {one_line(run.error)}")
    out("\nSteps:")
    for step in view.step_ids:
        out(_step_line(view, step))


def _step_line(view: RunView, step: str) -> str:
    state = view.run.steps[step]
    retries = view.retries(step)
    limit = f"/{retries + 1}" if retries else ""
    status = one_line(state.status)
    line = f"  {one_line(step):<{STEP_WIDTH}} {paint(status, role_of(status))}"
    line += f" (attempts: {state.attempts}{limit})"
    if state.iterations:
        line += f" (iterations: {state.iterations})"
    return line + (f" error: {one_line(state.error)}" if state.error else "")


def print_inspection(found: Inspection) -> None:
    """A run, then what failed, what is dead, and why it does not move."""
    print_run(found.view)
    if found.failures:
        out("\nFailures:")
        for event in found.failures:
            _print_failure(event)
    if found.dead_letters:
        out("\nDead Letters:")
        print_table(found.dead_letters, _DEAD_COLUMNS, indent="  ")
    if found.reasons and not is_terminal(found.view.run.status):
        out("\nWhy it waits:")
        print_reasons(found.reasons)


def _print_failure(event: RunEvent) -> None:
    kind = one_line(event.type)
    padding = " " * (TYPE_WIDTH - len(kind))
    step = one_line(event.step_id) or "-"
    out(f"  {clock(event.timestamp)}  {paint(kind, 'bad')}{padding} {step}")
    if event.trace_id:
        out(f"{FAILURE_INDENT}trace: {one_line(event.trace_id)}")
    for text in _failure_texts(event.data):
        out(FAILURE_INDENT + sanitize(text, DATA_LIMIT).replace("\n", f"\n{FAILURE_INDENT}"))


def _failure_texts(data: str) -> list[str]:
    """The data of a failure, and the traceback in it as one reads it."""
    try:
        document: object = msgspec.json.decode(data) if data else None
    except msgspec.MsgspecError:
        document = None
    if isinstance(document, dict):
        rest = cast("dict[str, object]", document)
        traceback = rest.pop("traceback", None)
        if isinstance(traceback, str):
            return [json_text(rest), traceback.rstrip()]
    return [data] if data else []


def print_reasons(reasons: list[Reason]) -> None:
    """Each reason, what shows it, and the command that helps."""
    for reason in reasons:
        out(f"  {one_line(reason.claim)}")
        for line in (reason.evidence, f"try: {reason.command}" if reason.command else ""):
            if line:
                out(f"    {one_line(line)}")


_DEAD_COLUMNS: list[Column[DeadLetter]] = [
    Column("SEQ", lambda letter: str(letter.sequence)),
    Column("TASK", lambda letter: letter.task),
    Column("STEP", lambda letter: letter.step_id),
    Column("ERROR", lambda letter: letter.error, flex=True),
]

"""Dead letters, runs and pictures for the tests of the list screens."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

from dagnats.services.session import Session
from dagnats.tui.line import Line
from dagnats.tui.printing import rows_of
from dagnats.wire.publisher import Outgoing
from tests.services.conftest import put_run
from tests.tui.conftest import Driver, console, engine, session, worker, workflow

__all__ = ["console", "engine", "session", "worker", "workflow"]

SNAPSHOTS = Path(__file__).parent / "snapshots"
ERRORS = (
    "HTTP 503 from hooks.slack.com/T0{}: Service Unavailable",
    "ExitError: mypy found {} errors in 1 file",
    "TimeoutError: step exceeded {}s [red]x[/red]\x1b[31m\u202e",
)


async def bury(
    session: Session, run_id: str, error: str, step: str = "a", task: str = "t", **given: object
) -> int:
    """A dead letter as the engine writes it, its failed run included."""
    await put_run(session, run_id, time.time_ns(), status="failed", workflow_id="notify")
    prefix = "Dagnats-Dlq-"
    headers = {
        f"{prefix}Run-Id": run_id,
        f"{prefix}Step-Id": step,
        f"{prefix}Task": task,
        f"{prefix}Error": error,
        f"{prefix}Attempts": "3",
        f"{prefix}Delivery-Count": "3",
        f"{prefix}Consumer": "TASK_QUEUES",
        f"{prefix}Task-Subject": f"task.{task}.{run_id}",
    }
    body = {"run_id": run_id, "step_id": step, "workflow_name": "notify", "input": given}
    message = Outgoing(f"dead.{task}.{run_id}.{step}", json.dumps(body).encode(), headers=headers)
    return (await session.bus.publisher.publish(message)).seq


async def bury_many(session: Session, counts: tuple[int, ...] = (4, 2, 1)) -> None:
    """Groups of dead letters, each of its own run."""
    for kind, number in enumerate(counts):
        for at in range(number):
            await bury(session, f"{kind}{at:07x}{'e' * 24}", ERRORS[kind].format(at), pr=at)


_PARTS = (
    (re.compile(r"\d\d:\d\d:\d\d(\.\d+)?Z?"), "hh:mm:ss"),
    (re.compile(r"[A-Z][a-z][a-z] \d\d hh:mm:ss"), "Mon dd hh:mm:ss"),
    (re.compile(r"\d{4}-\d\d-\d\d"), "yyyy-mm-dd"),
    (re.compile(r"\b\d+(\.\d+)?m?s( ago)?(?=\W|$)"), "1s"),
    (re.compile(r"\s+$"), ""),
)


def calm(text: str) -> str:
    """A row without times: they differ from run to run."""
    for pattern, instead in _PARTS:
        text = pattern.sub(instead, text)
    return text


def picture(ui: Driver) -> str:
    """The body of the screen with what looks different marked: ``[bad]text``."""
    view = ui.app.view
    assert view is not None
    size = ui.app.size
    rows = rows_of(ui.app, size.width, size.height)
    return "\n".join(calm(_told(row)) for row in rows[1:]) + "\n"


def _told(row: Line) -> str:
    parts: list[str] = []
    for span in row.spans:
        loud = next((word for word in ("bad", "warn") if word in span.role.split()), "")
        parts.append(f"[{loud}]{span.text}" if loud and span.text.strip() else span.text)
    return "".join(parts)


def same(ui: Driver, name: str) -> None:
    """The screen looks as it did; ``DAGNATS_SNAPSHOTS=1`` takes the pictures anew."""
    path, now = SNAPSHOTS / f"{name}.txt", picture(ui)
    if os.environ.get("DAGNATS_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(now, encoding="utf-8")
    assert now == path.read_text(encoding="utf-8"), f"{name} looks different"

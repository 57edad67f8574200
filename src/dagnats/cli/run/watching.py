"""Following one run: a live picture on a terminal, lines for a pipe, JSON lines for a program."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from dagnats.cli.render.console import colours, is_terminal, out, paint, role_of
from dagnats.cli.render.live import Region
from dagnats.cli.render.results import emit
from dagnats.cli.render.times import clock
from dagnats.cli.run.tree import tree_lines
from dagnats.cli.state import current
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.services.run_events import RunEvent
    from dagnats.services.run_query import RunView
    from dagnats.services.session import Session

TYPE_WIDTH = 24
REDRAW_S = 0.2


async def watch_run(session: Session, run_id: str) -> str:
    """Show a run until it has ended; returns the status it ended with.

    Args:
        session: the connection.
        run_id: the full id.
    """
    if current().human and is_terminal() and colours():
        return await _live(session, run_id)
    return await _lines(session, run_id)


async def _lines(session: Session, run_id: str) -> str:
    from dagnats.services.run_query import appearing_run
    from dagnats.services.run_watch import follow_run

    human = current().human
    if human:
        out()
    async for event in follow_run(session, run_id):
        emit(event, lambda event=event: event_line(event))
    run = await appearing_run(session, run_id)
    if human:
        out(f"\nRun {run.status}: {run_id}")
    return run.status


def event_line(event: RunEvent) -> str:
    """``  HH:MM:SS  type  step`` in columns."""
    kind = one_line(event.type)
    padding = " " * (TYPE_WIDTH - len(kind))
    step = one_line(event.step_id, 200) or "-"
    return f"  {clock(event.timestamp)}  {paint(kind, role_of(kind))}{padding} {step}"


async def _live(session: Session, run_id: str) -> str:
    from dagnats.services.run_query import get_run
    from dagnats.services.run_watch import follow_run

    region = Region()
    changed = asyncio.Event()
    changed.set()

    async def follow() -> None:
        async for _ in follow_run(session, run_id):
            changed.set()

    following = asyncio.create_task(follow())
    view: RunView | None = None
    try:
        while not following.done():
            if changed.is_set():
                changed.clear()
                view = await _seen(session, run_id) or view
            room = region.rows - 1
            lines = tree_lines(view, session.now(), room) if view else [f"Waiting for {run_id}"]
            region.draw(lines)
            await asyncio.wait([following], timeout=REDRAW_S)
        following.result()
        final = view = await get_run(session, run_id)
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        region.clear()
        if view is not None:
            out("\n".join(tree_lines(view, session.now())))
    status = final.run.status
    out(f"\nRun {paint(status, role_of(status))}: {run_id}")
    return status


async def _seen(session: Session, run_id: str) -> RunView | None:
    """The run as it stands; ``None`` while no engine has taken it up."""
    from dagnats.errors import NotFoundError
    from dagnats.services.run_query import get_run

    try:
        return await get_run(session, run_id)
    except NotFoundError:
        return None

"""What can be done to one run or to many: show a plan, carry it out, say what came of it."""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from dagnats.errors import DagnatsError
from dagnats.services.dlq import replay_run
from dagnats.services.run_rows import RunRow
from dagnats.services.runs import cancel_run, retry_run, signal_run, start_run
from dagnats.services.session import Session
from dagnats.tui.format import plural
from dagnats.tui.host import Host
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.sheets.confirm import Confirm, Plan
from dagnats.tui.sheets.prompt import Editor, Prompt, json_check

T = TypeVar("T")

AT_ONCE = 8
"""Runs that are worked on at the same time."""

MANY = 5
"""From so many runs on the number must be typed."""

SHOWN = 6
"""Runs that a plan names."""

Deed = Callable[[Session, str], Awaitable[str]]
"""Does it to one run; the id of the run that came of it, if one did."""


class Outcome(msgspec.Struct):
    """What came of it.

    Args:
        done: runs it worked for, with the new run if there is one.
        failed: runs it did not work for, and why.
    """

    done: dict[str, str] = {}
    failed: dict[str, str] = {}


async def carry_out(host: Host, rows: Sequence[RunRow], verb: str, deed: Deed) -> Outcome:
    """Do something to every run, some at a time; the report line shows how far it is."""
    outcome, gate = Outcome(), asyncio.Semaphore(AT_ONCE)

    async def one(row: RunRow) -> None:
        async with gate:
            try:
                outcome.done[row.run_id] = await deed(host.session, row.run_id)
            except DagnatsError as error:
                outcome.failed[row.run_id] = error.message
            if len(rows) > AT_ONCE:
                host.report(_progress(outcome, len(rows), verb), "run")

    await asyncio.gather(*(one(row) for row in rows))
    return outcome


def _progress(outcome: Outcome, total: int, verb: str) -> str:
    done, failed = len(outcome.done), len(outcome.failed)
    return f"{verb}: {done + failed} of {total}, {done} done, {failed} refused"


def summary(outcome: Outcome, verb: str) -> tuple[str, str]:
    """One line on what came of it, and its role."""
    done, failed = len(outcome.done), len(outcome.failed)
    if not failed:
        return f"{plural(done, 'run')} {verb}", "ok"
    first = next(iter(outcome.failed.values()))
    if failed == 1 and not done:
        return first, "bad"
    return f"{plural(done, 'run')} {verb}, {failed} refused: {first}", "bad" if not done else "warn"


def about(
    rows: Sequence[RunRow], what: str, skipped: Sequence[str] = ()
) -> Callable[[int], list[Line]]:
    """The lines of a plan: which runs, what happens to them, what is left out."""

    def lines(width: int) -> list[Line]:
        found = wrapped(what, width, "text")
        found.append(Line())
        for row in rows[:SHOWN]:
            entry = line("  ").add(row.run_id[:8], "accent").gap(2)
            entry.add(row.workflow, "text", width=min(24, width // 3)).gap(2)
            entry.add(row.state, "muted", width=10)
            found.append(entry.gap(2).add(row.step, "muted", most=max(8, width - entry.width - 2)))
        if len(rows) > SHOWN:
            found.append(line(f"  and {len(rows) - SHOWN} more: {_flows(rows)}", "muted"))
        if skipped:
            found += [Line(), *(line(f"Left out: {text}", "warn") for text in skipped)]
        return found

    return lines


def _flows(rows: Sequence[RunRow]) -> str:
    counts = Counter(row.workflow for row in rows).most_common(4)
    return ", ".join(f"{number} {name}" for name, number in counts)


def command(words: str, rows: Sequence[RunRow]) -> str:
    """The command lines that do the same."""
    shown = [f"dagnats {words} {shlex.quote(row.run_id)}" for row in rows[:2]]
    more = f" ; … {len(rows) - 2} more" if len(rows) > 2 else ""
    return " ; ".join(shown) + more


def phrase(rows: Sequence[RunRow]) -> str:
    """What must be typed first: the number, if there are many."""
    return str(len(rows)) if len(rows) >= MANY else ""


async def cancel(host: Host, rows: Sequence[RunRow]) -> Outcome | None:
    """Cancel what has not ended."""
    live = [row for row in rows if not row.ended]
    ended = len(rows) - len(live)
    if not live:
        host.report("nothing to cancel: they have all ended", "warn")
        return None
    plan = Plan(
        title=f"Cancel {plural(len(live), 'run')}",
        lines=about(
            live,
            "They stop where they are; workers are told to let go. This cannot be undone.",
            [f"{plural(ended, 'run')} that ended already"] if ended else [],
        ),
        command=command("run cancel", live),
        verb="cancel the run" if len(live) == 1 else "cancel them",
        phrase=phrase(live),
        danger=True,
    )
    if not await host.ask(Confirm(plan)):
        return None
    outcome = await carry_out(host, live, "cancelling", _cancelled)
    host.report(*summary(outcome, "cancelled"))
    return outcome


async def _cancelled(session: Session, run_id: str) -> str:
    await cancel_run(session, run_id)
    return ""


async def retry(host: Host, rows: Sequence[RunRow]) -> Outcome | None:
    """Start each again as a new run with the same input."""
    plan = Plan(
        title=f"Start {plural(len(rows), 'run')} again",
        lines=about(
            rows,
            "A new run each, from the beginning, with the same input and the workflow as it is "
            "registered now. The old runs stay as they are.",
        ),
        command=command("run retry", rows),
        verb="start again",
        phrase=phrase(rows),
    )
    if not await host.ask(Confirm(plan)):
        return None
    outcome = await carry_out(host, rows, "starting again", _retried)
    new = list(outcome.done.values())
    text, role = summary(outcome, "started again")
    if len(new) == 1:
        text += f" as {new[0][:8]}"
    host.report(text, role, _cancelling(host, new) if new else None)
    return outcome


async def _retried(session: Session, run_id: str) -> str:
    return (await retry_run(session, run_id)).new_run_id


def _cancelling(host: Host, ids: list[str]) -> Callable[[], Awaitable[object]]:
    async def undo() -> None:
        done = 0
        for run_id in ids:
            try:
                await cancel_run(host.session, run_id)
                done += 1
            except DagnatsError:
                continue  # It has ended meanwhile; the count says so.
        host.report(f"undone: {done} of {plural(len(ids), 'new run')} cancelled", "warn")

    return undo


async def replay(host: Host, rows: Sequence[RunRow]) -> Outcome | None:
    """Let failed runs go on at the step that failed."""
    failed = [row for row in rows if row.status in ("failed", "compensate_failed")]
    others = len(rows) - len(failed)
    if not failed:
        host.report("nothing to replay: none of them has failed", "warn")
        return None
    plan = Plan(
        title=f"Replay {plural(len(failed), 'failed run')}",
        lines=about(
            failed,
            "The same runs go on at the step that failed, with fresh attempts; what was done "
            "before is kept. Their dead letters leave the queue.",
            [f"{plural(others, 'run')} that did not fail"] if others else [],
        ),
        command=command("dlq replay --run", failed),
        verb="replay",
        phrase=phrase(failed),
    )
    if not await host.ask(Confirm(plan)):
        return None
    outcome = await carry_out(host, failed, "replaying", _replayed)
    host.report(*summary(outcome, "replayed"))
    return outcome


async def _replayed(session: Session, run_id: str) -> str:
    found = await replay_run(session, run_id)
    if found.failed:
        raise DagnatsError(found.failed[0].error)
    if not found.replayed:
        raise DagnatsError("no dead letter of this run is left", "start it again instead")
    return ""


async def signal(host: Host, row: RunRow) -> None:
    """Send a signal to a run."""
    name = await host.ask(Prompt(f"Signal run {row.run_id[:8]}", "Name of the signal"))
    if not name:
        return
    text = await host.ask(Editor(f"Value of signal {name}", "{}", json_check, "send"))
    if text is None:
        return
    await signal_run(host.session, row.run_id, name, text.encode())
    host.report(f"signal {name} sent to {row.run_id[:8]}")


async def start_like(host: Host, row: RunRow, given: bytes) -> None:
    """Start a run like another, with its input to be edited, now or later."""
    text = await host.ask(
        Editor(f"Input of a new run of {row.workflow}", _pretty(given), json_check, "go on")
    )
    if text is None:
        return
    when = await host.ask(
        Prompt(
            f"When to start the run of {row.workflow}",
            "Leave it empty to start now, or give a time such as 2026-01-15T09:00:00Z.",
            verb="start",
        )
    )
    if when is None:
        return
    started = await start_run(host.session, row.workflow, text.encode(), when.strip() or None)
    what = f"scheduled for {started.run_at}" if started.run_at else "started"
    host.report(
        f"run {started.run_id[:8]} of {row.workflow} {what}",
        "ok",
        _cancelling(host, [started.run_id]),
    )


def _pretty(data: bytes) -> str:
    try:
        return msgspec.json.format(data or b"{}", indent=2).decode()
    except msgspec.MsgspecError:
        return data.decode(errors="replace")

"""What can be done to a run and its steps from its screen: ask, call one service, say what came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.errors import DagnatsError
from dagnats.model.codec import parse_json
from dagnats.model.run import ACTIVE_STEP
from dagnats.services import run_steps
from dagnats.services.dlq import replay
from dagnats.services.run_rerun import Change, RerunPlan, changes, plan_rerun, rerun_from
from dagnats.services.runs import Retried, cancel_run, retry_run, signal_run
from dagnats.tui.format import plural
from dagnats.tui.jsontree import value_text
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.run.copying import shell
from dagnats.tui.run.facts import document
from dagnats.tui.sheets.confirm import Confirm, Plan, told
from dagnats.tui.sheets.prompt import Editor, Prompt

if TYPE_CHECKING:
    from dagnats.tui.run.screen import RunScreen

CHANGES = 8
"""Changes of an input that a plan shows."""

NAMES = 200
"""Characters of the names of steps that a plan shows."""


def pretty(data: bytes) -> str:
    """A document to be edited."""
    try:
        return msgspec.json.format(data or b"null", indent=2).decode()
    except msgspec.MsgspecError:
        return data.decode(errors="replace")


# --- a new run ---------------------------------------------------------------------------------


async def retry_same(screen: RunScreen) -> None:
    """Start a new run with the same input."""
    run_id = screen.state.run_id
    plan = Plan(
        title=f"Retry run {run_id[:8]} with the same input",
        lines=told("A new run of the workflow as it is registered now; this one stays as it is."),
        command=shell("run", "retry", run_id),
        verb="retry",
    )
    if await screen.host.ask(Confirm(plan)):
        await _started(screen, await retry_run(screen.host.session, run_id), "retried")


async def retry_edited(screen: RunScreen) -> None:
    """Start a new run with another input."""
    run_id = screen.state.run_id
    old = bytes(screen.state.view.run.input) if screen.state.view else b""
    text = await screen.host.ask(Editor(f"Input of a new run like {run_id[:8]}", pretty(old)))
    if text is None:
        return
    found = changes(_value(old), _value(text.encode()))
    plan = Plan(
        title=f"Retry run {run_id[:8]} with this input",
        lines=lambda width: change_lines(found, width),
        command=shell("run", "retry", run_id, _compact(text)),
        verb="retry",
    )
    if await screen.host.ask(Confirm(plan)):
        done = await retry_run(screen.host.session, run_id, text.encode())
        await _started(screen, done, "retried with another input")


async def rerun(screen: RunScreen, *, edited: bool = False) -> None:
    """Start a new run at the step under the cursor, with the recorded outputs before it."""
    run_id, step = screen.state.run_id, screen.step
    data: bytes | None = None
    words = ["run", "rerun", run_id, "--from", step]
    if edited:
        old = bytes(screen.state.view.run.input) if screen.state.view else b""
        text = await screen.host.ask(Editor(f"Input for a rerun from {step}", pretty(old)))
        if text is None:
            return
        data = text.encode()
        words += ["--input", _compact(text)]
    planned = await plan_rerun(screen.host.session, run_id, step, data)
    plan = Plan(
        title=f"Rerun {run_id[:8]} from step {step}",
        lines=lambda width: _rerun_lines(planned, width),
        command=shell(*words),
        verb="rerun",
    )
    if await screen.host.ask(Confirm(plan)):
        await _started(screen, await rerun_from(screen.host.session, planned), "rerun")


def _rerun_lines(plan: RerunPlan, width: int) -> list[Line]:
    rows: list[Line] = []
    for what, steps in (("Runs again", plan.execute), ("Taken over", plan.reuse)):
        names = ", ".join(steps)
        names = names if len(names) <= NAMES else f"{names[:NAMES]}…"
        rows.append(line(f"{what}: {plural(len(steps), 'step')}", "text bold"))
        rows += wrapped(names or "-", width, "muted", 4)
    if plan.changes:
        rows += [Line(), line("The input changes", "text bold"), *change_lines(plan.changes, width)]
    return rows


def change_lines(found: list[Change], width: int) -> list[Line]:
    """How a document differs from what it was."""
    if not found:
        return [line("The document is the same as before.", "muted")]
    rows: list[Line] = []
    for change in found[:CHANGES]:
        row = Line().add(change.path, "accent", most=width // 3).add("  ")
        row.add(value_text(change.old), "bad", most=width // 4).add(" → ", "muted")
        rows.append(row.add(value_text(change.new), "ok", most=width // 3))
    if len(found) > CHANGES:
        rows.append(line(f"and {len(found) - CHANGES} more", "muted"))
    return rows


async def _started(screen: RunScreen, done: Retried, how: str) -> None:
    host, new = screen.host, done.new_run_id

    async def undo() -> None:
        await cancel_run(host.session, new)
        host.report(f"cancelled {new[:8]}", "ok")

    host.go(f"run {new}")
    host.report(f"{how}: this is the new run {new[:8]}", "ok", undo=undo)


# --- this run ----------------------------------------------------------------------------------


async def cancel(screen: RunScreen) -> None:
    """Cancel the run."""
    run_id, view = screen.state.run_id, screen.state.view
    steps = view.run.steps if view else {}
    active = [step for step, state in steps.items() if state.status in ACTIVE_STEP]
    children = [state.child_run_id[:8] for state in steps.values() if state.child_run_id]
    texts = [f"{plural(len(active), 'step')} under way end at once: {', '.join(active)[:NAMES]}"]
    if children:
        texts.append(f"Child runs that still go on are cancelled as well: {', '.join(children)}")
    texts.append("A cancelled run cannot go on; it can be retried or rerun as a new one.")
    plan = Plan(
        title=f"Cancel run {run_id[:8]}",
        lines=told(*texts),
        command=shell("run", "cancel", run_id),
        verb="cancel the run",
        danger=True,
    )
    if await screen.host.ask(Confirm(plan)):
        done = await cancel_run(screen.host.session, run_id)
        text = "cancelled" if done.confirmed else "cancel is sent; no engine has acted on it yet"
        _reported(screen, f"{run_id[:8]} {text}", ok=done.confirmed)


async def signal(screen: RunScreen) -> None:
    """Send a signal to the run."""
    run_id = screen.state.run_id
    label = "A wait in a handler takes the signal of its name, once."
    name = await screen.host.ask(Prompt(f"Signal to run {run_id[:8]}: name", label, verb="next"))
    if not name:
        return
    title = f"Payload of signal {name} to run {run_id[:8]}"
    text = await screen.host.ask(Editor(title, "{}", verb="send"))
    if text is None:
        return
    await signal_run(screen.host.session, run_id, name, text.encode())
    _reported(screen, f"signal {name} sent to {run_id[:8]}")


async def replay_letter(screen: RunScreen, *, edited: bool = False) -> None:
    """Replay the dead letter of the step under the cursor: this run goes on."""
    state = screen.state
    letter = state.letter(screen.step)
    if letter is None:
        return
    data: bytes | None = None
    found: list[Change] = []
    words = ["dlq", "replay", str(letter.sequence)]
    if edited:
        assert screen.row is not None
        old = bytes(document(state, screen.row, "input"))
        title = f"Input of step {letter.step_id} for the replay"
        text = await screen.host.ask(Editor(title, pretty(old)))
        if text is None:
            return
        data = text.encode()
        found = changes(_value(old), _value(data))
        words.append(f"--input={_compact(text)}")
    texts = (
        f"Run {state.run_id[:8]} is opened again and goes on at step {letter.step_id}.",
        "Completed steps stay; what the failure stopped starts over. The letter leaves the queue.",
    )
    plan = Plan(
        title=f"Replay dead letter #{letter.sequence}",
        lines=lambda width: [
            *told(*texts)(width),
            *([Line(), *change_lines(found, width)] if edited else []),
        ],
        command=shell(*words),
        verb="replay",
    )
    if await screen.host.ask(Confirm(plan)):
        await replay(screen.host.session, letter.sequence, data)
        screen.host.feed.dead.drop([letter.sequence])
        _reported(screen, f"replayed #{letter.sequence}: the run goes on at {letter.step_id}")


# --- approvals ---------------------------------------------------------------------------------


async def approve(screen: RunScreen, step: str, *, with_output: bool = False) -> None:
    """Let an approval pass."""
    run_id = screen.state.run_id
    data: bytes | None = None
    words = ["run", "approve", run_id, step]
    if with_output:
        editor = Editor(f"Output of {step}", '{"approved": true}', verb="next")
        text = await screen.host.ask(editor)
        if text is None:
            return
        data = text.encode()
        words.append(_compact(text))
    plan = Plan(
        title=f"Approve step {step} of run {run_id[:8]}",
        lines=told("The run goes on behind it at once. This cannot be taken back."),
        command=shell(*words),
        verb="approve",
    )
    if await screen.host.ask(Confirm(plan)):
        await run_steps.approve(screen.host.session, run_id, step, data)
        _reported(screen, f"approved {step}")


async def reject(screen: RunScreen, step: str) -> None:
    """Make an approval fail."""
    run_id = screen.state.run_id
    label = f"Step {step} fails with this reason, and what follows a failure follows."
    reason = await screen.host.ask(Prompt(f"Reject step {step}: why", label, verb="reject"))
    if reason is None:
        return
    body = msgspec.json.encode(reason or "rejected")
    await run_steps.reject(screen.host.session, run_id, step, body)
    _reported(screen, f"rejected {step}")


# --- steps by hand -----------------------------------------------------------------------------

EFFECTS = {
    "complete": "The step counts as completed, and what depends on it begins.",
    "fail": "The step fails for good: its handler, a compensation, or the end of the run follows.",
    "skip": "The step is left out; what depends on it begins as if it were done.",
    "retry": "The attempt under way is given up and the step is dispatched again, now.",
    "cancel": "The step is given up: its handler, a compensation, or the end of the run follows.",
}


async def override(screen: RunScreen, action: str) -> None:
    """Complete, fail, skip, retry or cancel the step under the cursor by hand."""
    run_id, step = screen.state.run_id, screen.step
    data: bytes | None = None
    words = ["step", action, run_id, step]
    if action == "complete":
        text = await screen.host.ask(Editor(f"Output of step {step}", "null", verb="next"))
        if text is None:
            return
        data = text.encode()
        words += ["--output", _compact(text)]
    title = f"{action.capitalize()} step {step} of run {run_id[:8]}: why"
    label = f"{EFFECTS[action]} The history keeps who did it and why."
    reason = await screen.host.ask(Prompt(title, label, check=_said, verb="next"))
    if not reason:
        return
    plan = Plan(
        title=f"{action.capitalize()} step {step}",
        lines=told(EFFECTS[action], f"Reason: {reason}"),
        command=shell(*words, "--reason", reason, "--yes"),
        verb=action,
        danger=action in ("fail", "cancel"),
    )
    if await screen.host.ask(Confirm(plan)):
        session = screen.host.session
        done = await run_steps.override_step(session, run_id, step, action, reason, data)
        _reported(screen, f"{action} {step}: it is {done.status} now")


def _said(text: str) -> str:
    return "" if text.strip() else "say why; it is kept in the history"


# --- common ------------------------------------------------------------------------------------


def _reported(screen: RunScreen, text: str, *, ok: bool = True) -> None:
    screen.host.report(text, "ok" if ok else "warn")
    if screen.reader is not None:
        screen.reader.read()


def _compact(text: str) -> str:
    return value_text(_value(text.encode())) if not text.startswith('"') else text


def _value(data: bytes) -> Any:
    try:
        return parse_json(data) if data else None
    except DagnatsError:
        return data.decode(errors="replace")

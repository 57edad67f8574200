"""The lines above and below the picture: what the run is, what is wrong, where in time we are."""

from __future__ import annotations

from dagnats.model.run import RunStatus, StepStatus, is_terminal
from dagnats.model.times import read_time
from dagnats.services.address import Address, format_address
from dagnats.tui.format import clock, date, plural, span
from dagnats.tui.line import Line
from dagnats.tui.run.model import shown_status
from dagnats.tui.run.state import Layout, RunState
from dagnats.tui.theme import Look

NAMED = 4
"""Steps that are named in the line about what goes on."""


def place(kind: str, name: str) -> str:
    """The address of a thing whose name may hold anything."""
    return format_address(Address(kind=kind, ids=(name,)))


def heading_lines(state: RunState, look: Look, width: int) -> list[Line]:
    """The two lines above the picture."""
    if state.view is None:
        row = Line().gap()
        if state.problem:
            return [row.add(state.problem, "bad", most=width - 2)]
        return [row.add(state.run_id[:8], "accent bold").gap().add("reading…", "muted")]
    return [_first(state, look, width), _second(state, look, width).clip(width)]


def _first(state: RunState, look: Look, width: int) -> Line:
    run, moment = state.moment().run, state.now
    glyph, role = look.status(run.status)
    row = Line().gap().add(glyph, f"{role} bold").gap().add(run.run_id[:8], "accent bold").gap()
    row.add(run.status, f"{role} bold").gap(3)
    row.add(run.workflow_id, "text bold", link=f"go:{place('flow', run.workflow_id)}").gap()
    definition = state.view.definition if state.view else None
    if definition is not None and definition.version:
        row.add(f"v{definition.version.removeprefix('v')}", "muted").gap(2)
    created = read_time(run.created_at)
    if created is not None:
        row.gap().add(span(moment - created), "text bold").gap(2)
        row.add(f"{clock(created)}Z" if width < 100 else date(created), "muted").gap(2)
    row.extend(_origin(state))
    return row.right(_right(state, look), width)


def _origin(state: RunState) -> Line:
    assert state.view is not None
    run, row = state.view.run, Line()
    if run.parent_run_id:
        there = f"go:run {run.parent_run_id}"
        row.add("child of ", "muted").add(run.parent_run_id[:8], "accent", link=there).gap(2)
    if run.origin_run_id:
        there = f"go:run {run.origin_run_id}"
        row.add("rerun of ", "muted").add(run.origin_run_id[:8], "accent", link=there).gap(2)
    if run.reopened:
        row.add(f"replayed {plural(run.reopened, 'time')}", "warn").gap(2)
    return row


def _right(state: RunState, look: Look) -> Line:
    row = Line()
    if not state.live:
        return row.add(f"AS OF EVENT {state.position}", "warn bold").gap()
    usual, run = state.usual(""), state.view.run if state.view else None
    created = read_time(run.created_at) if run else None
    if usual is not None and created is not None:
        row.add("p50 ", "muted").add(span(usual.p50), "muted").gap()
        took = state.now - created
        verdict = usual.verdict(took) if state.ended or took > usual.p50 else ""
        if verdict and usual.p50:
            share = round(100 * (took - usual.p50) / usual.p50)
            up = verdict == "slower"
            row.add(f"{look.glyph('up' if up else 'down')} {share:+d}%", "warn" if up else "faint")
        row.gap(2)
    if not state.ended:
        row.add(look.glyph("live"), "ok").add(" live ", "ok")
    return row


def _second(state: RunState, look: Look, width: int) -> Line:
    run = state.moment().run
    if run.status in (RunStatus.FAILED, RunStatus.COMPENSATE_FAILED, RunStatus.COMPENSATED):
        return _failure(state, look, width)
    row = Line().gap()
    if run.status == RunStatus.COMPLETED:
        row.add(look.glyph("ok"), "ok").gap().add(plural(len(run.steps), "step"), "muted")
        tries = sum(step.attempts > 1 for step in run.steps.values())
        if tries:
            row.add(f", {tries} needed more than one try", "retry")
        path = state.critical()
        if len(path) > 1:
            row.gap(3).add(f"{look.glyph('critical')} ", "accent dim")
            row.add(f" {look.glyph('arrow')} ".join(path), "muted")
        return row
    if is_terminal(run.status):
        glyph, role = look.status(run.status)
        return row.add(f"{glyph} {run.error or run.status}", role)
    if run.status == RunStatus.PENDING:
        glyph, role = look.status(run.status)
        return row.add(f"{glyph} waits for a run slot", role).add("   w says why", "muted")
    return _going_on(state, look)


def _failure(state: RunState, look: Look, width: int) -> Line:
    run = state.moment().run
    glyph, role = look.status(run.status)
    step, right = run.steps.get(run.failed_step), Line()
    if step is not None and step.attempts > 1:
        right.add(f"{look.glyph('tries')}{step.attempts}", "retry").gap(2)
    letter = state.letter(run.failed_step) or state.letter("")
    if letter is not None:
        right.add(f"DLQ #{letter.sequence}", "accent", link=f"go:dlq run:{state.run_id}")
    row = Line().gap().add(glyph, f"{role} bold").gap()
    if run.failed_step:
        row.add(run.failed_step, "bad bold", most=30).gap()
    room = width - row.width - right.width - 3
    row.add(run.error or (step.error if step else "") or run.status, "bad", most=max(10, room))
    return row.gap(2).extend(right)


def _going_on(state: RunState, look: Look) -> Line:
    """What is under way, what failed on the way first."""
    assert state.view is not None
    run, steps, row = state.moment().run, state.view.steps, Line().gap()
    found: list[tuple[int, str, str]] = []
    for step_id, step in run.steps.items():
        if step.status in (StepStatus.RUNNING, StepStatus.QUEUED):
            status = shown_status(steps.get(step_id), step, run)
            found.append((status != "retrying", step_id, status))
    for number, (_, step_id, status) in enumerate(sorted(found)[:NAMED]):
        glyph, role = look.status(status)
        row.gap(3 if number else 0).add(f"{glyph} {step_id}", role, most=40)
        error = run.steps[step_id].error
        if status == "retrying" and error:
            row.gap().add(error, "bad", most=60)
        else:
            row.gap().add(status, "muted")
    if len(found) > NAMED:
        row.gap(3).add(f"+{len(found) - NAMED} more", "muted")
    return row if found else row.add("nothing is under way", "muted").add("   w says why", "faint")


def scrubber(state: RunState, at: Layout, look: Look, width: int) -> Line:
    """Where in the run's time the moment lies: aligned with the timeline above."""
    row = Line("surface").gap(at.start)
    if state.view is None or not state.total:
        return row
    scale = state.scale(at.bars)
    place = scale.column(state.now)
    cells: list[tuple[str, str]] = []
    failures = {scale.column(state.history.times[number - 1]) for number in state.tracks.failures}
    for column in range(at.bars):
        past = column <= place
        if column in failures:
            cells.append((look.glyph("cut"), "bad" if past else "faint"))
        else:
            cells.append((look.glyph("rule" if past else "dot"), "line" if past else "faint"))
    cells[place] = (look.glyph("live"), "ok" if state.live else "warn bold")
    for glyph, role in cells:
        row.add(glyph, role)
    number = state.total if state.position is None else state.position
    text = f" {number:,}/{state.total:,}"
    row.add(text, "muted" if state.live else "warn bold")
    return row.clip(width)


def past_line(state: RunState, look: Look) -> Line:
    """Where and when we are, while travelling."""
    at, end = state.now, state.end
    row = Line().add(f"{look.glyph('past')} PAST", "warn bold").gap(2)
    row.add(f"event {state.position} of {state.total}", "warn").gap(2)
    row.add(f"{clock(at, 3)}Z  {_minus(end - at)}", "muted")
    return row.gap(3).add("\\", "accent bold", link="run.live").add(" live", "muted")


def _minus(span_ns: int) -> str:
    return f"-{span(span_ns)}"

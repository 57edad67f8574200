"""The run under the cursor, at a glance."""

from __future__ import annotations

from dagnats.model.run import StepState
from dagnats.model.times import read_time
from dagnats.services.run_query import RunView
from dagnats.services.run_rows import RunRow
from dagnats.tui.feed.feed import Feed
from dagnats.tui.format import NONE, age, clock, span
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.theme import Look

LABEL = 10
"""Cells of the labels."""


def peek_lines(row: RunRow, view: RunView | None, feed: Feed, look: Look, width: int) -> list[Line]:
    """A few facts, the error, and the steps with their times.

    Args:
        row: what the list knows.
        view: the run itself, once it has been read.
        feed: for what is usual.
        look: theme and glyphs.
        width: cells.
    """
    glyph, role = look.status(row.state)
    head = Line().add(f"{glyph} {row.run_id[:8]}", f"{role} bold").gap(2).add(row.state, role)
    rows = [head, *_facts(row, view, feed, look, width)]
    if row.error:
        rows += [Line(), *_error(row, look, width)]
    if view is not None:
        rows += [Line(), *_steps(view, feed.now(), look, width)]
    return rows


def _facts(row: RunRow, view: RunView | None, feed: Feed, look: Look, width: int) -> list[Line]:
    now = feed.now()
    rows = [
        _fact("workflow", row.workflow, width),
        _fact("started", f"{clock(row.created_ns)}Z  {age(now - row.created_ns)} ago", width),
        _took(row, feed, look, width),
    ]
    if row.worker and not row.ended:
        rows.append(_fact("worker", row.worker, width))
    if row.origin:
        rows.append(_fact("again of", row.origin, width, f"go:run {row.origin}"))
    if row.parent:
        rows.append(_fact("child of", row.parent, width, f"go:run {row.parent}"))
    if view is not None and bytes(view.run.input):
        rows.append(_fact("input", bytes(view.run.input).decode(errors="replace"), width))
    return rows


def _fact(label: str, value: str, width: int, link: str = "") -> Line:
    row = Line().add(label, "muted", width=LABEL)
    return row.add(value, "accent" if link else "text", most=max(8, width - LABEL), link=link)


def _took(row: RunRow, feed: Feed, look: Look, width: int) -> Line:
    taken = row.duration(feed.now())
    found = _fact("took" if row.ended else "running", span(taken), width)
    usual = feed.pulse.usual(row.workflow)
    if usual and taken is not None:
        if taken > 2 * usual:
            found.add(f"  {look.glyph('up')} {taken / usual:.1f}×", "warn")
        found.add(f"  usually {span(usual)}", "muted")
    return found.clip(width)


def _error(row: RunRow, look: Look, width: int) -> list[Line]:
    ended = row.status in ("failed", "compensate_failed")
    role = "bad" if ended else "retry"
    head = Line().add(f"{look.glyph('failed')} {row.step}", f"{role} bold")
    if row.attempts > 1:
        head.add(f"  attempt {row.attempts}", "muted")
    return [head, *(line("  ").extend(part) for part in wrapped(row.error, width - 2, role, 5))]


def _steps(view: RunView, now: int, look: Look, width: int) -> list[Line]:
    """A row per step: what it is at, and when it ran within the run."""
    begin = read_time(view.run.created_at) or now
    ends = [read_time(state.finished_at) or 0 for state in view.run.steps.values()]
    end = max([*ends, begin + 1]) if view.run.completed_at else now
    names = max((len(name) for name in view.step_ids), default=0)
    name_width = min(names, max(8, width // 3))
    room = width - name_width - 2 - 8
    rows: list[Line] = []
    for name in view.step_ids:
        state = view.run.steps[name]
        glyph, role = look.status(state.status)
        row = Line().add(glyph, role).gap().add(name, "text", width=name_width).gap()
        row.extend(_bar(state, (begin, max(end, begin + 1)), now, look, room))
        rows.append(row.add(_length(state, now), "muted", width=7, align="right"))
    return rows


def _length(state: StepState, now: int) -> str:
    begin = read_time(state.started_at) or read_time(state.queued_at)
    if begin is None:
        return NONE
    return span((read_time(state.finished_at) or now) - begin)


def _bar(state: StepState, whole: tuple[int, int], now: int, look: Look, room: int) -> Line:
    row = Line()
    begin = read_time(state.started_at) or read_time(state.queued_at)
    if begin is None or room < 4:
        return row.gap(max(0, room))
    end = read_time(state.finished_at) or now
    scale = room / (whole[1] - whole[0])
    left = max(0, min(room - 1, int((begin - whole[0]) * scale)))
    size = max(1, min(room - left, round((end - begin) * scale)))
    row.gap(left).add(look.glyph("bar") * size, look.status(state.status)[1])
    return row.gap(room - row.width)

"""What is known of the row under the cursor: in lines, and as documents."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw

from dagnats.engine.steps.map import split_instance
from dagnats.errors import InvalidError
from dagnats.model.codec import ABSENT, decode
from dagnats.model.retry import policy_for
from dagnats.model.run import MapInstance, RunStatus, StepState
from dagnats.model.times import read_time
from dagnats.model.workflow import (
    CONFIG_OF,
    ApprovalConfig,
    SleepConfig,
    StepDef,
    SubWorkflowConfig,
    WaitForEventConfig,
)
from dagnats.services.run_inputs import input_of, output_of_run
from dagnats.tui.format import NONE, clock, span
from dagnats.tui.line import Line, cut
from dagnats.tui.run.model import RUN_ROW, Moment, Row
from dagnats.tui.run.state import RunState
from dagnats.tui.run.tracks import Attempt

WORKER = 18
"""Cells of a worker's id in a line of facts."""

MAX_WORD = 80
"""Characters of a name or a place in a line of facts."""


def instance_of(moment: Moment, key: str) -> MapInstance | None:
    """The item of a map that a row stands for."""
    found = split_instance(key)
    if found is None or key in moment.run.steps:
        return None
    items = moment.state(found[0]).map_instances
    return items[found[1]] if found[1] < len(items) else None


def document(state: RunState, row: Row, what: str) -> Raw:
    """The input or output of a row at the moment that is shown; ``ABSENT`` if there is none."""
    moment = state.moment()
    if row.kind == "fold":
        return ABSENT
    if row.key == RUN_ROW:
        if what == "input":
            return moment.run.input
        done = moment.run.status == RunStatus.COMPLETED
        return output_of_run(moment.view) if done else ABSENT
    if what == "input":
        return input_of(moment.view, row.key)
    item = instance_of(moment, row.key)
    return item.output if item is not None else Raw(moment.state(row.key).output)


def error_of(state: RunState, row: Row) -> tuple[str, Attempt | None]:
    """The error of a row, and the attempt that told it."""
    moment = state.moment()
    failed = [attempt for attempt in row.attempts if attempt.error]
    last = failed[-1] if failed else None
    if row.key == RUN_ROW:
        return moment.run.error, None
    item = instance_of(moment, row.key)
    known = item.error if item is not None else moment.state(row.step_id).error
    return known or (last.error if last else ""), last


def fact_lines(state: RunState, row: Row) -> list[Line]:
    """Two lines about a row: what works on it, and what its definition says."""
    if row.key == RUN_ROW:
        return _run_facts(state)
    if row.kind == "fold":
        return [Line().add(row.note or "all completed", "muted"), Line()]
    assert state.view is not None
    step = state.view.steps.get(row.step_id)
    return [_work(state, row, step), _definition(state, row, step)]


def _run_facts(state: RunState) -> list[Line]:
    run = state.moment().run
    row = _pairs([("run", run.run_id), ("priority", str(run.priority_offset or ""))])
    more = [
        ("revision", run.revision[:8]),
        ("deadline", _time(run.deadline)),
        ("singleton", run.singleton_key),
        ("worker", run.sticky_worker),
    ]
    return [row, _pairs(more)]


def _work(state: RunState, row: Row, step: StepDef | None) -> Line:
    last = row.attempts[-1] if row.attempts else None
    usual = state.usual(row.step_id) if row.kind == "step" else None
    items = [
        ("task", step.task or str(step.type) if step else ""),
        ("waited", span(last.waited) if last and last.waited is not None else ""),
        ("ran", _ran(last, state.now)),
        ("p50", span(usual.p50) if usual else ""),
        ("worker", cut(last.worker, WORKER) if last else ""),
    ]
    return _pairs(items)


def _ran(last: Attempt | None, now: int) -> str:
    if last is None or last.started is None:
        return ""
    end = last.ended.at if last.ended is not None else now
    return span(end - last.started.at)


def _definition(state: RunState, row: Row, step: StepDef | None) -> Line:
    if step is None:
        return Line().add("its definition is gone", "muted")
    live = state.moment().state(row.step_id)
    items = [*_waiting(step, live, state.now)]
    items.append(("after", ", ".join(step.depends_on[:4])))
    if state.view is not None and state.view.definition is not None:
        policy = policy_for(step, state.view.definition)
        if policy is not None and policy.max_attempts:
            items.append(("retries", f"{policy.max_attempts} {policy.strategy}"))
    items.append(("timeout", span(step.timeout) if step.timeout else ""))
    items.append(("group", step.worker_group))
    items.append(("on failure", step.on_failure))
    items.append(("undone by", step.compensate))
    return _pairs(items)


def _waiting(step: StepDef, state: StepState, now: int) -> Sequence[tuple[str, str]]:
    """What a step waits for, as far as its definition and state tell."""
    due = read_time(state.wake_at)
    items: list[tuple[str, str]] = []
    if due is not None and state.status in ("queued", "running"):
        word = "wakes" if step.type == "sleep" else "next try"
        items.append((word, f"{clock(due)}Z" + (f" in {span(due - now)}" if due > now else "")))
    if state.child_run_id:
        items.append(("child", state.child_run_id[:8]))
    kind = CONFIG_OF.get(step.type)
    if kind is None:
        return items
    try:
        config = decode(bytes(step.config) or b"{}", kind)
    except InvalidError:
        return items
    if isinstance(config, WaitForEventConfig):
        items.append(("event", config.event))
    elif isinstance(config, ApprovalConfig):
        items.append(("asks", config.description or config.subject))
    elif isinstance(config, SubWorkflowConfig):
        items.append(("workflow", config.workflow))
    elif isinstance(config, SleepConfig) and config.duration:
        items.append(("sleeps", span(config.duration)))
    return items


def _time(text: str) -> str:
    known = read_time(text)
    return "" if known is None else f"{clock(known)}Z"


def _pairs(items: Sequence[tuple[str, str]]) -> Line:
    """Labels and values; what is empty is left out."""
    row = Line()
    for label, value in items:
        if value:
            row.gap(3 if row.spans else 0).add(label, "muted").gap().add(
                value, "text", most=MAX_WORD
            )
    return row


def attempt_line(attempt: Attempt, number: int, glyph: str, role: str, now: int) -> Line:
    """One attempt in a line."""
    begun = attempt.begun
    row = Line().add(f"#{number}", "muted", width=4).add(glyph, role).gap()
    row.add(attempt.outcome or "goes on", role, width=10).gap()
    row.add(clock(begun.at, 1) if begun else NONE, "muted").gap(2)
    row.add("waited ", "muted").add(span(attempt.waited), "text", width=7)
    row.add("ran ", "muted").add(_ran(attempt, now) or NONE, "text", width=7)
    return row.add(attempt.worker, "accent", most=40)

"""A workflow's definition as lines: its graph, its steps, its limits."""

from __future__ import annotations

import msgspec

from dagnats.model.codec import is_absent, parse_json
from dagnats.model.run import WorkflowRun
from dagnats.model.workflow import TASK_TYPES, StepDef, WorkflowDef
from dagnats.services.documents import document
from dagnats.services.health import Health
from dagnats.services.run_query import RunView
from dagnats.tui.format import span
from dagnats.tui.line import Line, line
from dagnats.tui.run.shape import Shape, shape_of
from dagnats.tui.screens.listing import labelled, paired
from dagnats.tui.sheets.form import fields_of
from dagnats.tui.theme import Look

LANES = 12
"""Lanes of the rail at most."""

_ASCII = str.maketrans("│├┤┼╮╯╰╭─┬┴┐└┘┌", "|+++.'`.-++.`'.")


def view_of(flow: WorkflowDef) -> RunView:
    """A run that has not begun, so that what draws runs draws definitions."""
    return RunView(WorkflowRun(run_id="", workflow_id=flow.name), flow)


def shape_of_flow(flow: WorkflowDef) -> Shape:
    """The order of the steps, and the rail beside them."""
    return shape_of(view_of(flow), LANES)


def rail_line(shape: Shape, at: int, glyph: str, role: str, look: Look) -> Line:
    """The rail beside one step, with its glyph."""
    rung = shape.rungs[at]
    cells = rung.cells.translate(_ASCII) if look.ascii_only else rung.cells
    row = Line().add(cells[: rung.column], "faint").add(glyph, role)
    return row.add(cells[rung.column + 1 :], "faint").gap(shape.width - len(cells))


def step_state(step: StepDef, health: Health | None) -> tuple[str, str, str]:
    """Glyph name, role and word: whether anybody would do the step."""
    if step.type not in TASK_TYPES or not step.task:
        return "pending", "muted", ""
    if health is None:
        return "pending", "muted", ""
    queue = f"{step.task}.{step.worker_group}" if step.worker_group else step.task
    served = any(row.served for row in health.queues if row.task == queue)
    if served or any(step.task in worker.task_types for worker in health.workers):
        return "running", "ok", ""
    return "failed", "bad", "no worker"


def doing(step: StepDef) -> str:
    """What a step does: its task, else its type."""
    return step.task or str(step.type).replace("_", " ")


def about_step(step: StepDef) -> str:
    """What is special about a step, in a few words."""
    parts: list[str] = []
    if step.task and step.type != "normal":
        parts.append(str(step.type).replace("_", " "))
    if step.timeout:
        parts.append(f"timeout {span(step.timeout)}")
    if step.retry is not None:
        parts.append(f"retry {step.retry.max_attempts}x {step.retry.strategy}")
    elif step.retries:
        parts.append(f"retry {step.retries}x")
    if step.skip_if is not None:
        parts.append(f"skipped if {step.skip_if.step_id}.{step.skip_if.field}")
    for label, value in (("on failure", step.on_failure), ("undone by", step.compensate)):
        if value:
            parts.append(f"{label} {value}")
    if step.worker_group:
        parts.append(f"group {step.worker_group}")
    if step.max_task_concurrency:
        parts.append(f"at most {step.max_task_concurrency} at once")
    if step.rate_limit is not None:
        parts.append(f"{step.rate_limit.limit} per {span(step.rate_limit.period)}")
    return ", ".join(parts)


def graph_lines(flow: WorkflowDef, health: Health | None, look: Look, width: int) -> list[Line]:
    """One line per step: rail, name, task, and what is special."""
    shape = shape_of_flow(flow)
    steps = {step.id: step for step in flow.steps}
    names = min(24, max((len(step) for step in steps), default=4))
    tasks = min(20, max((len(doing(step)) for step in flow.steps), default=4))
    lines: list[Line] = []
    for at, node in enumerate(shape.nodes):
        step = steps[node.id]
        glyph, role, word = step_state(step, health)
        row = rail_line(shape, at, look.glyph(glyph), role, look).gap()
        extra = f" {look.glyph('tries')}{len(node.members)}" if len(node.members) > 1 else ""
        row.add(node.id + extra, "text", width=names + (4 if extra else 0)).gap(2)
        row.add(doing(step), "muted", width=tasks).gap(2)
        if word:
            row.add(word, role).gap(2)
        lines.append(row.add(about_step(step), "faint" if not word else "muted").clip(width))
    return lines


def limits_of(flow: WorkflowDef) -> list[Line]:
    """What holds for the workflow as a whole."""
    rows = [
        labelled("version", flow.version or "none"),
        labelled("steps", len(flow.steps)),
        labelled("timeout", span(flow.timeout) if flow.timeout else "none"),
    ]
    if flow.concurrency is not None:
        held = flow.concurrency
        text = f"{held.max_runs or 'any'} runs, {held.max_steps or 'any'} steps"
        rows.append(labelled("at once", text))
    if flow.singleton is not None:
        rows.append(labelled("singleton", f"{flow.singleton.mode} {flow.singleton.key}".strip()))
    if flow.idempotency_key:
        rows.append(labelled("once per", flow.idempotency_key))
    if flow.priority is not None:
        rows.append(labelled("priority by", flow.priority.key))
    if flow.sticky:
        rows.append(labelled("sticky", flow.sticky))
    rows += [labelled("cancelled on", each.event) for each in flow.cancel_on]
    schema = "none, any input" if is_absent(flow.input_schema) else schema_text(flow)
    rows.append(labelled("input", schema))
    return rows


def schema_text(flow: WorkflowDef) -> str:
    """The fields of the input schema; those that are required first, with a star."""
    known = fields_of(bytes(flow.input_schema))
    if not known:
        return "has a schema"
    return ", ".join(f"{each.name}*" if each.required else each.name for each in known)


def summary_lines(flow: WorkflowDef, health: Health | None, look: Look, width: int) -> list[Line]:
    """Limits, and the graph."""
    lines = paired(limits_of(flow), width)
    return [*lines, Line(), *graph_lines(flow, health, look, width)]


def unserved(flow: WorkflowDef, health: Health | None) -> list[str]:
    """The tasks of a workflow that nobody would do now."""
    return sorted({step.task for step in flow.steps if step_state(step, health)[2]})


def checks(flow: WorkflowDef, health: Health | None, look: Look) -> list[Line]:
    """What speaks against starting it."""
    missing = unserved(flow, health)
    if missing:
        return [line(f"{look.glyph('failed')} nobody serves {', '.join(missing)}", "bad")]
    return [line(f"{look.glyph('ok')} every task has a worker", "ok")]


def plain(flow: WorkflowDef) -> dict[str, object]:
    """The definition with its steps by id, so that a step that moved does not shift the others."""
    tree = parse_json(msgspec.json.encode(document(flow)))
    tree["steps"] = {step["id"]: step for step in tree["steps"]}
    return tree

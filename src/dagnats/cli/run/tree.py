"""The steps of a run as a tree: state, attempts, how long each has taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.cli.render.console import paint, role_of
from dagnats.cli.render.times import between
from dagnats.model.graph import topological
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.model.run import StepState
    from dagnats.services.run_query import RunView

GLYPHS = {
    "completed": "✓",
    "recovered": "✓",
    "running": "●",
    "queued": "◌",
    "failed": "✗",
    "skipped": "⊘",
    "cancelled": "⊘",
}
URGENT = frozenset({"running", "queued", "failed"})
NAME_WIDTH = 40
MAX_INDENT = 8


def tree_lines(view: RunView, now: int, limit: int = 1_000_000) -> list[str]:
    """The run in one line, then a line per step, indented by its depth in the graph.

    Args:
        view: the run.
        now: ns since 1970, for what still goes on.
        limit: how many lines of steps there is room for.
    """
    run = view.run
    head = f"{one_line(run.workflow_id, 60)} {run.run_id[:8]}"
    took = between(run.created_at, run.completed_at, now)
    lines = [f"{head}  {paint(run.status, role_of(run.status))}  {took}"]
    depths = _depths(view)
    steps = _chosen(view, limit)
    names = {step: "  " * depths[step] + one_line(step, NAME_WIDTH) for step in steps}
    width = max(map(len, names.values()), default=0)
    lines += [_line(names[s], width, run.steps[s], view.retries(s), now) for s in steps]
    if len(steps) < len(view.step_ids):
        lines.append(f"  … and {len(view.step_ids) - len(steps)} more steps")
    return lines


def _line(name: str, width: int, state: StepState, retries: int | None, now: int) -> str:
    status = one_line(state.status, 20)
    glyph = paint(GLYPHS.get(status, "○"), role_of(status))
    parts = [f"  {glyph} {name:<{width}}  {paint(f'{status:<9}', role_of(status))}"]
    parts.append(between(state.started_at or state.queued_at, state.finished_at, now))
    if state.attempts > 1 or retries:
        parts.append(f"(attempt {state.attempts}{f'/{retries + 1}' if retries else ''})")
    if state.iterations:
        parts.append(f"(iteration {state.iterations})")
    if state.map_instances:
        done = sum(item.status == "completed" for item in state.map_instances)
        parts.append(f"({done}/{len(state.map_instances)} items)")
    if state.error:
        parts.append(paint(one_line(state.error, 120), "bad"))
    return "  ".join(part for part in parts if part).rstrip()


def _depths(view: RunView) -> dict[str, int]:
    """How many steps stand before each on its longest way from a root."""
    known, steps = view.steps, set(view.step_ids)
    parents = {
        step: [parent for parent in known[step].depends_on if parent in steps]
        if step in known
        else []
        for step in view.step_ids
    }
    depths = dict.fromkeys(view.step_ids, 0)
    for step in topological(parents):
        depths[step] = max((depths[parent] + 1 for parent in parents[step]), default=0)
    return {step: min(depth, MAX_INDENT) for step, depth in depths.items()}


def _chosen(view: RunView, limit: int) -> list[str]:
    """The steps to show where not all fit: what moves or failed first, then the rest in order."""
    if len(view.step_ids) <= limit:
        return view.step_ids
    urgent = {s for s in view.step_ids if view.run.steps[s].status in URGENT}
    ranked = sorted(view.step_ids, key=lambda step: step not in urgent)[: max(limit - 1, 1)]
    kept = set(ranked)
    return [step for step in view.step_ids if step in kept]

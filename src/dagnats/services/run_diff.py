"""What is different about two runs."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from dagnats.errors import InvalidError
from dagnats.model.codec import encode, is_absent, parse_json
from dagnats.model.run import StepState
from dagnats.model.times import format_duration, read_time
from dagnats.services.run_query import RunView, get_run
from dagnats.services.run_rerun import changes
from dagnats.services.session import Session


class Difference(Struct, frozen=True):
    """One place where two runs differ."""

    path: str
    a: Any
    b: Any


class RunDiff(Struct, frozen=True):
    """Two runs side by side. How long they took is told, but makes no difference by itself.

    Args:
        same: input, definition, steps and outputs are the same.
        differences: where not, in order: definition, run, steps.
        timings: by step, how long it took in each run, as text; empty where it is not known.
    """

    a: str
    b: str
    same: bool
    differences: list[Difference]
    timings: dict[str, tuple[str, str]]


async def diff_runs(session: Session, a: str, b: str) -> RunDiff:
    """Compare two runs by their full ids.

    Raises:
        NotFoundError: one of them does not exist.
    """
    left, right = await get_run(session, a), await get_run(session, b)
    found = _compare("definition", _definition(left), _definition(right))
    found += _compare("run", _run(left), _run(right))
    steps = list(dict.fromkeys([*left.step_ids, *right.step_ids]))
    for step in steps:
        found += _compare(f"steps.{step}", _step(left, step), _step(right, step))
    timings = {step: (_took(left, step), _took(right, step)) for step in steps}
    return RunDiff(a, b, not found, found, timings)


def _compare(name: str, a: Any, b: Any) -> list[Difference]:
    found: list[Difference] = []
    for change in changes(a, b):
        path = name if change.path == "(root)" else f"{name}.{change.path}"
        found.append(Difference(path, change.old, change.new))
    return found


def _definition(view: RunView) -> Any:
    if view.definition is None:
        return None
    plain = msgspec.json.decode(encode(view.definition))
    # By step id: a step that moved or was added must not shift all others.
    plain["steps"] = {step["id"]: step for step in plain["steps"]}
    return plain


def _run(view: RunView) -> dict[str, Any]:
    run = view.run
    return {
        "workflow": run.workflow_id,
        "status": run.status,
        "input": _json(run.input),
        "error": run.error,
    }


def _step(view: RunView, step: str) -> dict[str, Any] | None:
    state = view.run.steps.get(step)
    if state is None:
        return None
    return {
        "status": state.status,
        "attempts": state.attempts,
        "iterations": state.iterations,
        "output": _json(Raw(state.output)),
        "error": state.error,
    }


def _json(data: Raw) -> Any:
    if is_absent(data):
        return None
    try:
        return parse_json(bytes(data))
    except InvalidError:
        return bytes(data).decode(errors="replace")


def _took(view: RunView, step: str) -> str:
    state = view.run.steps.get(step)
    elapsed = step_duration(state) if state else None
    return "" if elapsed is None else format_duration(elapsed)


def step_duration(state: StepState) -> int | None:
    """How long a step took, in ns; ``None`` when that is not known, as in runs of other servers."""
    started, finished = read_time(state.started_at), read_time(state.finished_at)
    return None if started is None or finished is None else max(0, finished - started)

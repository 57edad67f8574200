"""Random workflows that use everything a definition can say."""

from __future__ import annotations

import random
from typing import Any

from dagnats.model.codec import decode, encode
from dagnats.model.times import MILLISECOND, SECOND
from dagnats.model.validate import normalise, validate
from dagnats.model.workflow import WorkflowDef

Step = dict[str, Any]
TASKS = ("t.a", "t.b", "t.c")
GROUPED = "t.g"
EVENTS = ("ev.x", "ev.y")
KEYS = 3
"""Values of ``k`` in inputs and events."""

LIMITED = {"t.b": 2, "t.c": 1}
"""Task types with a concurrency limit, the same in all workflows that set one."""


def definitions(rng: random.Random) -> list[dict[str, Any]]:
    """A few valid workflows; later ones start earlier ones as children."""
    made: list[dict[str, Any]] = []
    for index in range(rng.choice((1, 2, 2, 3))):
        children = [each["name"] for each in made]
        made.append(_valid(rng, f"w{index}", children))
    return made


def _valid(rng: random.Random, name: str, children: list[str]) -> dict[str, Any]:
    while True:
        workflow = _workflow(rng, name, children)
        if not validate(normalise(decode(encode(workflow), WorkflowDef))):
            return workflow


def _maybe(rng: random.Random, share: float) -> bool:
    return rng.random() < share


def _workflow(rng: random.Random, name: str, children: list[str]) -> dict[str, Any]:
    steps: list[Step] = []
    for index in range(rng.choice((1, 2, 3, 3, 4, 5, 6))):
        steps.append(_step(rng, f"s{index}", steps, children))
    steps += _helpers(rng, steps)
    workflow: dict[str, Any] = {"name": name, "version": "1", "steps": steps}
    for share, key, value in (
        (0.25, "concurrency", {"max_runs": rng.choice((0, 1, 2)), "max_steps": rng.choice((0, 1))}),
        (0.15, "timeout", rng.choice((4, 9, 20)) * SECOND),
        (0.2, "default_retry", _retry(rng)),
        (0.12, "singleton", {"mode": rng.choice(("skip", "cancel")), "key": rng.choice(("", "k"))}),
        (0.15, "cancel_on", [_cancel(rng)]),
        (0.15, "priority", {"key": "k", "rules": {"0": 60, "1": -60}, "default_offset": 5}),
    ):
        workflow |= {key: value} if _maybe(rng, share) else {}
    if not any(step.get("worker_group") for step in steps) and _maybe(rng, 0.12):
        workflow["sticky"] = "soft"
    return workflow


def _cancel(rng: random.Random) -> dict[str, Any]:
    match = {"left": "k", "op": "==", "right": "input.k"}
    return {"event": "ev.stop", "match": match, "timeout": rng.choice((0, 5 * SECOND))}


def _retry(rng: random.Random) -> dict[str, Any]:
    return {
        "max_attempts": rng.choice((0, 1, 2, 3)),
        "strategy": rng.choice(("fixed", "linear", "exponential")),
        "initial_delay": rng.choice((0, 50, 400, 2500)) * MILLISECOND,
        "multiplier": 2,
    }


def _helpers(rng: random.Random, steps: list[Step]) -> list[Step]:
    """Failure handlers and compensators, some of them shared."""
    made: list[Step] = []
    for step in list(steps):
        for share, key, prefix in ((0.18, "on_failure", "h"), (0.2, "compensate", "u")):
            if not _maybe(rng, share):
                continue
            target = f"{prefix}{rng.choice((0, len(made)))}"
            if all(each["id"] != target for each in made):
                made.append({"id": target, "task": rng.choice(TASKS)})
                if _maybe(rng, 0.5):
                    made[-1]["retry"] = _retry(rng)
            step[key] = target
    return made


KINDS = (
    *(["normal"] * 6),
    *("agent", "agent_loop", "agent_loop", "map", "map", "sleep", "wait_for_event"),
    *("approval", "planner", "respond", "sub_workflow", "sub_workflow"),
)


def _step(rng: random.Random, step_id: str, before: list[Step], children: list[str]) -> Step:
    kind = rng.choice(KINDS)
    count = min(len(before), rng.choice((0, 1, 1, 1, 2, 3)))
    parents = [each["id"] for each in rng.sample(before, count)]
    if kind == "sub_workflow" and not children:
        kind = "normal"
    if kind == "map" and not before:
        kind = "normal"
    if kind == "map":
        parents = [rng.choice(before)["id"]]
    step: Step = {"id": step_id, "depends_on": parents, "type": kind}
    config = _config(rng, kind, children, before)
    if config is not None:
        step["config"] = config
    if kind in ("normal", "agent", "agent_loop", "map", "planner"):
        _task(rng, step)
    if _maybe(rng, 0.35):
        step["retry"] = _retry(rng)
    if parents and _maybe(rng, 0.15):
        step["skip_if"] = {"step_id": parents[0], "field": "stop", "op": "==", "value": True}
    return step


def _task(rng: random.Random, step: Step) -> None:
    task = step["task"] = rng.choice(TASKS)
    if _maybe(rng, 0.25):
        step["timeout"] = rng.choice((300 * MILLISECOND, 3 * SECOND))
    if _maybe(rng, 0.12):
        step["queue_timeout"] = rng.choice((1, 4)) * SECOND
    if task in LIMITED and _maybe(rng, 0.5):
        step["max_task_concurrency"] = LIMITED[task]
    elif _maybe(rng, 0.12):
        step["rate_limit"] = {"limit": 2, "period": SECOND}
    elif _maybe(rng, 0.1):
        step["keyed_rate_limit"] = {"key": "k", "limit": 1, "period": SECOND, "units": 1}
    elif _maybe(rng, 0.08):
        step["task"], step["worker_group"] = GROUPED, "gpu"
    if _maybe(rng, 0.2):
        step["metadata"] = {"m": "1"}


def _config(
    rng: random.Random, kind: str, children: list[str], before: list[Step]
) -> dict[str, Any] | None:
    match kind:
        case "agent_loop":
            return {
                "max_iterations": rng.choice((2, 3, 9)),
                "loop_delay": rng.choice((0, 0, 700)) * MILLISECOND,
                "max_duration": rng.choice((0, 0, 5)) * SECOND,
            }
        case "map":
            return {"max_items": rng.choice((3, 9)), "max_concurrency": rng.choice((0, 1, 2))}
        case "sleep":
            return rng.choice(
                (
                    {"duration": rng.choice((20, 700, 3500)) * MILLISECOND},
                    {"until_input_path": "ms"},
                )
            )
        case "wait_for_event":
            return _wait(rng, before)
        case "approval":
            return {"timeout": rng.choice((1, 6)) * SECOND, "subject": "ask.me"}
        case "planner":
            return {"max_steps": 3, "max_depth": 2}
        case "respond":
            return rng.choice(({}, {"status": 201}, {"body_from": "k"}))
        case "sub_workflow":
            return {"workflow": rng.choice(children), "detach": _maybe(rng, 0.2)}
        case _:
            return None


def _wait(rng: random.Random, before: list[Step]) -> dict[str, Any]:
    right = "input.k"
    if before and _maybe(rng, 0.2):
        right = f"step.{rng.choice(before)['id']}.output.k"
    return {
        "event": rng.choice(EVENTS),
        "timeout": rng.choice((2, 6)) * SECOND,
        "match": {"left": "k", "op": rng.choice(("==", "==", ">=")), "right": right},
    }

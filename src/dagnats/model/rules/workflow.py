"""The rules on a workflow as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Raw

from dagnats.model.codec import is_absent
from dagnats.model.graph import find_cycle, topological
from dagnats.model.names import is_key, is_path, name_problem
from dagnats.model.problems import Problem, quote
from dagnats.model.rules.bounds import MAX_COUNT, duration_problems
from dagnats.model.rules.configs import match_problems
from dagnats.model.rules.steps import retry_problems
from dagnats.model.schema import schema_problem
from dagnats.model.workflow import CancelOn, Concurrency, PriorityConfig, StepDef, WorkflowDef

CYCLE_SHOWN = 10
"""Steps of a cycle that are named."""


def heading_problems(definition: WorkflowDef) -> Iterator[Problem]:
    """What is wrong before any step is looked at."""
    if not definition.steps:
        yield Problem("steps", f"workflow {quote(definition.name)} has no steps")
    if problem := name_problem("workflow name", definition.name):
        yield Problem("name", problem)
    seen: set[str] = set()
    for index, step in enumerate(definition.steps):
        if step.id in seen and step.id:
            yield Problem(f"steps[{index}].id", f"duplicate step ID {quote(step.id)}")
        seen.add(step.id)


def aux_problems(definition: WorkflowDef, ids: Mapping[str, StepDef]) -> Iterator[Problem]:
    """What is wrong with the targets of ``on_failure`` and ``compensate``."""
    aux: set[str] = set()
    for index, step in enumerate(definition.steps):
        for what, target in (("OnFailure", step.on_failure), ("Compensate", step.compensate)):
            if not target:
                continue
            aux.add(target)
            label = f"step {quote(step.id)} {what}"
            if target == step.id:
                yield Problem(f"steps[{index}]", f"{label} references itself")
            elif target in ids and ids[target].depends_on:
                text = f"{label} target {quote(target)} must not have DependsOn"
                yield Problem(f"steps[{index}]", text)
    for index, step in enumerate(definition.steps if aux else ()):
        for parent in aux.intersection(step.depends_on):
            text = f"step {quote(step.id)} depends on {quote(parent)} which runs on failure only"
            yield Problem(f"steps[{index}].depends_on", text)


def workflow_problems(definition: WorkflowDef) -> Iterator[Problem]:
    """What is wrong with everything that is not a step."""
    name = f"workflow {quote(definition.name)}"
    yield from _at("concurrency", _concurrency(name, definition.concurrency))
    label = f"{name} DefaultRetry"
    yield from _at("default_retry", retry_problems(label, definition.default_retry))
    yield from _at("timeout", duration_problems(f"{name} Timeout", definition.timeout))
    for field in ("input_schema", "output_schema"):
        schema: Raw = getattr(definition, field)
        if not is_absent(schema) and (problem := schema_problem(bytes(schema))):
            yield Problem(field, f"{field}: {problem}")
    yield from _at("idempotency_key", _key("idempotency_key", definition.idempotency_key))
    yield from _at("sticky", _sticky(name, definition))
    yield from _at("priority", _priority(definition.priority))
    yield from _at("cancel_on", _cancel_on(definition.cancel_on))
    if definition.singleton is not None:
        if definition.singleton.mode not in ("skip", "cancel"):
            yield Problem("singleton.mode", "singleton: mode must be skip or cancel")
        yield from _at("singleton.key", _key("singleton: key", definition.singleton.key))


def cycle_problems(ids: Mapping[str, StepDef]) -> Iterator[Problem]:
    """Whether the steps wait for each other in a circle."""
    parents = {step_id: step.depends_on for step_id, step in ids.items()}
    reachable = len(topological(parents))
    if reachable == len(parents):
        return
    cycle = find_cycle(parents)
    shown = [*cycle[:CYCLE_SHOWN], *(["…"] if len(cycle) > CYCLE_SHOWN else []), cycle[0]]
    text = f"workflow contains a cycle ({reachable} of {len(parents)} steps reachable)"
    yield Problem("steps", text, hint="the cycle: " + " -> ".join(shown))


def _at(path: str, texts: Iterator[str]) -> Iterator[Problem]:
    for text in texts:
        yield Problem(path, text)


def _concurrency(name: str, bounds: Concurrency | None) -> Iterator[str]:
    if bounds is None:
        return
    if not 0 <= bounds.max_steps <= 1000:
        yield f"{name} Concurrency.MaxSteps is {bounds.max_steps} (must be 0..1000)"
    if not 0 <= bounds.max_runs <= MAX_COUNT:
        yield f"{name} Concurrency.MaxRuns is {bounds.max_runs} (must be 0..{MAX_COUNT})"


def _key(label: str, path: str) -> Iterator[str]:
    if path.startswith(".") or path.endswith("."):
        yield f"{label} {quote(path)}: must not start or end with dot"
    elif ".." in path:
        yield f"{label} {quote(path)}: empty segment"


def _sticky(name: str, definition: WorkflowDef) -> Iterator[str]:
    sticky = definition.sticky
    if sticky not in ("", "soft", "hard"):
        yield f"{name}: invalid sticky strategy {quote(sticky)}"
        return
    if sticky == "hard" and definition.timeout <= 0:
        yield f"{name}: hard sticky requires a timeout to prevent permanent blocking"
    for step in definition.steps:
        if sticky and step.worker_group:
            label = f"step {quote(step.id)}"
            yield f"{name}: sticky is incompatible with per-step WorkerGroup ({label})"


def _priority(config: PriorityConfig | None) -> Iterator[str]:
    if config is None:
        return
    if not config.key:
        yield "priority: key must not be empty"
    elif not is_path(config.key):
        yield f"priority: key {quote(config.key)} has an empty segment"
    if not config.rules:
        yield "priority: rules must not be empty"
    if len(config.rules) > 20:
        yield "priority: max 20 rules"
    for offset in config.rules.values():
        if not -600 <= offset <= 600:
            yield f"priority: offset {offset} out of [-600, 600]"
    if not -600 <= config.default_offset <= 600:
        yield "priority: default_offset out of [-600, 600]"


def _cancel_on(rules: list[CancelOn]) -> Iterator[str]:
    if len(rules) > 5:
        yield "cancel_on: max 5 entries"
    for index, rule in enumerate(rules):
        label = f"cancel_on[{index}]"
        if not rule.event:
            yield f"{label}: event must not be empty"
        elif not is_key(rule.event):
            yield f"{label}: event {quote(rule.event)} is not a clean event type"
        yield from duration_problems(f"{label}: timeout", rule.timeout)
        match = rule.match
        if not (match.left or match.op or match.right):
            continue  # any event of this type cancels
        yield from match_problems(f"{label}: match", match)
        if match.right and not match.right.startswith("input."):
            yield f"{label}: match.right must start with input., got {quote(match.right)}"

"""What is odd about a definition, but no reason to refuse it (V-21)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from dagnats.model.codec import encode, is_absent
from dagnats.model.graph import ancestors
from dagnats.model.problems import Advice, quote
from dagnats.model.workflow import StepDef, StepType, WorkflowDef

RESPONDS_COMPARED = 50
"""Respond steps that are compared with each other; no sane workflow has more."""

Guards = dict[tuple[str, str], set[bytes]]


def warnings(definition: WorkflowDef, *, answers_http: bool) -> Iterator[Advice]:
    """What is odd about a sound definition.

    Args:
        definition: one without problems.
        answers_http: whether an HTTP trigger starts it.
    """
    name = quote(definition.name)
    responds = [step.id for step in definition.steps if step.type == StepType.RESPOND]
    if answers_http and not responds:
        text = f"workflow {name} answers an HTTP trigger but has no respond step"
        yield Advice("missing_respond", text)
    for first, second in _both_reachable(definition, responds[:RESPONDS_COMPARED]):
        text = f"steps {quote(first)} and {quote(second)} may both respond; only one answer is sent"
        yield Advice("duplicate_respond", text)
        break
    for shorter, longer in _overlapping(definition):
        text = f"tasks {quote(shorter)} and {quote(longer)} cannot both have workers"
        yield Advice("overlapping_tasks", text)
    if answers_http and (is_absent(definition.input_schema) or is_absent(definition.output_schema)):
        text = f"workflow {name} answers an HTTP trigger without an input_schema and output_schema"
        yield Advice("missing_schemas", text)


def _overlapping(definition: WorkflowDef) -> Iterator[tuple[str, str]]:
    """Task types one of which is the beginning of the other: their queues overlap (trap 13)."""
    tasks = {step.task for step in definition.steps if step.task}
    for task in sorted(tasks):
        tokens = task.split(".")
        for end in range(1, len(tokens)):
            if (shorter := ".".join(tokens[:end])) in tasks:
                yield shorter, task


def _both_reachable(definition: WorkflowDef, responds: list[str]) -> Iterator[tuple[str, str]]:
    ids = {step.id: step for step in definition.steps}
    guards = {step_id: _guards(step_id, ids) for step_id in responds}
    for first, second in combinations(responds, 2):
        if not _exclusive(guards[first], guards[second]):
            yield first, second


def _guards(step_id: str, ids: Mapping[str, StepDef]) -> Guards:
    """The values by which a step or one of its ancestors may be skipped, by what is looked at."""
    parents = {each: step.depends_on for each, step in ids.items()}
    found: Guards = {}
    for each in (step_id, *ancestors(parents, step_id)):
        condition = ids[each].skip_if
        if condition is not None:
            key = (condition.step_id, condition.field)
            found.setdefault(key, set()).add(condition.op.encode() + encode(condition.value))
    return found


def _exclusive(first: Guards, second: Guards) -> bool:
    """Whether both look at the same output and expect different things of it."""
    return any(first[key] != second[key] for key in first.keys() & second.keys())

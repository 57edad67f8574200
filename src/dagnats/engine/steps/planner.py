"""``planner``: a task whose output is more steps (``engine.md`` 6.5)."""

from __future__ import annotations

import msgspec

from dagnats.engine.kind import StepError
from dagnats.engine.steps.task import TaskStep
from dagnats.engine.turn import Turn
from dagnats.errors import InvalidError
from dagnats.model.codec import Wire, decode
from dagnats.model.event import EventType
from dagnats.model.graph import longest_depth
from dagnats.model.names import step_id_problem
from dagnats.model.run import StepState
from dagnats.model.task import FailureType
from dagnats.model.workflow import PlannerConfig, StepDef, StepType

MAX_DYNAMIC = 500
"""Generated steps per run (``wire.md`` 7.5)."""


class Fragment(Wire):
    """What a planner returns."""

    steps: list[StepDef] = []


class PlannerStep(TaskStep):
    """Its plan becomes part of the run; whoever waits for the planner waits for the plan."""

    def completed(self, turn: Turn, step: StepDef, state: StepState, output: bytes) -> bytes:
        """Check the plan and add its steps to the run; the plan itself stays the output."""
        del state
        try:
            fragment = decode(output, Fragment) if output else Fragment()
        except InvalidError as error:
            raise StepError(
                f"parse planner output: {error.message}", FailureType.RETRIABLE
            ) from None
        if not fragment.steps:
            return output
        problem = _problem(turn, step, fragment)
        if problem:
            raise StepError(f"validate fragment: {problem}", FailureType.RETRIABLE)
        _materialise(turn, step, fragment)
        turn.emit(EventType.PLANNER_MATERIALIZED, step.id)
        return output


def _materialise(turn: Turn, step: StepDef, fragment: Fragment) -> None:
    run, prefix = turn.run, f"{step.id}."
    made = [
        msgspec.structs.replace(
            each,
            id=prefix + each.id,
            depends_on=[prefix + parent for parent in each.depends_on] or [step.id],
            type=StepType.NORMAL.value,
            on_failure="",
            compensate="",
            skip_if=_renamed(each, prefix),
        )
        for each in fragment.steps
    ]
    run.snapshot.dynamic_steps.extend(made)
    run.plan = run.plan.extended(made)
    run.derive()


def _renamed(step: StepDef, prefix: str) -> msgspec.Struct | None:
    if step.skip_if is None:
        return None
    return msgspec.structs.replace(step.skip_if, step_id=prefix + step.skip_if.step_id)


def _problem(turn: Turn, step: StepDef, fragment: Fragment) -> str:
    config = turn.run.plan.config(step.id, PlannerConfig)
    total = len(turn.run.snapshot.dynamic_steps) + len(fragment.steps)
    if len(fragment.steps) > config.max_steps:
        return f"planner fragment has {len(fragment.steps)} steps (max {config.max_steps})"
    if total > MAX_DYNAMIC:
        return f"planner fragment makes {total} dynamic steps in this run (max {MAX_DYNAMIC})"
    return _step_problem(turn, step, config, fragment) or _graph_problem(config, fragment)


def _step_problem(turn: Turn, planner: StepDef, config: PlannerConfig, fragment: Fragment) -> str:
    ids = [step.id for step in fragment.steps]
    for step in fragment.steps:
        if not step.id:
            return "planner fragment step has empty ID"
        if problem := step_id_problem(step.id):
            return f"planner fragment step: {problem}"
        if ids.count(step.id) > 1:
            return f'planner fragment has duplicate ID "{step.id}"'
        if f"{planner.id}.{step.id}" in turn.run.plan.steps:
            return f'planner fragment ID "{step.id}" collides with existing step'
        if not step.task:
            return f'planner fragment step "{step.id}" has empty task'
        if config.allowed_tasks and step.task not in config.allowed_tasks:
            return f'planner fragment step "{step.id}" uses disallowed task "{step.task}"'
        for parent in step.depends_on:
            if parent not in ids:
                return (
                    f'planner fragment step "{step.id}" depends on "{parent}"'
                    " which is not in the fragment"
                )
    return ""


def _graph_problem(config: PlannerConfig, fragment: Fragment) -> str:
    depth = longest_depth({step.id: step.depends_on for step in fragment.steps})
    if depth is None:
        return "planner fragment contains a cycle"
    if config.max_depth and depth > config.max_depth:
        return f"planner fragment depth is {depth} (max {config.max_depth})"
    return ""

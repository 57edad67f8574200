"""Whether a definition or a trigger keeps the rules; every problem is reported, not just the first.

The rules themselves are in :mod:`dagnats.model.rules`.
"""

from __future__ import annotations

import msgspec

from dagnats.model.problems import Problem
from dagnats.model.rules.steps import step_problems
from dagnats.model.rules.triggers import trigger_problems
from dagnats.model.rules.workflow import (
    aux_problems,
    cycle_problems,
    heading_problems,
    workflow_problems,
)
from dagnats.model.trigger import TriggerDef
from dagnats.model.workflow import StepDef, WorkflowDef


def validate(definition: WorkflowDef) -> list[Problem]:
    """Every problem of a definition, in the order in which they would stop another reader."""
    ids: dict[str, StepDef] = {step.id: step for step in definition.steps}
    problems = list(heading_problems(definition))
    for index, step in enumerate(definition.steps):
        problems += [Problem(f"steps[{index}]", text) for text in step_problems(step, ids)]
    problems += aux_problems(definition, ids)
    problems += workflow_problems(definition)
    problems += cycle_problems(ids)
    return problems


def validate_trigger(trigger: TriggerDef) -> list[Problem]:
    """Every problem of a trigger by itself: neither its workflow nor other routes are seen."""
    return [Problem("", text) for text in trigger_problems(trigger)]


def derive_aux(definition: WorkflowDef) -> dict[str, bool]:
    """The targets of ``on_failure`` and ``compensate``, which do not start by themselves."""
    targets = [step.on_failure for step in definition.steps if step.on_failure]
    targets += [step.compensate for step in definition.steps if step.compensate]
    return dict.fromkeys(sorted(targets), True)


def normalise(definition: WorkflowDef) -> WorkflowDef:
    """The definition as it is registered: ``aux_steps`` derived, whatever the client sent."""
    return msgspec.structs.replace(
        definition, aux_steps=derive_aux(definition), version=definition.version or "1"
    )

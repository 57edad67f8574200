"""What a step gets as input, and what a run gives as output (``engine.md`` 5.1, RUN-23)."""

from __future__ import annotations

from msgspec import Raw

from dagnats.engine.run import Run
from dagnats.model.codec import ABSENT, encode
from dagnats.model.workflow import StepType

NULL = Raw(b"null")


def output_of(run: Run, step_id: str) -> Raw:
    """A step's output as embedded JSON, ``ABSENT`` when it has none."""
    output = run.state(step_id).output
    return Raw(output) if output else ABSENT


def step_input(run: Run, step_id: str) -> Raw:
    """The input of a step: the run's, its parent's output, or an object of its parents' outputs."""
    step = run.plan.steps[step_id]
    parents = step.depends_on
    if not parents:
        return run.snapshot.input
    if len(parents) == 1:
        return parent_output(run, parents[0])
    return Raw(encode({parent: _or_null(parent_output(run, parent)) for parent in parents}))


def parent_output(run: Run, parent: str) -> Raw:
    """What a child sees of a parent: a planner shows the results of its plan.

    One result stands for itself, several make an object under the plan's own ids.
    """
    step = run.plan.steps[parent]
    results = run.plan.generated_terminal(parent) if step.type == StepType.PLANNER else []
    if not results:
        return output_of(run, parent)
    if len(results) == 1:
        return output_of(run, results[0])
    prefix = len(parent) + 1
    return Raw(encode({made[prefix:]: _or_null(output_of(run, made)) for made in results}))


def run_outputs(run: Run) -> Raw:
    """The outputs of the terminal steps: verbatim if there is one, else an object by step."""
    terminal = run.plan.terminal
    if len(terminal) == 1:
        return _or_null(parent_output(run, terminal[0]))
    return Raw(encode({step_id: _or_null(parent_output(run, step_id)) for step_id in terminal}))


def _or_null(value: Raw) -> Raw:
    return value if bytes(value) else NULL

"""What a step of a run got, or will get, as input."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from dagnats.engine import inputs
from dagnats.engine.plan import Plan
from dagnats.engine.run import Run
from dagnats.engine.steps.map import split_instance
from dagnats.errors import InvalidError
from dagnats.model.codec import ABSENT, decode
from dagnats.services.run_query import RunView


def input_of(view: RunView, step_id: str) -> Raw:
    """The input of a step, or of an item of a map step; ``ABSENT`` where it is not known.

    The input that a dispatch was given stands in the snapshot only where the steps before it do not
    determine it; otherwise it follows from their outputs.
    """
    found = split_instance(step_id)
    if found is not None and step_id not in view.run.steps:
        return _item(input_of(view, found[0]), found[1])
    state = view.run.steps.get(step_id)
    if state is None or view.definition is None:
        return ABSENT
    if bytes(state.input):
        return state.input
    plan = Plan(view.definition, view.run.dynamic_steps)
    if step_id not in plan.steps or step_id in plan.aux:
        return ABSENT
    # Deriving fills gaps in the snapshot, which is not ours to change.
    snapshot = msgspec.structs.replace(view.run, steps=dict(view.run.steps))
    return inputs.step_input(Run(snapshot, plan), step_id)


def _item(items: Raw, index: int) -> Raw:
    try:
        return decode(bytes(items), list[Raw])[index]
    except (InvalidError, IndexError):
        return ABSENT


def output_of_run(view: RunView) -> Raw:
    """What the terminal steps put out, as a parent run would see it; ``ABSENT`` if not known."""
    if view.definition is None or not view.run.steps:
        return ABSENT
    snapshot = msgspec.structs.replace(view.run, steps=dict(view.run.steps))
    return inputs.run_outputs(Run(snapshot, Plan(view.definition, view.run.dynamic_steps)))

"""Cuts a failing scenario down to what it needs: ``python -m tests.simulation.minimise SEED``."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec

from dagnats.model.codec import decode, encode
from dagnats.model.validate import normalise, validate
from dagnats.model.workflow import WorkflowDef

from .bugs import BUGS
from .campaign import judge
from .scenario import Scenario, scenario
from .workers import Habits

CASES = Path(__file__).parent / "cases"


def kind_of(failures: list[str]) -> set[str]:
    """Which invariants are broken: what stands before the colon."""
    return {failure.partition(":")[0] for failure in failures}


def smaller(played: Scenario) -> Iterator[Scenario]:
    """Scenarios with a little less in them, the larger cuts first."""
    replace = msgspec.structs.replace
    for place in range(len(played.acts) - 1, -1, -1):
        yield replace(played, acts=played.acts[:place] + played.acts[place + 1 :])
    for field, value in (("engines", 1), ("fuse", 0), ("slow", 0.0), ("deaf", 0.0)):
        if getattr(played, field) != value:
            yield replace(played, **{field: value})
    for field in Habits.__struct_fields__:
        if getattr(played.habits, field):
            yield replace(played, habits=replace(played.habits, **{field: 0.0}))
    for place, workflow in enumerate(played.workflows):
        for less in _less(workflow):
            workflows = [*played.workflows[:place], less, *played.workflows[place + 1 :]]
            yield replace(played, workflows=workflows)


def _less(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key in workflow.keys() - {"name", "version", "steps"}:
        yield {name: value for name, value in workflow.items() if name != key}
    steps: list[dict[str, Any]] = workflow["steps"]
    for place in range(len(steps) - 1, -1, -1):
        yield workflow | {"steps": steps[:place] + steps[place + 1 :]}
        for key in steps[place].keys() - {"id", "task", "type", "config"}:
            less = {name: value for name, value in steps[place].items() if name != key}
            yield workflow | {"steps": [*steps[:place], less, *steps[place + 1 :]]}


def valid(played: Scenario) -> bool:
    """Whether every workflow could still be registered."""
    return not any(
        validate(normalise(decode(encode(workflow), WorkflowDef))) for workflow in played.workflows
    )


def minimise(played: Scenario, wanted: set[str]) -> Scenario:
    """The smallest scenario found that breaks one of the same invariants."""
    shrunk = True
    while shrunk:
        shrunk = False
        for candidate in smaller(played):
            if valid(candidate) and kind_of(judge(candidate)[0]) & wanted:
                played, shrunk = candidate, True
                break
    return played


def main() -> None:
    """Minimise one seed and keep it as a case."""
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(prog="minimise", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--name", default="", help="keep it as a case of that name")
    parser.add_argument("--bug", default="", choices=["", *BUGS])
    options = parser.parse_args()
    with BUGS[options.bug]() if options.bug else nullcontext():
        failures, _ = judge(scenario(options.seed))
        found = minimise(scenario(options.seed), kind_of(failures))
        failures, _ = judge(found)
    text = json.dumps(json.loads(msgspec.json.encode(found)), indent=1) + "\n"
    print(text, *failures, sep="\n")
    if options.name:
        CASES.mkdir(exist_ok=True)
        (CASES / f"{options.name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

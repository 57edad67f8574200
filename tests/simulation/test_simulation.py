"""The simulated deployment within the suite: a bounded number of seeds, and what was found once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from .bugs import BUGS
from .campaign import first_to_find, judge
from .minimise import CASES
from .scenario import Scenario, scenario

SEEDS = 60
WITHIN = 200
"""Seeds within which a planted mistake must be found."""

FEATURES = {
    *("run completed", "run failed", "run cancelled", "run compensated", "child run"),
    *("engine killed", "several engines", "task redelivered", "step retried", "act pause"),
    *("map completed", "planner completed", "agent_loop completed", "sub_workflow completed"),
    *("approval completed", "wait_for_event completed", "sleep completed", "respond completed"),
    *("normal recovered", "normal skipped", "event workflow.reopened", "event step.override"),
    *("tasks waited for a slot", "sticky", "reruns", "late result"),
}
"""What the seeds of this test must have exercised."""


def test_no_invariant_breaks_under_a_bounded_number_of_seeds() -> None:
    exercised: Counter[str] = Counter()
    for seed in range(1, SEEDS + 1):
        failures, features = judge(scenario(seed))
        assert failures == [], f"seed {seed}"
        exercised += features
    assert FEATURES - exercised.keys() == set()


def test_a_seed_replays_exactly() -> None:
    assert judge(scenario(7)) == judge(scenario(7))


@pytest.mark.parametrize("case", sorted(CASES.glob("*.json")), ids=lambda case: case.stem)
def test_what_was_found_once_stays_mended(case: Path) -> None:
    failures, _ = judge(msgspec.json.decode(case.read_bytes(), type=Scenario))
    assert failures == []


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_a_planted_mistake_is_found(bug: str) -> None:
    seed, failures = first_to_find(bug, 1, WITHIN)
    assert seed, f"{bug} was not found within {WITHIN} seeds"
    assert failures

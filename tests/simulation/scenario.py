"""Everything that is decided by a seed, as data: it can be stored, cut down, and played again."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from .flows import EVENTS, KEYS, definitions
from .workers import Habits

LENGTH_S = 12.0
"""How long runs are started and things go wrong, in virtual seconds."""

ACTIONS = ("complete", "fail", "skip", "retry", "cancel")


class Act(msgspec.Struct):
    """Something somebody does at a time (seconds from the start)."""

    at: float
    do: str
    what: dict[str, Any] = {}


class Scenario(msgspec.Struct):
    """One simulated life of a deployment.

    Args:
        seed: for every decision that is not written down here: delays, outcomes of tasks.
        workflows: the registered definitions.
        acts: what users, operators and fate do, in order of time.
        engines: how many there are.
        fuse: after how many messages of its own an engine dies, again and again; 0: never.
        slow: share of messages that take long.
        deaf: share of publishes whose acknowledgement is lost.
        habits: of the workers.
    """

    seed: int
    workflows: list[dict[str, Any]]
    acts: list[Act]
    engines: int = 1
    fuse: int = 0
    slow: float = 0.02
    deaf: float = 0.0
    habits: Habits = msgspec.field(default_factory=Habits)


def scenario(seed: int) -> Scenario:
    """What happens under a seed."""
    rng = random.Random(seed)
    workflows = definitions(rng)
    bad = rng.random() < 0.85
    return Scenario(
        seed=seed,
        workflows=workflows,
        acts=sorted(_acts(rng, workflows, bad), key=lambda act: act.at),
        engines=rng.choice((1, 1, 2, 3)),
        fuse=rng.choice((0, 25, 60, 150, 400)) if bad else 0,
        slow=rng.choice((0.0, 0.02, 0.1)),
        deaf=rng.choice((0.0, 0.0, 0.003, 0.02)) if bad else 0.0,
        habits=Habits() if bad else Habits(0.15, 0.0, 0.0, 0.0, 0.0, 0.0),
    )


def _acts(rng: random.Random, workflows: list[dict[str, Any]], bad: bool) -> list[Act]:
    names = [workflow["name"] for workflow in workflows]
    acts: list[Act] = []
    runs: list[str] = []

    def add(do: str, **what: Any) -> None:
        acts.append(Act(round(rng.uniform(0, LENGTH_S), 4), do, what))

    for index in range(rng.choice((1, 2, 3, 4, 6))):
        runs.append(f"r{index}")
        add(
            "start",
            run=f"r{index}",
            workflow=rng.choice(names[-2:]),
            input=_input(rng),
            shape=rng.choice(("plain", "plain", "plain", "trigger", "twice")),
        )
    for _ in range(rng.choice((0, 2, 4, 8))):
        body = {"k": rng.randrange(KEYS)}
        add("event", type=rng.choice((*EVENTS, *EVENTS, "ev.stop")), body=body)
    for share, do in ((0.3, "cancel"), (0.5, "override"), (0.6, "reopen"), (0.25, "rerun")):
        if rng.random() < share:
            add(do, run=rng.choice(runs), action=rng.choice(ACTIONS), pick=rng.random())
    if rng.random() < 0.15:
        begin = rng.uniform(0, LENGTH_S - 3)
        key = rng.choice(("pause", f"pause.{rng.choice(names)}"))
        acts += [Act(begin, "pause", {"key": key}), Act(begin + 2.5, "resume", {"key": key})]
    if rng.random() < 0.15:
        _redefine(rng, workflows, acts, add)
    if bad:
        _fate(rng, add)
    return acts


def _redefine(
    rng: random.Random, workflows: list[dict[str, Any]], acts: list[Act], add: Any
) -> None:
    """Change or delete a definition: but none that is looked up by its name after a crash.

    Whether the engine that died saw the old or the new one cannot be known.
    """
    steps = [step for workflow in workflows for step in workflow["steps"]]
    by_name = {step["config"]["workflow"] for step in steps if step.get("type") == "sub_workflow"}
    by_name |= {act.what["workflow"] for act in acts if act.what.get("shape") == "trigger"}
    free = [each["name"] for each in workflows if each["name"] not in by_name]
    if free:
        add("redefine", workflow=rng.choice(free), gone=rng.random() < 0.5)


def _input(rng: random.Random) -> Any:
    return rng.choice(
        (
            {"k": rng.randrange(KEYS), "ms": rng.choice((0, 300, 2500))},
            {"k": rng.randrange(KEYS), "ms": 100},
            {"k": rng.randrange(KEYS)},
            None,
        )
    )


def _fate(rng: random.Random, add: Any) -> None:
    for share, do in ((0.3, "cut"), (0.15, "server"), (0.25, "freeze"), (0.3, "away")):
        for _ in range(2):
            if rng.random() < share:
                add(do, who=rng.randrange(3), long=round(rng.choice((0.05, 0.5, 3.0, 6.0)), 2))

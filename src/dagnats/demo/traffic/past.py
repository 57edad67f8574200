"""An hour of runs that have ended, written as the engine would have written their snapshots."""

from __future__ import annotations

import random
from collections.abc import Iterator

from dagnats.model.codec import raw
from dagnats.model.run import StepState, WorkflowRun
from dagnats.model.times import MINUTE, SECOND, format_time
from dagnats.model.workflow import WorkflowDef
from dagnats.services.runs import new_run_id
from dagnats.services.session import Session
from dagnats.wire.publisher import Outgoing

PER_MINUTE = (2, 8)
"""Runs that were started each minute: from, to."""

FAILED = 0.06
"""How many of them failed."""


async def write_past(session: Session, definitions: list[WorkflowDef]) -> int:
    """Write the hour before now; how many runs there were."""
    chance = random.Random(11)  # noqa: S311 - nothing here is a secret
    messages = list(_messages(session, definitions, chance))
    for message in messages:
        await session.bus.publisher.publish(message)
    return len(messages)


def _messages(
    session: Session, definitions: list[WorkflowDef], chance: random.Random
) -> Iterator[Outgoing]:
    now = session.now()
    for minute in range(60, 1, -1):
        for _ in range(chance.randint(*PER_MINUTE)):
            began = now - minute * MINUTE + chance.randrange(MINUTE)
            run = _run(chance.choice(definitions), began, chance)
            yield session.stores.runs.message(f"run.{run.run_id}", run)


def _run(definition: WorkflowDef, began: int, chance: random.Random) -> WorkflowRun:
    fails = chance.random() < FAILED
    last = chance.randrange(len(definition.steps)) if fails else len(definition.steps) - 1
    steps: dict[str, StepState] = {}
    at = began
    for number, step in enumerate(definition.steps):
        if number > last:
            steps[step.id] = StepState(status="pending")
            continue
        took = int(chance.uniform(0.2, 3.0) * SECOND)
        failed = fails and number == last
        steps[step.id] = StepState(
            status="failed" if failed else "completed",
            attempts=3 if failed else 1,
            queued_at=format_time(at),
            started_at=format_time(at + SECOND // 20),
            finished_at=format_time(at + took),
            output=b"" if failed else b'{"ok":true}',
            error=f"ConnectionError: HTTP 503 from upstream {number}" if failed else "",
        )
        at += took
    state = definition.steps[last].id
    return WorkflowRun(
        run_id=new_run_id(),
        workflow_id=definition.name,
        status="failed" if fails else "completed",
        steps=steps,
        input=raw({"pull_request": chance.randint(700, 900)}),
        created_at=format_time(began),
        completed_at=format_time(at),
        error=steps[state].error,
        failed_step=state if fails else "",
    )

"""Start runs, kill, wait, and look at what became of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from msgspec import Struct

from dagnats.errors import DagnatsError, RefusedError, UnreachableError
from dagnats.model.run import WorkflowRun, is_terminal
from dagnats.model.workflow import WorkflowDef
from dagnats.services.contexts import ConnectSettings
from dagnats.services.run_query import RUN_PREFIX
from dagnats.services.runs import start_run
from dagnats.services.session import Session, open_session
from dagnats.services.workflows import register_definition
from dagnats.verify.place import Place, Victim
from dagnats.verify.verdict import Verdict, ending, fault_rows, step_rows
from dagnats.wire.readers import StoredEvent

T = TypeVar("T")

READY_S = 30.0
"""Seconds the server may take until it accepts a workflow."""

PAUSE_S = (1.0, 3.0)
"""Between two kills pass so many seconds, at random."""


class Plan(Struct, frozen=True, kw_only=True):
    """What to do.

    Args:
        definition: the workflow.
        input: of every run, as JSON; ``None``: none.
        runs: how many runs to start.
        kills: how many processes to kill while they run.
        victims: which.
        seed: of the order and the times of the kills.
        patience_s: how long after the last kill the runs may take, in seconds.
    """

    definition: WorkflowDef
    input: bytes | None
    runs: int
    kills: int
    victims: tuple[Victim, ...]
    seed: int
    patience_s: float


async def carry_out(
    plan: Plan, place: Place, tell: Callable[[str], None] = lambda _: None
) -> Verdict:
    """Run a campaign.

    Args:
        plan: what to do.
        place: the running processes.
        tell: called with a line about each thing that is done.

    Raises:
        RefusedError: the workflow does not even end when nothing is killed.
    """
    began = time.monotonic()
    async with open_session(await _reachable(place)) as session:
        place.start(Victim.WORKER)
        await _insist(place, lambda: register_definition(session, plan.definition))
        calm = await _undisturbed(plan, place, session)
        tell(f"undisturbed, a run ends {calm.status}")
        ids, kills = await _disturb(plan, place, session, tell)
        runs = await _ended(plan, place, session, ids)
        histories = await _histories(place, session, ids)
        left = await _insist(place, lambda: session.bus.api("STREAM.INFO.TASK_QUEUES"))
    statuses = Counter(status for run in runs.values() if (status := ending(run)))
    wanted = _outputs(calm)
    return Verdict(
        workflow=plan.definition.name,
        seed=plan.seed,
        runs=len(ids),
        lost=sum(run is None for run in runs.values()),
        stuck=sum(run is not None and not ending(run) for run in runs.values()),
        statuses=dict(statuses),
        undisturbed=calm.status,
        other_outputs=sum(run is not None and _outputs(run) != wanted for run in runs.values()),
        left_over=left["state"]["messages"],
        faults=fault_rows(kills, histories),
        steps=step_rows(histories),
        seconds=round(time.monotonic() - began, 1),
    )


async def _reachable(place: Place) -> ConnectSettings:
    settings = ConnectSettings(server=place.url)
    deadline = time.monotonic() + READY_S
    while True:
        with suppress(DagnatsError):
            async with open_session(settings) as session:
                await session.bus.api("CONSUMER.INFO.WORKFLOW_HISTORY.orchestrator")
                return settings
        if time.monotonic() > deadline:
            raise UnreachableError("the server did not start", _last_line(place, Victim.SERVER))
        await asyncio.sleep(0.1)


def _last_line(place: Place, name: Victim) -> str:
    lines = place.log(name).read_text(errors="replace").strip().splitlines()
    return f"its last words: {lines[-1][:200]}" if lines else "it said nothing"


async def _insist(place: Place, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a server that may be dying until it answers."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            return await ask()
        except DagnatsError:
            if time.monotonic() > deadline:
                raise
        place.revive()
        await asyncio.sleep(0.05)


async def _undisturbed(plan: Plan, place: Place, session: Session) -> WorkflowRun:
    run_id = (await start_run(session, plan.definition.name, plan.input)).run_id
    deadline = time.monotonic() + plan.patience_s
    while time.monotonic() < deadline:
        entry = await session.stores.runs.get(RUN_PREFIX + run_id)
        if entry is not None and is_terminal(entry.value.status):
            return entry.value
        if Victim.WORKER in place.revive():
            raise RefusedError("the worker ended by itself", _last_line(place, Victim.WORKER))
        await asyncio.sleep(0.05)
    raise RefusedError(
        f"a run did not end within {plan.patience_s:g} s although nothing was killed",
        "does the worker serve every task of the workflow? Allow more with --timeout",
    )


async def _disturb(
    plan: Plan, place: Place, session: Session, tell: Callable[[str], None]
) -> tuple[list[str], list[tuple[str, int]]]:
    chance = random.Random(plan.seed)  # noqa: S311 - to be repeated, not to be secret
    ids: list[str] = []
    kills: list[tuple[str, int]] = []
    for number in range(plan.kills):
        wanted = plan.runs * (number + 1) // plan.kills
        while len(ids) < wanted:
            started = await _insist(
                place, lambda: start_run(session, plan.definition.name, plan.input)
            )
            ids.append(started.run_id)
        await asyncio.sleep(chance.uniform(*PAUSE_S))
        victim = chance.choice(plan.victims)
        kills.append((victim.value, time.time_ns()))
        tell(f"kill {number + 1} of {plan.kills}: {victim.value}")
        place.kill(victim)
    return ids, kills


async def _ended(
    plan: Plan, place: Place, session: Session, ids: list[str]
) -> dict[str, WorkflowRun | None]:
    """The runs once all have ended, or as they are when patience does."""
    deadline = time.monotonic() + plan.patience_s
    keys = [RUN_PREFIX + run_id for run_id in ids]
    while True:
        place.revive()
        found = await _insist(place, lambda: session.stores.runs.get_many(keys))
        runs = {key: found[key].value if key in found else None for key in keys}
        if all(map(ending, runs.values())) or time.monotonic() > deadline:
            return runs
        await asyncio.sleep(0.2)


async def _histories(
    place: Place, session: Session, ids: list[str]
) -> dict[str, list[StoredEvent]]:
    return {
        run_id: await _insist(place, lambda run_id=run_id: session.stores.history.read(run_id))
        for run_id in ids
    }


def _outputs(run: WorkflowRun) -> dict[str, bytes]:
    return {step_id: state.output for step_id, state in run.steps.items()}

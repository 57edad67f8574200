"""Run the traffic on the server of ``DAGNATS_NATS_URL``: ``python -m dagnats.demo.traffic``."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
from contextlib import AsyncExitStack
from typing import Any

from dagnats.demo.traffic.flows import flows, triggers
from dagnats.demo.traffic.past import write_past
from dagnats.demo.traffic.tasks import workers
from dagnats.errors import DagnatsError
from dagnats.services.run_steps import approve, pending_approvals
from dagnats.services.runs import start_run
from dagnats.services.session import Session, open_session
from dagnats.services.triggers import create_trigger
from dagnats.services.workflows import register_definition

PAUSE_S = (0.4, 2.6)
"""Seconds between two starts."""

WEIGHTS = {
    "code-review": 4,
    "notify-fanout": 6,
    "image-pipeline": 3,
    "llm-agent-loop": 3,
    "charge-card": 3,
    "etl-nightly": 2,
    "geo-enrich": 1,
}
"""How often each workflow is started."""

AT_ONCE = 14
"""Runs that are started at the beginning."""

WAITING = 3
"""Approvals that are left to the user."""


def inputs(workflow: str, number: int, chance: random.Random) -> dict[str, Any]:
    """What a run is started with."""
    if workflow == "charge-card":
        amount = chance.choice([12, 35, 60, 80, 95, 250])
        return {"order": f"A-{1000 + number}", "amount": amount}
    if workflow == "image-pipeline":
        return {"images": chance.randint(4, 24), "batch": number}
    if workflow == "code-review":
        return {"pull_request": 800 + number, "ref": f"{chance.getrandbits(32):08x}"}
    return {"number": number, "customer": chance.choice(["acme", "globex", "initech"])}


async def main() -> None:
    """Register, work, and start runs until killed."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session())
        definitions = [flow.build() for flow in flows()]
        for definition in definitions:
            await register_definition(session, definition)
        for workflow, spec in triggers():
            await create_trigger(session, workflow, spec)
        await write_past(session, definitions)
        for worker in workers(session.url):
            await stack.enter_async_context(worker)
        await asyncio.gather(_start(session), _answer(session))


async def _start(session: Session) -> None:
    chance = random.Random(3)  # noqa: S311 - nothing here is a secret
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    for number in itertools.count():
        workflow = chance.choices(names, weights)[0]
        given = json.dumps(inputs(workflow, number, chance)).encode()
        with contextlib.suppress(DagnatsError):  # The next one may get through.
            await start_run(session, workflow, given)
        if number > AT_ONCE:
            await asyncio.sleep(chance.uniform(*PAUSE_S))


async def _answer(session: Session) -> None:
    """Somebody approves what has waited long enough, but leaves a few."""
    while True:
        await asyncio.sleep(5)
        with contextlib.suppress(DagnatsError):
            waiting = await pending_approvals(session)
            for token in sorted(waiting, key=lambda token: token.created_at)[:-WAITING]:
                await approve(session, token.run_id, token.step_id)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())

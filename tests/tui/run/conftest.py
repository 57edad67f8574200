"""Runs on a real server, to look at and to act upon."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dagnats.services.run_watch import wait_run
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from tests.conftest import eventually
from tests.services.conftest import Register

Run = Callable[..., Awaitable[str]]


@pytest.fixture
def started(session: Session, workflow: Register) -> Run:
    """``await started("name", *steps, input=…, end=True)`` runs a workflow, to its end if asked."""

    async def run(name: str, *steps: Any, given: Any = None, end: bool = True) -> str:
        if steps:
            await workflow(name, *steps)
        data = json.dumps({"n": 1} if given is None else given).encode()
        run_id = (await start_run(session, name, data)).run_id
        if end:
            await wait_run(session, run_id, 20)
        return run_id

    return run


async def waits(session: Session, run_id: str, step_id: str, status: str = "running") -> None:
    async def there() -> bool:
        entry = await session.stores.runs.get(f"run.{run_id}")
        return entry is not None and entry.value.steps[step_id].status == status

    await eventually(there)

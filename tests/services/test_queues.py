from __future__ import annotations

from dagnats.runtime.engine import Engine
from dagnats.services.queues import oldest_tasks
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from tests.conftest import eventually


async def test_the_oldest_task_of_each_queue(session: Session, engine: Engine, workflow) -> None:
    await workflow("w")
    before = session.now()
    await start_run(session, "w", b"{}")
    await start_run(session, "w", b"{}")

    async def queued() -> bool:
        return bool(await oldest_tasks(session, ["t", "empty"]))

    await eventually(queued)
    found = await oldest_tasks(session, ["t", "empty"])
    assert list(found) == ["t"]
    assert before - 10**9 <= found["t"] <= session.now()

"""What is too large for a message fails with a reason: nothing hangs, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dagnats.engine.fold import fold
from dagnats.model.codec import encode
from dagnats.model.times import SECOND
from dagnats.runtime.engine import Engine
from dagnats.wire.publisher import Outgoing, TooLargeError
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.engine.world import flow, step
from tests.runtime.test_engine import RawWorker, ended, start

HALF = "x" * 3_500_000
"""Two of these are less than a message, but more in the text of a snapshot."""

MATCH = {"left": "id", "op": "eq", "right": "input.id"}


@pytest.fixture
async def engine(stores: Stores) -> AsyncIterator[Engine]:
    engine = Engine(stores)

    async def handler(task: dict[str, Any]) -> tuple[str, Any]:
        if task["step_id"].startswith("loop"):
            return "step.continue", HALF
        return "step.completed", HALF

    working = asyncio.create_task(RawWorker(stores, "t", handler).run())
    task = asyncio.create_task(engine.run())
    await asyncio.wait_for(engine.ready(), 10)
    yield engine
    for each in (task, working):
        each.cancel()
    await asyncio.gather(task, working, return_exceptions=True)


async def letters(stores: Stores) -> list[str]:
    return [letter.error async for letter in stores.dead_letters.scan()]


async def check(stores: Stores, engine: Engine, run_id: str, reason: str) -> None:
    """The run failed for this reason, its history says so too, and the engine never stopped."""
    run = await ended(stores, run_id)
    assert run.status == "failed"
    assert re.search(reason, run.error), run.error
    history = await stores.history.read(run_id)
    assert history[-1].event.type == "workflow.failed"
    assert any(re.search(reason, error) for error in await letters(stores))

    async def taken() -> bool:
        info = await stores.bus.api("STREAM.INFO.TASK_QUEUES")
        return info["state"]["messages"] == 0

    await eventually(taken)
    assert engine.restarts == 0


async def test_outputs_that_are_too_large_together(stores: Stores, engine: Engine) -> None:
    bigs = [step(f"big{n}", *([f"big{n - 1}"] if n else ()), task="t") for n in range(4)]
    run_id = await start(stores, flow(*bigs), None)
    await check(stores, engine, run_id, r"the run's outputs of \d+ bytes exceed its limit of \d+")


async def test_inputs_that_are_too_large_together(stores: Stores, engine: Engine) -> None:
    """Loops that wait for their next iteration keep its input."""
    config = {"max_iterations": 5, "loop_delay": 60 * SECOND}
    loops = [step(f"loop{n}", type="agent_loop", task="t", config=config) for n in range(3)]
    run_id = await start(stores, flow(*loops), None)
    await check(stores, engine, run_id, r"the run's snapshot of \d+ bytes exceeds .* limit")


async def test_a_child_whose_outputs_are_too_large_together(stores: Stores, engine: Engine) -> None:
    child = flow(*(step(f"big{n}", task="t") for n in range(3)))
    await stores.definitions.put("w", child)
    parent = flow(step("c", type="sub_workflow", task="", config={"workflow": "w"}))
    run_id = await start(stores, parent, None)
    await check(stores, engine, run_id, r"child workflow failed: the run's outputs of \d+ bytes")


async def test_an_event_that_fills_a_message(stores: Stores, engine: Engine) -> None:
    config = {"event": "big", "timeout": 60 * SECOND, "match": MATCH}
    definition = flow(step("v", type="wait_for_event", task="", config=config))
    run_id = await start(stores, definition, {"id": 7})

    async def waits() -> bool:
        return any(s.event.type == "step.wait.started" for s in await stores.history.read(run_id))

    await eventually(waits)
    body = json.dumps({"id": 7, "pad": "x" * (stores.bus.max_payload - 100)}).encode()
    await stores.publisher.publish(Outgoing("event.big", body))
    await check(stores, engine, run_id, r"step.wait.matched of \d+ bytes exceeds")


async def test_the_history_says_what_the_snapshot_says(stores: Stores, engine: Engine) -> None:
    definition = flow(*(step(f"big{n}", task="t") for n in range(4)))
    run = await ended(stores, await start(stores, definition, None))
    pinned = await stores.revisions.get(f"w.{run.revision}")
    assert pinned is not None
    folded = fold(pinned.value, await stores.history.read(run.run_id))
    assert (folded.status, folded.error) == (run.status, run.error)
    assert {k: s.status for k, s in folded.steps.items()} == {
        k: s.status for k, s in run.steps.items()
    }
    assert len(encode(run)) < stores.bus.max_payload


async def test_headers_count(stores: Stores) -> None:
    """The server would end the connection, not refuse the message."""
    fits = stores.bus.max_payload - 12 - len("Nats-Msg-Id") - 4 - 10
    await stores.publisher.publish(Outgoing("history.r", b"x" * fits, "i" * 10))
    with pytest.raises(TooLargeError):
        await stores.publisher.publish(Outgoing("history.r", b"x" * (fits + 1), "j" * 10))

from __future__ import annotations

import asyncio
import json

import pytest

from dagnats.errors import ConflictError, InvalidError, NotFoundError, TooLargeError
from dagnats.model.codec import raw
from dagnats.model.records import ScheduledRun
from dagnats.model.times import DAY, SECOND, format_time
from dagnats.runtime.engine import Engine
from dagnats.services import audit
from dagnats.services.run_events import inspect_run, run_events, run_outputs
from dagnats.services.run_query import RunQuery, get_run, list_runs
from dagnats.services.run_watch import follow_run, wait_run
from dagnats.services.runs import (
    cancel_run,
    idempotency_key,
    retry_run,
    signal_run,
    start_run,
)
from dagnats.services.schedules import get_schedule, list_schedules
from dagnats.services.session import Session
from dagnats.worker.worker import Worker
from tests.services.conftest import put_run, step

NOW = 1_780_000_000 * SECOND
SCHEMA = {"type": "object", "required": ["pr"], "properties": {"pr": {"type": "integer"}}}


async def test_a_run_from_start_to_output(
    session: Session, engine: Engine, worker: Worker, workflow
) -> None:
    await workflow("w")
    started = await start_run(session, "w", b'{"pr": 42}')
    run = await wait_run(session, started.run_id, 20)
    assert run.status == "completed"
    outputs = await run_outputs(session, started.run_id)
    assert outputs.steps == ["b"]
    assert outputs.outputs is not None
    assert json.loads(outputs.outputs["b"]) == {"got": {"got": {"pr": 42}}}
    events = await run_events(session, started.run_id)
    assert (events[0].type, events[-1].type) == ("workflow.started", "workflow.completed")
    only = await run_events(session, started.run_id, type="step.completed", step="b")
    assert [(event.type, event.step_id) for event in only] == [("step.completed", "b")]


async def test_following_sees_everything_and_ends(
    session: Session, engine: Engine, worker: Worker, workflow
) -> None:
    await workflow("w")
    started = await start_run(session, "w", b"{}")
    async with asyncio.timeout(20):
        seen = [event.type async for event in follow_run(session, started.run_id)]
    assert seen[0] == "workflow.started"
    assert seen[-1] == "workflow.completed"
    assert seen == [event.type for event in await run_events(session, started.run_id)]
    async with asyncio.timeout(5):
        again = [event.type async for event in follow_run(session, started.run_id)]
    assert again == seen


async def test_a_failed_run_shows_its_failures_and_dead_letters(
    session: Session, engine: Engine, worker: Worker, workflow
) -> None:
    await workflow("w", step("a"), step("b", "a", task="bad"))
    started = await start_run(session, "w", b"{}")
    run = await wait_run(session, started.run_id, 20)
    assert run.status == "failed"
    found = await inspect_run(session, started.run_id)
    assert [event.type for event in found.failures] == ["step.failed", "workflow.failed"]
    assert "no such luck" in found.failures[0].data
    assert [(letter.task, letter.step_id) for letter in found.dead_letters] == [("bad", "b")]
    assert 'step "b"' in found.reasons[0].evidence
    outputs = await run_outputs(session, started.run_id)
    assert (outputs.status, outputs.outputs) == ("failed", None)


@pytest.mark.parametrize("data", [b"not json", b"{", b'{"a":1} trailing', b"\xff"])
async def test_input_that_is_not_json_starts_nothing(
    session: Session, workflow, data: bytes
) -> None:
    await workflow("w")
    with pytest.raises(InvalidError, match="input is not JSON"):
        await start_run(session, "w", data)
    assert (await list_runs(session, RunQuery())).runs == []


async def test_the_input_schema_is_checked_when_there_is_an_input(
    session: Session, workflow
) -> None:
    await workflow("w", input_schema=SCHEMA)
    with pytest.raises(InvalidError, match="input validation: ") as caught:
        await start_run(session, "w", b'{"pr": "x"}')
    assert "pr" in caught.value.message
    await start_run(session, "w", b'{"pr": 1}')
    await start_run(session, "w", None)


async def test_an_unknown_workflow(session: Session) -> None:
    with pytest.raises(NotFoundError, match='workflow "nope" not found'):
        await start_run(session, "nope", b"{}")
    with pytest.raises(NotFoundError, match='workflow "" not found'):
        await start_run(session, "", b"{}")


async def test_one_idempotency_key_makes_one_run(session: Session, workflow) -> None:
    await workflow("w", idempotency_key="order.id")
    inputs = [b'{"order":{"id":7}}'] * 20
    started = await asyncio.gather(*(start_run(session, "w", data) for data in inputs))
    assert len({one.run_id for one in started}) == 1
    events = await session.stores.history.read(started[0].run_id)
    assert [stored.event.type for stored in events] == ["workflow.started"]
    other = await start_run(session, "w", b'{"order":{"id":8}}')
    assert other.run_id != started[0].run_id
    without = [await start_run(session, "w", b"{}") for _ in range(2)]
    assert without[0].run_id != without[1].run_id


async def test_a_start_that_died_after_reserving_its_id_is_made_good(
    session: Session, workflow
) -> None:
    definition = await workflow("w", idempotency_key="id")
    key = idempotency_key(definition, raw({"id": 1}))
    await session.stores.idempotency.create(key, "reserved-but-never-started")
    started = await start_run(session, "w", b'{"id":1}')
    assert (started.run_id, started.status) == ("reserved-but-never-started", "started")
    assert await session.stores.history.first(started.run_id) is not None
    assert (await start_run(session, "w", b'{"id":1}')).status == "existing"


async def test_a_scheduled_run_is_listed_found_and_cancelled(session: Session, workflow) -> None:
    await workflow("w")
    at = format_time(session.now() + DAY)
    started = await start_run(session, "w", b'{"a":1}', at)
    assert (started.status, started.run_at) == ("scheduled", at)
    assert [run.run_id for run in await list_schedules(session)] == [started.run_id]
    assert await list_schedules(session, "other") == []
    with pytest.raises(ConflictError, match="has not begun yet"):
        await signal_run(session, started.run_id, "go", b"{}")
    cancelled = await cancel_run(session, started.run_id)
    assert cancelled.scheduled
    assert await list_schedules(session) == []
    assert (await get_schedule(session, started.run_id)).status == "cancelled"
    with pytest.raises(NotFoundError):
        await cancel_run(session, started.run_id)


async def test_a_scheduled_run_starts_under_its_promised_id(
    session: Session, engine: Engine, worker: Worker, workflow
) -> None:
    await workflow("w", step("a"))
    started = await start_run(session, "w", b"{}", format_time(session.now() + SECOND))
    run = await wait_run(session, started.run_id, 20)
    assert run.status == "completed"
    assert await list_schedules(session) == []


@pytest.mark.parametrize(
    ("at", "text"),
    [
        ("2025-01-15", "invalid --at time"),
        ("tomorrow", "invalid --at time"),
        ("2025-01-15T09:00:00", "invalid --at time"),
        ("2020-01-01T00:00:00Z", "must be in the future"),
        ("2199-01-01T00:00:00Z", "exceeds maximum schedule-ahead of 8760h0m0s"),
    ],
)
async def test_a_wrong_time_schedules_nothing(
    session: Session, workflow, at: str, text: str
) -> None:
    await workflow("w")
    with pytest.raises(InvalidError, match=text):
        await start_run(session, "w", b"{}", at)
    assert await list_schedules(session) == []


async def test_cancelling_says_what_became_of_it(
    session: Session, engine: Engine, workflow
) -> None:
    await workflow("w")
    started = await start_run(session, "w", b"{}")
    done = await cancel_run(session, started.run_id)
    assert (done.cancelled, done.confirmed) == (True, True)
    assert (await get_run(session, started.run_id)).run.status == "cancelled"
    with pytest.raises(ConflictError, match=r"already ended.*cancelled"):
        await cancel_run(session, started.run_id)
    with pytest.raises(NotFoundError):
        await cancel_run(session, "f" * 32)
    assert [row.action for row in await audit.list_audit(session)] == [
        "run.cancel",
        "workflow.created",
    ]


async def test_a_retry_is_a_new_run_even_with_an_idempotency_key(
    session: Session, engine: Engine, worker: Worker, workflow
) -> None:
    await workflow("w", step("a"), idempotency_key="id")
    first = await start_run(session, "w", b'{"id":1}')
    await wait_run(session, first.run_id, 20)
    retried = await retry_run(session, first.run_id)
    assert retried.new_run_id != first.run_id
    run = await wait_run(session, retried.new_run_id, 20)
    assert (run.origin_run_id, bytes(run.input)) == (first.run_id, b'{"id":1}')
    other = await retry_run(session, first.run_id, b'{"id":2}')
    assert bytes((await wait_run(session, other.new_run_id, 20)).input) == b'{"id":2}'


async def test_signals_go_to_live_runs_only(session: Session) -> None:
    await put_run(session, "a" * 32, NOW, status="running")
    await put_run(session, "b" * 32, NOW, status="failed")
    sent = await signal_run(session, "a" * 32, "approval", b'{ "approved": true }')
    assert (sent.signal, sent.sent) == ("approval", True)
    entry = await session.stores.signals.get("a" * 32 + ".approval")
    assert entry is not None
    assert json.loads(entry.value) == {"approved": True}
    with pytest.raises(ConflictError, match="status: failed"):
        await signal_run(session, "b" * 32, "approval", b"{}")
    with pytest.raises(NotFoundError):
        await signal_run(session, "c" * 32, "approval", b"{}")
    with pytest.raises(InvalidError, match="payload is not JSON"):
        await signal_run(session, "a" * 32, "approval", b"yes")
    with pytest.raises(InvalidError, match="signal name"):
        await signal_run(session, "a" * 32, "a b>", b"{}")
    with pytest.raises(TooLargeError):
        await signal_run(session, "a" * 32, "big", b'"' + b"x" * (1 << 20) + b'"')


async def test_schedules_written_by_others_are_listed_soonest_first(session: Session) -> None:
    for run_id, at in (("one", "2099-01-01T02:00:00+02:00"), ("two", "2098-01-01T00:00:00Z")):
        record = ScheduledRun(run_id=run_id, workflow_id="w", run_at=at)
        await session.stores.scheduled.put(run_id, record)
    assert [run.run_id for run in await list_schedules(session)] == ["two", "one"]

from __future__ import annotations

import pytest

from dagnats.errors import InvalidError, NotFoundError, UsageError
from dagnats.model.times import SECOND
from dagnats.runtime.engine import Engine
from dagnats.services.run_bulk import BulkQuery, bulk_start, cancel_all, retry_all
from dagnats.services.run_query import RunQuery, count_runs, get_run
from dagnats.services.run_watch import wait_run
from dagnats.services.session import Session
from dagnats.worker.worker import Worker
from tests.conftest import eventually
from tests.services.conftest import put_run, step

EPOCH = 1_780_000_000 * SECOND
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


def rid(number: int) -> str:
    return f"{number:032x}"


async def test_cancelling_all_live_runs(session: Session, engine: Engine, workflow) -> None:
    await workflow("w")
    started = await bulk_start(session, "w", [b"{}"] * 5)

    async def all_running() -> bool:
        return await count_runs(session, RunQuery(status="running")) == 5

    await eventually(all_running)
    plan = await cancel_all(session, BulkQuery(workflow="w"), dry_run=True)
    assert sorted(plan.cancelled) == sorted(started.run_ids)
    assert (plan.total, plan.dry_run) == (5, True)
    told: list[tuple[int, int]] = []
    done = await cancel_all(
        session, BulkQuery(workflow="w"), progress=lambda *now: told.append(now)
    )
    assert sorted(done.cancelled) == sorted(started.run_ids)
    assert told == [(5, 5)]
    for run_id in started.run_ids:
        assert (await wait_run(session, run_id, 10)).status == "cancelled"
    assert (await cancel_all(session, BulkQuery(workflow="w"))).total == 0


async def test_filters_of_cancel_all_are_exact_and_oldest_first(session: Session) -> None:
    for number in range(1100):
        await put_run(session, rid(number), EPOCH + number * SECOND, workflow_id="other")
    for number in range(2000, 2006):
        status = "pending" if number % 2 else "running"
        await put_run(session, rid(number), EPOCH + number * SECOND, status=status)
    query = BulkQuery(workflow="w", status="pending", after=EPOCH + 2001 * SECOND)
    plan = await cancel_all(session, query, dry_run=True)
    assert plan.cancelled == [rid(2001), rid(2003), rid(2005)]
    bounded = BulkQuery(workflow="w", after=EPOCH + 2001 * SECOND, before=EPOCH + 2003 * SECOND)
    plan = await cancel_all(session, bounded, dry_run=True)
    assert plan.cancelled == [rid(2001), rid(2002), rid(2003)]


async def test_queries_that_make_no_sense(session: Session) -> None:
    with pytest.raises(UsageError, match="--workflow is required"):
        await cancel_all(session, BulkQuery(workflow=""))
    with pytest.raises(UsageError, match='invalid status filter: "done"'):
        await cancel_all(session, BulkQuery(workflow="w", status="done"))
    with pytest.raises(UsageError, match="before must be after after"):
        await cancel_all(session, BulkQuery(workflow="w", after=2, before=1))
    with pytest.raises(UsageError, match='mode must be "rerun" or "replay"'):
        await retry_all(session, BulkQuery(workflow="w"), "again")
    with pytest.raises(UsageError, match="no inputs"):
        await bulk_start(session, "w", [])
    with pytest.raises(NotFoundError):
        await bulk_start(session, "nope", [b"{}"])


async def test_one_wrong_input_starts_nothing(session: Session, workflow) -> None:
    await workflow("w", input_schema=SCHEMA)
    inputs = [b'{"n":1}', b'{"n":"x"}', b"{", b'{"n":2}']
    with pytest.raises(InvalidError, match=r"input\[1\]: input validation") as caught:
        await bulk_start(session, "w", inputs)
    assert [problem[:8] for problem in caught.value.problems] == ["input[1]", "input[2]"]
    info = await session.bus.api("STREAM.INFO.WORKFLOW_HISTORY")
    assert info["state"]["messages"] == 0


async def test_more_than_a_thousand_inputs(session: Session, workflow) -> None:
    await workflow("w")
    done = await bulk_start(session, "w", [b'{"n":%d}' % n for n in range(1050)])
    assert (done.total, len(set(done.run_ids)), done.failed) == (1050, 1050, [])
    info = await session.bus.api("STREAM.INFO.WORKFLOW_HISTORY")
    assert info["state"]["messages"] == 1050


async def test_idempotency_keys_hold_in_bulk(session: Session, workflow) -> None:
    await workflow("w", idempotency_key="id")
    done = await bulk_start(session, "w", [b'{"id":1}', b'{"id":2}', b'{"id":1}'])
    assert done.run_ids[0] == done.run_ids[2] != done.run_ids[1]
    again = await bulk_start(session, "w", [b'{"id":2}'])
    assert again.run_ids == [done.run_ids[1]]
    info = await session.bus.api("STREAM.INFO.WORKFLOW_HISTORY")
    assert info["state"]["messages"] == 2


async def test_rerunning_all_failed_runs(
    session: Session, engine: Engine, worker: Worker, workflow
) -> None:
    await workflow("w", step("a"))
    for number in range(3):
        status = "failed" if number < 2 else "cancelled"
        await put_run(
            session, rid(number), EPOCH + number * SECOND, status=status, input={"n": number}
        )
    plan = await retry_all(session, BulkQuery(workflow="w"), "rerun", dry_run=True)
    assert [one.original_run_id for one in plan.retried] == [rid(0), rid(1)]
    done = await retry_all(session, BulkQuery(workflow="w"), "rerun")
    for number, one in enumerate(done.retried):
        run = await wait_run(session, one.new_run_id, 20)
        assert (run.status, run.origin_run_id) == ("completed", rid(number))
        assert bytes(run.input) == b'{"n":%d}' % number


async def test_replaying_all_failed_runs(
    session: Session, engine: Engine, worker: Worker, workflow
) -> None:
    await workflow("w", step("a", task="bad"))
    started = await bulk_start(session, "w", [b"{}", b'{"healed":true}'])
    for run_id in started.run_ids:
        await wait_run(session, run_id, 20)
    await put_run(session, rid(9), EPOCH, status="failed")
    done = await retry_all(session, BulkQuery(workflow="w"), "replay")
    assert [one.original_run_id for one in done.retried] == [started.run_ids[0]]
    assert done.skipped == [rid(9)]

    async def reopened() -> bool:
        view = await get_run(session, started.run_ids[0])
        return view.run.reopened == 1

    await eventually(reopened)

from __future__ import annotations

import asyncio
import random

import pytest

from dagnats.errors import AmbiguousError, NotFoundError, UsageError
from dagnats.model.records import ScheduledRun
from dagnats.model.times import HOUR, SECOND
from dagnats.services.run_query import (
    RunQuery,
    count_runs,
    find_run,
    get_run,
    list_runs,
    resolve_run,
    scan_runs,
)
from dagnats.services.session import Session
from tests.services.conftest import put_run

EPOCH = 1_780_000_000 * SECOND


def rid(number: int) -> str:
    return f"{number:032x}"


async def fill(session: Session, count: int) -> None:
    """Runs whose last write comes in another order than their creation."""
    numbers = list(range(count))
    random.Random(7).shuffle(numbers)
    for number in numbers:
        status = "failed" if number % 10 == 0 else "completed"
        await put_run(session, rid(number), EPOCH + number * SECOND, status=status)


async def test_the_newest_come_first_whatever_was_written_last(session: Session) -> None:
    await fill(session, 60)
    page = await list_runs(session, RunQuery(limit=5))
    assert [run.run_id for run in page.runs] == [rid(59 - n) for n in range(5)]
    assert page.truncated


async def test_without_a_limit_it_is_all_of_them(session: Session) -> None:
    await fill(session, 60)
    page = await list_runs(session, RunQuery(limit=None))
    assert [run.run_id for run in page.runs] == [rid(59 - n) for n in range(60)]
    assert not page.truncated


async def test_filters_are_exact_over_everything_stored(session: Session) -> None:
    await fill(session, 60)
    query = RunQuery(status="FAILED", after=EPOCH + 10 * SECOND, before=EPOCH + 40 * SECOND)
    page = await list_runs(session, query)
    assert [run.run_id for run in page.runs] == [rid(n) for n in (40, 30, 20, 10)]
    assert await count_runs(session, query) == 4
    assert await count_runs(session, RunQuery()) == 60
    assert (await list_runs(session, RunQuery(workflow="other"))).runs == []


async def test_a_snapshot_nobody_can_read_breaks_no_listing(session: Session) -> None:
    await put_run(session, rid(1), EPOCH)
    await put_run(session, rid(2), EPOCH, steps="none")
    page = await list_runs(session, RunQuery())
    assert [run.run_id for run in page.runs] == [rid(1)]
    assert page.unreadable == 1


async def test_an_unknown_status_is_named(session: Session) -> None:
    with pytest.raises(UsageError, match='unknown run status "bogus"; valid: pending, running'):
        await list_runs(session, RunQuery(status="bogus"))


async def test_ids_resolve_by_full_id_prefix_and_last(session: Session) -> None:
    await put_run(session, "a1b2c3d4" + "0" * 24, EPOCH)
    await put_run(session, "a1b2c3d5" + "0" * 24, EPOCH + SECOND)
    assert (await resolve_run(session, "a1b2c3d4")).run_id == "a1b2c3d4" + "0" * 24
    assert (await resolve_run(session, "a1b2c3d4" + "0" * 24)).run_id == "a1b2c3d4" + "0" * 24
    assert (await resolve_run(session, "", last=True)).run_id == "a1b2c3d5" + "0" * 24
    assert (await resolve_run(session, "a1b2c3d4", last=True)).run_id == "a1b2c3d4" + "0" * 24


async def test_an_ambiguous_prefix_names_what_it_matches(session: Session) -> None:
    for number in range(3):
        await put_run(session, f"deadbeef{number:024d}", EPOCH)
    with pytest.raises(AmbiguousError, match='ambiguous prefix "deadbeef": 3 runs match') as caught:
        await resolve_run(session, "deadbeef")
    assert f"deadbeef{1:024d}" in caught.value.hint


async def test_a_full_id_that_is_the_prefix_of_another_means_itself(session: Session) -> None:
    await put_run(session, "child-0001", EPOCH)
    await put_run(session, "child-0001-again", EPOCH)
    assert (await resolve_run(session, "child-0001")).run_id == "child-0001"


async def test_scheduled_runs_are_found_as_well(session: Session) -> None:
    run_id = "feedface" + "1" * 24
    record = ScheduledRun(run_id=run_id, workflow_id="w", run_at="2099-01-01T00:00:00Z")
    await session.stores.scheduled.put(run_id, record)
    for ref in ("feedface", run_id):
        found = await resolve_run(session, ref)
        assert (found.run_id, found.scheduled) == (run_id, True)


@pytest.mark.parametrize(
    ("ref", "error", "text"),
    [
        ("", UsageError, "run ID required"),
        ("abc1234", UsageError, "at least 8 characters"),
        ("nothing-like-it", NotFoundError, 'no run matching prefix "nothing-like-it"'),
        ("f" * 32, NotFoundError, "no run matching"),
        ("with space and >*", NotFoundError, "no run matching"),
        ("\x1b]0;title\x07aaaaa", NotFoundError, "no run matching"),
        ("x" * 5000, NotFoundError, "no run matching"),
    ],
)
async def test_what_means_no_run_says_so(
    session: Session, ref: str, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        await resolve_run(session, ref)


async def test_no_runs_at_all(session: Session) -> None:
    with pytest.raises(NotFoundError, match="no runs found"):
        await resolve_run(session, "", last=True)
    with pytest.raises(NotFoundError, match='workflow run "x" not found'):
        await find_run(session, "x")


async def test_last_and_prefix_are_right_beyond_a_thousand_runs(session: Session) -> None:
    await fill(session, 1200)
    assert (await resolve_run(session, "", last=True)).run_id == rid(1199)
    await put_run(session, "cafebabe" + "0" * 24, EPOCH)
    assert (await resolve_run(session, "cafebabe")).run_id == "cafebabe" + "0" * 24


async def test_steps_come_in_the_order_of_the_definition(session: Session, workflow) -> None:
    await workflow("w")
    state = {"status": "completed", "attempts": 1, "loop_started_at": "0001-01-01T00:00:00Z"}
    steps = {"zz": state, "b": state, "a": state}
    await put_run(session, rid(1), EPOCH, steps=steps)
    view = await get_run(session, rid(1))
    assert view.step_ids == ["a", "b", "zz"]
    assert view.retries("a") == 0


async def test_runs_that_are_written_while_a_list_is_read_are_in_it(session: Session) -> None:
    await fill(session, 300)
    running = [rid(number) for number in range(900, 960)]
    for number, run_id in enumerate(running):
        await put_run(session, run_id, EPOCH + HOUR + number * SECOND, status="running")
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            for number, run_id in enumerate(running):
                created = EPOCH + HOUR + number * SECOND
                await put_run(session, run_id, created, status="running")

    writing = asyncio.create_task(write())
    try:
        for _ in range(10):
            page = await list_runs(session, RunQuery(status="running"))
            assert [run.run_id for run in page.runs] == running[::-1]
            seen = [run.run_id async for run in scan_runs(session, RunQuery(status="running"))]
            assert sorted(seen) == running
            assert (await list_runs(session, RunQuery(limit=1))).runs[0].run_id == running[-1]
    finally:
        stop.set()
        await writing


async def test_a_deleted_run_is_not_found_by_its_prefix(session: Session) -> None:
    await put_run(session, "cafebabe" + "0" * 24, EPOCH)
    await put_run(session, "cafebabe" + "1" * 24, EPOCH)
    await session.stores.runs.delete("run.cafebabe" + "0" * 24)
    assert (await resolve_run(session, "cafebabe")).run_id == "cafebabe" + "1" * 24
    assert await count_runs(session, RunQuery()) == 1

from __future__ import annotations

import time
from typing import Any

import pytest

from dagnats.runtime.engine import Engine
from dagnats.services.address import parse_address
from dagnats.services.dlq import list_dead
from dagnats.services.run_filter import run_filter
from dagnats.services.run_query import RunQuery, find_run, list_runs
from dagnats.services.run_rows import RunRow
from dagnats.services.run_watch import wait_run
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from dagnats.tui.feed.runs import RunIndex
from dagnats.tui.runs.listing import Listing
from dagnats.worker.worker import Worker
from tests.services.conftest import put_run, step

SECOND = 1_000_000_000
NOW = 1_000 * SECOND


def row(number: int, **more: Any) -> RunRow:
    plain = {
        "run_id": f"{number:08x}",
        "workflow": "etl",
        "status": "completed",
        "state": "completed",
        "created_ns": number * SECOND,
        "text": f"{number:08x} etl completed",
    }
    return RunRow(**{**plain, **more})


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("runs", [0, 1, 2, 3]),
        ("runs wf:etl", [0, 1]),
        ("runs wf:e*,rev*", [0, 1, 2]),
        ("runs !wf:etl", [2, 3]),
        ("runs status:failed", [1]),
        ("runs status:active", [3]),
        ("runs since:998s", [2, 3]),
        ("runs dur:>5s", [3]),
        ("runs err:TIME", [1]),
        ("runs 00000002", [2]),
        ("runs /etl timeout", [1]),
    ],
)
def test_a_filter_means_what_it_says(query: str, wanted: list[int]) -> None:
    rows = [
        row(0, created_ns=1, ended_ns=2),
        row(1, status="failed", state="failed", error="Timeout", ended_ns=2, text="etl timeout"),
        row(2, workflow="review", created_ns=2 * SECOND, ended_ns=3 * SECOND),
        row(3, workflow="mail", status="running", state="running", created_ns=900 * SECOND),
    ]
    found = run_filter(parse_address(query))
    assert [number for number in range(4) if found.accepts(rows[number], NOW)] == wanted


def test_a_listing_kept_up_is_the_listing_made_anew() -> None:
    index = RunIndex(keep=40)
    listing = Listing(index)
    listing.use(run_filter(parse_address("runs status:failed")))
    for number in range(200):
        old = row(number * 7 % 50)
        state = ("failed", "completed", "running")[number % 3]
        index.put(row(number * 7 % 50, status=state, state=state, created_ns=old.created_ns))
        if number % 11 == 0:
            index.remove(f"{number * 3 % 50:08x}")
        listing.update(NOW)
        anew = [item for item in index.newest() if item.state == "failed"]
        assert list(listing.rows) == anew
    assert index.total == len(index) + len(index.dropped)
    assert index.states.total() == index.total


def test_rows_beyond_the_limit_are_counted_and_what_goes_on_is_kept() -> None:
    index = RunIndex(keep=20)
    index.put(row(0, status="running", state="running"))
    index.put_older([row(number) for number in range(1, 100)])
    assert (index.total, len(index) <= 21) == (100, True)
    assert index.get("00000000") is not None
    assert index.states == {"running": 1, "completed": 99}
    index.remove("00000063")
    assert index.total == 99


async def failed_run(session: Session, workflow: Any) -> str:
    await workflow("w", step("a"), step("boom", "a", task="bad"))
    run_id = (await start_run(session, "w", b'{"n":1}')).run_id
    await wait_run(session, run_id, 10)
    return run_id


async def test_a_failed_run_is_replayed_retried_and_explained(
    console: Any, session: Session, engine: Engine, worker: Worker, workflow: Any
) -> None:
    run_id = await failed_run(session, workflow)
    async with console("runs") as ui:
        await ui.sees("no such luck")
        await ui.press("w")
        await ui.sees(f"Why is {run_id[:8]}")
        await ui.press("escape", "r", "p")
        await ui.sees("Replay 1 failed run")
        await ui.press("enter")
        await ui.sees("1 run replayed")
        await ui.until(lambda: ui.app.feed.runs.get(run_id).attempts == 1)
        await ui.press("r", "r", "enter")
        await ui.sees("1 run started again as")
        await ui.until(lambda: ui.app.feed.runs.total == 2)
    page = await list_runs(session, RunQuery())
    assert {run.origin_run_id for run in page.runs} == {"", run_id}


async def test_marked_runs_are_cancelled_once_their_number_is_typed(
    console: Any, session: Session, engine: Engine, workflow: Any
) -> None:
    await workflow("slow", step("a", task="nobody"))
    ids = [(await start_run(session, "slow", b"{}")).run_id for _ in range(6)]
    await put_run(session, "00000000-old", time.time_ns() - SECOND, status="completed")
    async with console("runs") as ui:
        await ui.sees("7 of 7")
        await ui.until(lambda: len(ui.app.feed.runs.active) == 6)
        await ui.press("*", "c")
        await ui.sees("Cancel 6 runs")
        await ui.sees("1 run that ended already")
        await ui.press("enter")
        await ui.sees("type 6 first")
        await ui.type("6")
        await ui.press("enter")
        await ui.sees("6 runs cancelled")
        assert not ui.app.view.table.marks
    for run_id in ids:
        assert (await find_run(session, run_id)).status == "cancelled"


async def test_read_only_shows_the_actions_and_does_none(console: Any, session: Session) -> None:
    await put_run(session, "00000000-run", time.time_ns(), status="failed")
    async with console("runs", read_only="read-only was asked for") as ui:
        await ui.press("c")
        await ui.sees(
            "Cancel the marked runs, or the one under the cursor: read-only was asked for"
        )
        assert "read-only" in ui.screen()[-2]
        await ui.press("?")
        await ui.sees("read-only was asked for")
    assert (await list_dead(session)).total == 0


async def test_home_says_what_burns(
    console: Any, session: Session, engine: Engine, worker: Worker, workflow: Any
) -> None:
    await failed_run(session, workflow)
    for _ in range(2):
        await start_run(session, "w", b'{"n":1}')
    async with console("home", size=(140, 40)) as ui:
        await ui.sees("On fire: w / boom, 3 failed runs: no such luck")
        await ui.sees("NEWEST FAILURES")
        await ui.press("enter")
        await ui.sees(":runs wf:w status:failed since:15m")
        await ui.sees("3 of 3")

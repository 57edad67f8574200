"""A flood: counts stay exact, the cursor stays where it is, nothing grows without bound."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import pytest

from dagnats.model.codec import encode
from dagnats.model.run import WorkflowRun
from dagnats.model.times import format_time
from dagnats.services.session import Session
from dagnats.tui.feed.dead import DeadIndex
from dagnats.tui.feed.pulse import FAILURES, SAMPLES, SLOTS, USUAL, Pulse
from dagnats.tui.feed.runs import JOURNAL
from dagnats.tui.view import BATCH, batched

SECOND = 1_000_000_000
RUNS, WRITES = 800, 6_000


async def test_a_flood_is_counted_exactly_and_the_cursor_stays(
    console: Any, session: Session
) -> None:
    chance, now = random.Random(1), time.time_ns()
    truth: dict[str, str] = {}

    async def write(number: int) -> None:
        run_id = f"{number:08x}-run"
        truth[run_id] = status = chance.choice(("running", "completed", "failed", "cancelled"))
        run = WorkflowRun(
            run_id=run_id, workflow_id="w", status=status, created_at=format_time(now - number)
        )
        await session.bus.publish(f"$KV.workflow_runs.run.{run_id}", encode(run))

    for number in range(RUNS // 2):
        await write(number)
    await session.bus.nc.flush()
    async with console("runs") as ui:
        await ui.press("j", "j", "j")
        there = ui.app.view.table.current.run_id
        for number in range(WRITES):
            await write(chance.randrange(RUNS))
            if number % 500 == 0:
                await session.bus.nc.flush()
                await ui.press("j", "k")
        await session.bus.nc.flush()
        wanted = Counter(truth.values())
        await ui.until(lambda: Counter(ui.app.feed.runs.states) == wanted, 20)
        assert ui.app.feed.runs.total == len(truth)
        assert ui.app.view.table.current.run_id == there
        await ui.sees(f"{len(truth)} of {len(truth)}")
        assert len(ui.app.feed.runs.journal) <= JOURNAL


def test_what_is_kept_of_the_past_is_bounded() -> None:
    from dagnats.model.records import DeadLetter
    from tests.tui.test_runs import row

    pulse = Pulse(1_000 * SECOND)
    for number in range(5_000):
        ended = row(number, status="failed", state="failed", created_ns=999 * SECOND,
                    ended_ns=1_000 * SECOND)  # fmt: skip
        pulse.changed(None, ended)
        pulse.changed(None, row(number, created_ns=999 * SECOND, ended_ns=1_000 * SECOND))
    assert len(pulse.failures) == FAILURES
    assert len(pulse.series("failed")) == SLOTS
    assert sum(pulse.series("failed")) == 5_000
    assert all(len(minute.durations) <= SAMPLES for minute in pulse._minutes)
    assert all(len(kept) <= USUAL for kept in pulse._usual.values())
    dead = DeadIndex(keep=10)
    dead.add(DeadLetter(sequence=number, body=b"x" * 100_000) for number in range(1, 50))
    assert [letter.sequence for letter in dead.newest()] == list(range(49, 39, -1))
    assert max(len(letter.body) for letter in dead.newest()) < 70_000


async def test_a_stream_is_handed_on_in_bounded_batches_and_its_error_arrives() -> None:
    async def items() -> Any:
        for number in range(BATCH * 3):
            yield number
        raise ValueError("the end")

    batches: list[list[int]] = []

    async def take() -> None:
        async for batch in batched(items()):
            batches.append(batch)  # noqa: PERF401 - it ends with an error

    with pytest.raises(ValueError, match="the end"):
        await take()
    assert [number for batch in batches for number in batch] == list(range(BATCH * 3))
    assert max(map(len, batches)) <= BATCH + 1

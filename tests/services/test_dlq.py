from __future__ import annotations

import asyncio

import pytest

from dagnats.errors import ConflictError, InvalidError, NotFoundError, UsageError
from dagnats.model.records import DeadLetter
from dagnats.model.times import SECOND
from dagnats.runtime.engine import Engine
from dagnats.services import dlq
from dagnats.services.run_watch import wait_run
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from dagnats.wire.publisher import Outgoing
from dagnats.worker.worker import Worker
from tests.conftest import eventually
from tests.services.conftest import put_run, step

EPOCH = 1_780_000_000 * SECOND


async def bury(session: Session, run_id: str, error: str, consumer: str = "TASK_QUEUES") -> int:
    prefix = "Dagnats-Dlq-"
    headers = {
        f"{prefix}Run-Id": run_id,
        f"{prefix}Step-Id": "a",
        f"{prefix}Task": "lint.run",
        f"{prefix}Error": error,
        f"{prefix}Attempts": "3",
        f"{prefix}Delivery-Count": "3",
        f"{prefix}Consumer": consumer,
        f"{prefix}Task-Subject": f"task.lint.run.{run_id}",
    }
    message = Outgoing(f"dead.lint.run.{run_id}.a", b'{"input":1}', headers=headers)
    return (await session.bus.publisher.publish(message)).seq


async def test_listing_is_oldest_first_and_bounded(session: Session) -> None:
    for number in range(120):
        await bury(session, f"run{number % 2}", f"error {number}")
    page = await dlq.list_dead(session)
    assert [letter.sequence for letter in page.entries] == list(range(1, 51))
    assert (page.total, page.truncated) == (120, True)
    everything = await dlq.list_dead(session, limit=None)
    assert (len(everything.entries), everything.truncated) == (120, False)
    newest = await dlq.list_dead(session, limit=3, newest=True)
    assert [letter.sequence for letter in newest.entries] == [118, 119, 120]


async def test_the_filter_by_run_sees_the_whole_queue(session: Session) -> None:
    for number in range(110):
        await bury(session, "many", f"error {number}")
    await bury(session, "rare", "late")
    page = await dlq.list_dead(session, run_id="rare", limit=5)
    assert [letter.error for letter in page.entries] == ["late"]
    assert not page.truncated
    last = await dlq.list_dead(session, run_id="many", limit=2, newest=True)
    assert [letter.sequence for letter in last.entries] == [109, 110]


async def test_a_replay_reopens_the_run_and_empties_the_queue(
    session: Session, engine: Engine, worker: Worker, workflow
) -> None:
    await workflow("w", step("a"), step("b", "a", task="bad"))
    started = await start_run(session, "w", b"{}")
    await wait_run(session, started.run_id, 20)
    [letter] = (await dlq.list_dead(session)).entries
    done = await dlq.replay(session, letter.sequence, b'{"healed":true}')
    assert (done.task, done.run_id, done.step_id) == ("bad", started.run_id, "b")

    async def completed() -> bool:
        return (await wait_run(session, started.run_id, 5)).status == "completed"

    await eventually(completed)
    assert (await dlq.list_dead(session)).total == 0


async def test_replaying_a_run_takes_older_letters_with_it(session: Session) -> None:
    await put_run(session, "r" * 32, EPOCH, status="failed")
    sequences = [await bury(session, "r" * 32, f"error {n}") for n in range(3)]
    done = await dlq.replay_run(session, "r" * 32)
    assert (done.replayed, done.sequences, done.failed) == (1, [sequences[-1]], [])
    assert (await dlq.list_dead(session)).total == 0
    assert (await dlq.replay_run(session, "r" * 32)).replayed == 0


async def test_what_cannot_be_replayed_stays(session: Session) -> None:
    await put_run(session, "c" * 32, EPOCH, status="completed")
    finished = await bury(session, "c" * 32, "x")
    gone = await bury(session, "d" * 32, "x")
    event = await bury(session, "c" * 32, "x", consumer="WORKFLOW_HISTORY")
    with pytest.raises(ConflictError, match=r"is not failed .status: completed"):
        await dlq.replay(session, finished)
    with pytest.raises(NotFoundError, match="is gone"):
        await dlq.replay(session, gone)
    with pytest.raises(InvalidError, match="history event, which cannot be replayed"):
        await dlq.replay(session, event)
    for sequence in (0, -1, 99):
        with pytest.raises(NotFoundError, match=f"sequence {sequence} not found"):
            await dlq.replay(session, sequence)
    assert (await dlq.replay_run(session, "d" * 32)).failed[0].sequence == gone
    assert (await dlq.list_dead(session)).total == 3
    with pytest.raises(UsageError, match="must be positive"):
        await dlq.list_dead(session, limit=0)


async def test_discarding_removes_one_entry(session: Session) -> None:
    first, second = await bury(session, "r", "x"), await bury(session, "r", "y")
    assert (await dlq.discard(session, first)).run_id == "r"
    assert [letter.sequence for letter in (await dlq.list_dead(session)).entries] == [second]
    with pytest.raises(NotFoundError):
        await dlq.discard(session, first)


async def test_following_sees_what_arrives(session: Session) -> None:
    await bury(session, "old", "x")

    async def first() -> DeadLetter:
        async for letter in dlq.follow_dead(session, after):
            return letter
        raise AssertionError

    after: int | None = 0
    assert (await asyncio.wait_for(first(), 10)).error == "x"
    after = None
    waiting = asyncio.create_task(first())
    while not waiting.done():
        await bury(session, "new", "y")
        await asyncio.sleep(0.02)
    assert (await waiting).error == "y"


def test_failures_of_one_kind_are_one_group() -> None:
    errors = [
        'cannot fetch "https://a": HTTP 503 after 12 s',
        'cannot fetch "https://b": HTTP 503 after 9 s',
        "run 0f3a99c2b1d4 is gone",
    ]
    letters = [
        DeadLetter(sequence=n, task="t", error=error, timestamp=f"2026-01-01T00:00:0{n}Z")
        for n, error in enumerate(errors, 1)
    ]
    first, second = dlq.group_dead(letters)
    assert (first.count, first.sequences, first.sample) == (2, [1, 2], errors[1])
    assert (first.first, first.last) == ("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z")
    assert second.fingerprint == "t: run # is gone"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("step timed out", "timeout"),
        ("Traceback (most recent call last)", "panic"),
        ("non-retriable: no such user", "unrecoverable"),
        ("max attempts exceeded", "max-attempts"),
        ("no such luck", "other"),
        ("", "other"),
    ],
)
def test_rough_classes(error: str, kind: str) -> None:
    assert dlq.reason_class(error) == kind

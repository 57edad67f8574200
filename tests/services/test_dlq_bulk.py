from __future__ import annotations

import asyncio

import pytest

from dagnats.errors import UsageError
from dagnats.runtime.engine import Engine
from dagnats.services import dlq
from dagnats.services.dlq_bulk import Outcome, discard_many, replay_many, replay_staged
from dagnats.services.run_watch import wait_run
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from dagnats.wire.stores import Stores
from dagnats.worker.worker import Worker
from tests.conftest import eventually
from tests.services.conftest import put_run, step
from tests.services.test_dlq import EPOCH, bury


@pytest.fixture
async def moody(stores: Stores, engine: Engine, workflow) -> dict[str, bool]:
    """A worker whose task fails for as long as ``mood["healed"]`` is false."""
    mood = {"healed": False}
    worker = Worker(stores.bus.options.url)

    @worker.task("moody")
    async def moody_task(job: dict) -> dict:
        if not mood["healed"]:
            raise ValueError("not today")
        return {}

    await workflow("m", step("a", task="moody"))
    async with worker:
        yield mood


async def failed_runs(session: Session, count: int) -> list[int]:
    started = [await start_run(session, "m", b"{}") for _ in range(count)]
    await asyncio.gather(*(wait_run(session, run.run_id, 20) for run in started))
    return [letter.sequence for letter in (await dlq.list_dead(session)).entries]


async def test_the_first_is_watched_before_the_rest_goes(session: Session, moody) -> None:
    sequences = await failed_runs(session, 3)
    told: list[Outcome] = []
    stopped = await replay_staged(session, sequences, progress=told.append)
    assert [one.state for one in stopped.outcomes] == ["failed"]
    assert "not today" in stopped.outcomes[0].error
    assert stopped.left == sequences[1:]
    moody["healed"] = True
    again = [letter.sequence for letter in (await dlq.list_dead(session)).entries]
    done = await replay_staged(session, again, first=2, progress=told.append)
    assert [one.state for one in done.outcomes] == ["completed", "completed", "replayed"]
    assert (done.left, len(told)) == ([], 4)
    for outcome in done.outcomes:

        async def completed(run_id: str = outcome.run_id) -> bool:
            # Right after the replay the run still shows its former end.
            return (await wait_run(session, run_id, 20)).status == "completed"

        await eventually(completed)
    assert (await dlq.list_dead(session)).total == 0


async def test_an_outcome_that_does_not_come_in_time_is_open(session: Session) -> None:
    await put_run(session, "r" * 32, EPOCH, status="failed")
    sequences = [await bury(session, "r" * 32, "x")]
    result = await replay_staged(session, [*sequences, 99], patience_s=0.05)
    assert [(one.state, one.good) for one in result.outcomes] == [("open", False)]
    assert result.left == [99]
    with pytest.raises(UsageError, match="at least one"):
        await replay_staged(session, [1], first=0)


async def test_letters_of_one_run_go_together_and_refusals_stop_nobody(session: Session) -> None:
    await put_run(session, "a" * 32, EPOCH, status="failed")
    await put_run(session, "b" * 32, EPOCH, status="completed")
    twice = [await bury(session, "a" * 32, "x") for _ in range(2)]
    done = [await bury(session, "b" * 32, "x")]
    outcomes = await replay_many(session, [*twice, *done, 99])
    assert [(one.sequence, one.state) for one in outcomes] == [
        (twice[0], "replayed"),
        (twice[1], "replayed"),
        (done[0], "refused"),
        (99, "refused"),
    ]
    assert [letter.sequence for letter in (await dlq.list_dead(session)).entries] == done


async def test_discarding_many_minds_only_what_it_cannot_do(session: Session) -> None:
    sequences = [await bury(session, "r", "x") for _ in range(3)]
    assert await discard_many(session, [*sequences[:2], 99]) == (sequences[:2], [])
    assert (await dlq.list_dead(session)).total == 1


async def test_letters_can_be_grouped_by_other_things(session: Session) -> None:
    for run in ("one", "two", "two"):
        await bury(session, run, f"error in {run}")
    letters = (await dlq.list_dead(session)).entries
    by_run = dlq.group_dead(letters, dlq.GROUPINGS["run"])
    assert [(group.fingerprint, group.count) for group in by_run] == [("two", 2), ("one", 1)]
    [by_step] = dlq.group_dead(letters, dlq.GROUPINGS["step"])
    assert (by_step.fingerprint, len(by_step.id)) == ("lint.run / a", 4)

"""Status, queues, workers, logs, cleaning, events, locks, audit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from dagnats.errors import AmbiguousError, ConflictError, InvalidError, NotFoundError, UsageError
from dagnats.model.records import (
    LogRecord,
    ServiceRecord,
    SingletonLock,
    WorkerRegistration,
    WorkerStatus,
)
from dagnats.model.times import DAY, HOUR, SECOND, format_time
from dagnats.model.trigger import TriggerTypeDef
from dagnats.runtime.engine import Engine
from dagnats.services import audit, cleaning
from dagnats.services.cleaning import CleanQuery, clean, parse_age, plan_clean
from dagnats.services.directory import get_trigger_type, list_services, list_trigger_types
from dagnats.services.events import publish_event
from dagnats.services.infos import list_queues
from dagnats.services.logs import LogQuery, follow_logs, logs_subject, search_logs, tail_logs
from dagnats.services.run_watch import wait_run
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from dagnats.services.singletons import list_singletons, release_singleton
from dagnats.services.status import get_status
from dagnats.services.workers import get_worker, list_workers
from dagnats.wire.publisher import Outgoing
from dagnats.worker.worker import Worker
from tests.conftest import eventually
from tests.services.conftest import put_run, step
from tests.services.test_dlq import bury

EPOCH = 1_780_000_000 * SECOND


async def test_status_of_an_empty_system(session: Session) -> None:
    status = await get_status(session, detail=True)
    assert (status.nats, status.jetstream, status.engine) == ("connected", "available", "none")
    assert status.stream_count == len(status.streams) > 8
    assert status.runs == dict.fromkeys(
        ("pending", "running", "completed", "failed", "cancelled"), 0
    )
    assert status.detail is not None
    assert (status.detail.queues, status.detail.dlq.total) == ([], 0)
    assert status.detail.engine.history_lag_seconds == 0.0


async def test_status_counts_runs_queues_and_dead_letters(session: Session, workflow) -> None:
    for number, state in enumerate(["running", "running", "pending", "failed", "compensated"]):
        created = EPOCH + number * SECOND
        name = "w" if number else "v"
        await put_run(session, f"{number:032x}", created, status=state, workflow_id=name)
    await bury(session, "r", "x")
    message = Outgoing("task.lint.run.r", b"{}")
    await session.bus.publisher.publish(message)
    await workflow("w")
    await start_run(session, "w", b"{}")
    status = await get_status(session, detail=True)
    assert status.active_runs == 3
    assert status.runs["compensated"] == 1
    assert [(row.name, row.total, row.running) for row in status.workflows] == [
        ("w", 4, 1),
        ("v", 1, 1),
    ]
    assert status.workflows[0].last_run_at == format_time(EPOCH + 4 * SECOND)
    assert status.detail is not None
    assert [(row.task, row.pending, row.served) for row in status.detail.queues] == [
        ("lint.run", 1, False)
    ]
    assert status.detail.dlq.by_task == {"lint.run": 1}
    assert status.detail.dlq.oldest == status.detail.dlq.newest != ""
    assert status.detail.engine.history_lag_messages == 1


async def test_status_of_a_live_system(
    session: Session, engine: Engine, worker: Worker, workflow
) -> None:
    await workflow("w", step("a"))
    run = await start_run(session, "w", b"{}")
    await wait_run(session, run.run_id, 20)
    status = await get_status(session, detail=True)
    assert status.engine == "running"
    assert status.detail is not None
    assert {row.task for row in status.detail.queues} == {"t", "bad"}
    assert all(row.served and row.ack_wait_ms > 0 for row in status.detail.queues)
    assert status.detail.engine.history_lag_messages == 0
    [found] = await list_workers(session)
    assert sorted(found.task_types) == ["bad", "t"]
    detail = await get_worker(session, found.worker_id[:10])
    assert (detail.worker.worker_id, detail.running) == (found.worker_id, [])


async def test_workers(session: Session) -> None:
    for name in ("worker-1", "worker-2"):
        await session.stores.workers.put(name, WorkerRegistration(worker_id=name, language="go"))
    state = {"status": "running", "attempts": 1, "worker_id": "worker-1"}
    steps = {"a": {**state, "loop_started_at": "0001-01-01T00:00:00Z"}}
    await put_run(session, "a" * 32, EPOCH, status="running", steps=steps)
    skipped = WorkerStatus(worker_id="worker-1", cancelled_tasks_skipped=3)
    await session.stores.worker_status.put("worker-1", skipped)
    assert [one.worker_id for one in await list_workers(session)] == ["worker-1", "worker-2"]
    detail = await get_worker(session, "worker-1")
    assert [(one.run_id, one.step_id) for one in detail.running] == [("a" * 32, "a")]
    assert detail.cancelled_tasks_skipped == 3
    with pytest.raises(AmbiguousError, match="matches 2 workers"):
        await get_worker(session, "worker")
    for name in ("nobody", ""):
        with pytest.raises(NotFoundError):
            await get_worker(session, name)


async def test_queues_of_dotted_tasks_and_groups(session: Session) -> None:
    for task in ("a.b", "plain"):
        config = {
            "durable_name": f"workers-{task.replace('.', '-')}",
            "filter_subject": f"task.{task}.>",
            "ack_policy": "explicit",
        }
        body = {"stream_name": "TASK_QUEUES", "config": config}
        await session.bus.api(f"CONSUMER.DURABLE.CREATE.TASK_QUEUES.{config['durable_name']}", body)
    for subject in ("task.a.b.r1", "task.a.b.r2", "task.plain.r1", "task.lost.one.r1"):
        await session.bus.publisher.publish(Outgoing(subject, b"{}"))
    rows = [(row.task, row.pending, row.consumer) for row in await list_queues(session)]
    assert rows == [
        ("a.b", 2, "workers-a-b"),
        ("lost.one", 1, ""),
        ("plain", 1, "workers-plain"),
    ]


async def log(session: Session, number: int, level: str = "info", **more: str) -> None:
    record = LogRecord(
        timestamp=format_time(EPOCH + number * SECOND),
        severity=level,
        body=more.pop("body", f"line {number}"),
        service_name=more.pop("service", "engine"),
        attributes=more,
    )
    await session.stores.logs.append(record)


async def test_the_tail_is_the_last_lines_however_many_there_are(session: Session) -> None:
    for number in range(60):
        await log(session, number, "error" if number % 20 == 0 else "info")
    bodies = [record.body for record in await tail_logs(session, LogQuery(), 3)]
    assert bodies == ["line 57", "line 58", "line 59"]
    for level in ("ERROR", "error", "Error"):
        found = await tail_logs(session, LogQuery(level=level), 2)
        assert [record.body for record in found] == ["line 20", "line 40"]
    assert await tail_logs(session, LogQuery(service="api"), 5) == []


async def test_searching_by_text_run_and_time(session: Session) -> None:
    await log(session, 1, body="step failed", run_id="a1b2c3d4e5", service="api")
    await log(session, 2, body="Step FAILED again", run_id="ffff")
    await log(session, 3, body="all well", run_id="a1b2c3d4e5")
    found = await search_logs(session, LogQuery(search="failed"))
    assert [record.body for record in found] == ["step failed", "Step FAILED again"]
    found = await search_logs(session, LogQuery(run="a1b2"))
    assert len(found) == 2
    found = await search_logs(session, LogQuery(service="api", level="info"))
    assert len(found) == 1
    assert len(await search_logs(session, LogQuery(since=session.now() - HOUR))) == 0


async def _until_first(session: Session) -> AsyncIterator[LogRecord]:
    async for record in follow_logs(session, LogQuery(search="new")):
        yield record
        return


async def test_following_the_log(session: Session) -> None:
    await log(session, 0, body="old")
    lines: list[str] = []

    async def follow() -> None:
        lines.extend([r.body async for r in _until_first(session)])

    task = asyncio.create_task(follow())
    while not lines:
        await log(session, 1, body="other")
        await log(session, 2, body="new line")
        await asyncio.sleep(0.02)
    await task
    assert lines == ["new line"]


@pytest.mark.parametrize(
    "query",
    [LogQuery(level="LOUD"), LogQuery(service="a.b"), LogQuery(service=">"), LogQuery(service="*")],
)
def test_filters_that_are_none(query: LogQuery) -> None:
    with pytest.raises(UsageError):
        logs_subject(query)


def test_subjects_of_logs() -> None:
    assert logs_subject(LogQuery()) == "telemetry.logs.>"
    assert logs_subject(LogQuery(service="api")) == "telemetry.logs.api.>"
    assert logs_subject(LogQuery(level="ERROR")) == "telemetry.logs.*.error"
    assert logs_subject(LogQuery(level="warning", service="api")) == "telemetry.logs.api.warn"


@pytest.mark.parametrize("count", [0, -1, 10_001])
async def test_tails_that_are_none(session: Session, count: int) -> None:
    with pytest.raises(UsageError):
        await tail_logs(session, LogQuery(), count)


async def test_cleaning_by_default_takes_runs_and_dead_letters(session: Session) -> None:
    await put_run(session, "a" * 32, EPOCH)
    await bury(session, "r", "x")
    await log(session, 1)
    plan = await plan_clean(session, CleanQuery())
    names = [entry.name for entry in plan.entries]
    assert names[:5] == [
        "WORKFLOW_HISTORY",
        "TASK_QUEUES",
        "EVENTS",
        "SLEEP_TIMERS",
        "DEAD_LETTERS",
    ]
    assert (len(names), plan.total_messages) == (15, 2)
    told: list[str] = []
    done = await clean(session, CleanQuery(), lambda name, *_: told.append(name))
    assert (done.streams_purged, done.buckets_cleared, done.errors) == (5, 10, 0)
    assert len(told) == 15
    assert (await plan_clean(session, CleanQuery())).total_messages == 0
    assert len(await tail_logs(session, LogQuery(), 5)) == 1


async def test_cleaning_everything_and_one_category(session: Session) -> None:
    done = await clean(session, CleanQuery(types=cleaning.CATEGORIES))
    assert (done.streams_purged, done.buckets_cleared) == (6, 11)
    done = await clean(session, CleanQuery(types=("otel",)))
    assert (done.streams_purged, done.buckets_cleared) == (1, 0)


async def test_cleaning_by_age_keeps_what_is_young(session: Session) -> None:
    for number in range(10):
        await bury(session, f"r{number}", "x")
    cutoff = session.now()
    await eventually(lambda: _after(session, cutoff))
    for number in range(4):
        await bury(session, f"n{number}", "x")
    old = CleanQuery(types=("dlq",), older_than=session.now() - cutoff)
    plan = await plan_clean(session, old)
    assert plan.entries[0].messages in (10, 9)
    old = CleanQuery(types=("dlq",), older_than=session.now() - cutoff)
    done = await clean(session, old)
    assert done.streams_purged == 1
    assert await session.stores.dead_letters.count() == 4
    none = await clean(session, CleanQuery(older_than=DAY))
    assert (none.streams_purged, none.buckets_cleared) == (0, 10)
    assert any("TASK_QUEUES" in note for note in none.notes)


async def _after(session: Session, moment: int) -> bool:
    return session.now() > moment + 5_000_000


async def test_cleaning_by_number_and_by_sequence(session: Session) -> None:
    for number in range(10):
        await bury(session, f"r{number}", "x")
    keep = CleanQuery(types=("dlq",), keep=3)
    assert (await plan_clean(session, keep)).total_messages == 7
    assert (await clean(session, keep)).streams_purged == 1
    assert await session.stores.dead_letters.count() == 3
    before = CleanQuery(types=("dlq",), before_seq=10)
    assert (await plan_clean(session, before)).total_messages == 2
    await clean(session, before)
    assert await session.stores.dead_letters.count() == 1
    beyond = CleanQuery(types=("dlq",), keep=5)
    assert (await clean(session, beyond)).streams_purged == 0


@pytest.mark.parametrize(
    ("text", "age"), [("7d", 7 * DAY), ("24h", DAY), ("1h30m", 90 * 60 * SECOND)]
)
def test_ages(text: str, age: int) -> None:
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", " ", "0d", "-1d", "0s", "-5m", "7", "1w", "²d", "d", "1d2h"])
def test_no_age_ever_means_everything(text: str) -> None:
    with pytest.raises(InvalidError, match="invalid --older-than"):
        parse_age(text)


@pytest.mark.parametrize(
    "query",
    [
        CleanQuery(types=("everything",)),
        CleanQuery(older_than=0),
        CleanQuery(older_than=-1),
        CleanQuery(keep=0),
        CleanQuery(before_seq=-1),
        CleanQuery(keep=1, before_seq=1),
        CleanQuery(keep=1, older_than=1),
    ],
)
async def test_cleanings_that_make_no_sense(session: Session, query: CleanQuery) -> None:
    await bury(session, "r", "x")
    with pytest.raises(UsageError):
        await clean(session, query)
    assert await session.stores.dead_letters.count() == 1


async def test_publishing_events(session: Session) -> None:
    done = await publish_event(session, "order.paid", b'{ "id": 7 }', "once")
    again = await publish_event(session, "order.paid", b'{ "id": 7 }', "once")
    assert (done.event_type, again.sequence) == ("order.paid", done.sequence)
    for body in (b"", b"{}", b"[]", b"7", b"{", b"null"):
        with pytest.raises(InvalidError):
            await publish_event(session, "order.paid", body)
    for name in ("", "order.*", ">", "a b", "a..b", "x" * 600):
        with pytest.raises(InvalidError):
            await publish_event(session, name, b'{"id":7}')


async def test_singleton_locks(session: Session) -> None:
    for key in ("w", "w.a", "wide"):
        await session.stores.singletons.put(key, SingletonLock(run_id="r" * 32))
    rows = await list_singletons(session, "w")
    assert [(row.key, row.run_id) for row in rows] == [("w", "r" * 32), ("w.a", "r" * 32)]
    assert (await release_singleton(session, "w.a")).released
    with pytest.raises(NotFoundError):
        await release_singleton(session, "w.a")
    with pytest.raises(InvalidError, match="exceeds max length"):
        await release_singleton(session, "k" * 257)
    assert len(await list_singletons(session)) == 2


async def test_breaking_a_lock_lets_the_next_run_in(
    session: Session, engine: Engine, workflow
) -> None:
    await workflow("w", step("a"), singleton={"mode": "skip", "key": "id"})
    first = (await start_run(session, "w", b'{"id":"a b"}')).run_id

    async def held() -> bool:
        return [row.run_id for row in await list_singletons(session)] == [first]

    await eventually(held)
    skipped = (await start_run(session, "w", b'{"id":"a b"}')).run_id
    assert (await wait_run(session, skipped, 10)).status == "cancelled"
    await release_singleton(session, "w.a b")
    third = (await start_run(session, "w", b'{"id":"a b"}')).run_id

    async def passed_on() -> bool:
        return [row.run_id for row in await list_singletons(session)] == [third]

    await eventually(passed_on)


async def test_what_workers_announced(session: Session) -> None:
    await session.stores.workers.put("worker-1", WorkerRegistration(worker_id="worker-1"))
    for name, owner in (("s3", "worker-1"), ("mail", "gone")):
        kind = TriggerTypeDef(name=name, owner_worker_id=owner)
        await session.stores.trigger_types.put(name, kind)
    rows = [(row.type.name, row.owner_status) for row in await list_trigger_types(session)]
    assert rows == [("mail", "stale"), ("s3", "live")]
    assert (await get_trigger_type(session, "s3")).owner_status == "live"
    with pytest.raises(NotFoundError):
        await get_trigger_type(session, "nope")
    await session.stores.services.put("billing", ServiceRecord(name="billing"))
    assert [one.name for one in await list_services(session)] == ["billing"]


async def test_the_audit_trail_is_newest_first(session: Session) -> None:
    for number in range(5):
        await audit.record(session, "test.done", f"target-{number}", {"n": number})
    rows = await audit.list_audit(session, 2)
    assert [(row.target, row.actor) for row in rows] == [
        ("target-4", "tester"),
        ("target-3", "tester"),
    ]
    with pytest.raises(InvalidError):
        await audit.list_audit(session, 0)


OPTIONAL = (
    "workflow_revisions",
    "engine_state",
    "engine_control",
    "leases",
    "console_audit",
    "triggers",
    "signals",
    "worker_status",
    "trigger_types",
    "services",
    "singleton_locks",
    "approval_tokens",
    "scheduled_runs",
)


async def test_a_server_of_another_make_lacks_buckets(session: Session, workflow) -> None:
    for name in OPTIONAL:
        await session.bus.api(f"STREAM.DELETE.KV_{name}")
    for name in ("TELEMETRY", "TRIGGER_HISTORY"):
        await session.bus.api(f"STREAM.DELETE.{name}")
    await workflow("w")
    await put_run(session, "a" * 32, EPOCH, status="failed", revision="0" * 32)
    status = await get_status(session, detail=True)
    assert (status.runs["failed"], status.paused.paused) == (1, False)
    assert await list_singletons(session) == []
    assert await list_services(session) == []
    assert await audit.list_audit(session) == []
    assert await tail_logs(session, LogQuery(), 5) == []
    done = await clean(session, CleanQuery(types=cleaning.CATEGORIES))
    assert (done.streams_purged, done.errors) == (5, 0)


async def test_a_lock_that_passed_on_is_not_broken(session: Session) -> None:
    await session.stores.singletons.put("w", SingletonLock(run_id="one"))
    entry = await session.stores.singletons.get("w")
    assert entry is not None
    await session.stores.singletons.put("w", SingletonLock(run_id="two"))
    with pytest.raises(ConflictError):
        await session.stores.singletons.delete("w", entry.revision)

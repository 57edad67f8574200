from __future__ import annotations

import asyncio

import pytest

from dagnats.errors import (
    AmbiguousError,
    ConflictError,
    InvalidError,
    NotFoundError,
    RefusedError,
    UsageError,
)
from dagnats.model.times import SECOND, format_time
from dagnats.model.trigger import (
    CronTrigger,
    HttpTrigger,
    SubjectTrigger,
    TriggerDef,
    TriggerFire,
    WebhookTrigger,
)
from dagnats.runtime.engine import Engine
from dagnats.services import cron_times
from dagnats.services.run_watch import wait_run
from dagnats.services.session import Session
from dagnats.services.trigger_fires import fire_trigger, trigger_history
from dagnats.services.triggers import (
    TriggerSpec,
    create_trigger,
    delete_trigger,
    enable_trigger,
    get_trigger,
    list_triggers,
    resolve_trigger,
    update_trigger,
)
from dagnats.worker.worker import Worker
from tests.services.conftest import put_run, step

EPOCH = 1_780_000_000 * SECOND
WEEKDAYS = TriggerSpec(cron="0 9 * * 1-5", tz="America/Denver")


async def test_making_one_of_each_kind(session: Session, workflow) -> None:
    await workflow("w")
    cron = await create_trigger(session, "w", WEEKDAYS)
    assert cron.id.startswith("trig-")
    assert len(cron.id) == 21
    assert cron.cron is not None
    assert (cron.enabled, cron.cron.timezone, cron.cron.backfill) == (True, "America/Denver", False)
    await create_trigger(session, "w", TriggerSpec(subject="events.incoming.>"))
    env = {"DAGNATS_WEBHOOK_SECRET": "from-the-environment"}
    hook = await create_trigger(session, "w", TriggerSpec(webhook="/hooks/w"), env)
    assert hook.webhook is not None
    assert hook.webhook.secret == "********"
    stored = await resolve_trigger(session, hook.id)
    assert stored.webhook is not None
    assert stored.webhook.secret == "from-the-environment"
    assert "from-the-environment" not in str(await list_triggers(session))
    texts = sorted(cron_times.config_text(one) for one in await list_triggers(session))
    assert texts == ["/hooks/w", "0 9 * * 1-5", "events.incoming.>"]


@pytest.mark.parametrize(
    ("spec", "error", "text"),
    [
        (TriggerSpec(), UsageError, "exactly one of"),
        (TriggerSpec(cron="@daily", subject="x"), UsageError, "exactly one of"),
        (TriggerSpec(subject="x", tz="UTC"), UsageError, "do not fit a subject trigger"),
        (TriggerSpec(cron="@daily", secret="s"), UsageError, "--secret does not fit"),
        (TriggerSpec(cron="@daily", signature="body"), UsageError, "--signature does not fit"),
        (TriggerSpec(webhook="/h", signature="x"), InvalidError, "signature .x. is unknown"),
        (TriggerSpec(webhook="/h", signature="timestamped"), InvalidError, "needs a secret"),
        (TriggerSpec(cron="nonsense"), InvalidError, "invalid cron expression"),
        (TriggerSpec(cron=""), InvalidError, "must not be empty"),
        (TriggerSpec(cron="@daily", tz="Mars/Base"), InvalidError, "timezone"),
        (TriggerSpec(webhook="hooks"), InvalidError, "path must start with /"),
        (TriggerSpec(subject="a b"), InvalidError, "not a valid NATS subject"),
    ],
)
async def test_what_is_no_trigger(
    session: Session, workflow, spec: TriggerSpec, error: type[Exception], text: str
) -> None:
    await workflow("w")
    with pytest.raises(error, match=text):
        await create_trigger(session, "w", spec, {})
    assert await list_triggers(session) == []


async def test_a_trigger_needs_its_workflow_and_its_own_path(session: Session, workflow) -> None:
    with pytest.raises(NotFoundError, match='workflow "nope" not found'):
        await create_trigger(session, "nope", WEEKDAYS)
    await workflow("w")
    first = await create_trigger(session, "w", TriggerSpec(webhook="/hooks/w"), {})
    with pytest.raises(ConflictError, match=f'already registered by trigger "{first.id}"'):
        await create_trigger(session, "w", TriggerSpec(webhook="/hooks/w"), {})


async def test_changing_in_place(session: Session, workflow) -> None:
    await workflow("w")
    made = await create_trigger(session, "w", WEEKDAYS)
    changed = await update_trigger(session, made.id[:13], TriggerSpec(cron="0 8 * * 1-5"))
    assert changed.cron == CronTrigger(expression="0 8 * * 1-5", timezone="America/Denver")
    with pytest.raises(UsageError, match="nothing to change"):
        await update_trigger(session, made.id, TriggerSpec())
    with pytest.raises(UsageError, match="--webhook does not fit"):
        await update_trigger(session, made.id, TriggerSpec(webhook="/hooks/w"))
    with pytest.raises(InvalidError, match="timezone"):
        await update_trigger(session, made.id, TriggerSpec(tz="Mars/Base"))
    assert (await get_trigger(session, made.id)).cron == changed.cron
    hook = await create_trigger(session, "w", TriggerSpec(webhook="/h", secret="s" * 20), {})
    stamped = await update_trigger(session, hook.id, TriggerSpec(signature="timestamped"))
    assert stamped.webhook is not None
    assert stamped.webhook.signature == "timestamped"
    await update_trigger(session, hook.id, TriggerSpec(signature="body"))
    cleared = await update_trigger(session, hook.id, TriggerSpec(secret="", signature=""))
    assert cleared.webhook == WebhookTrigger(path="/h")


async def test_prefixes(session: Session) -> None:
    for trigger_id in ("trig-aa11", "trig-aa22", "trig-bb33", "trig-bb33-x"):
        trigger = TriggerDef(id=trigger_id, workflow_id="w", cron=CronTrigger(expression="@daily"))
        await session.stores.triggers.put(trigger_id, trigger)
    assert (await resolve_trigger(session, "trig-aa1")).id == "trig-aa11"
    assert (await resolve_trigger(session, "trig-bb33")).id == "trig-bb33"
    with pytest.raises(AmbiguousError, match="2 triggers match"):
        await resolve_trigger(session, "trig-aa")
    with pytest.raises(NotFoundError):
        await resolve_trigger(session, "nope")
    with pytest.raises(UsageError):
        await resolve_trigger(session, "")


async def test_deleting_enabling_disabling(session: Session, workflow) -> None:
    await workflow("w")
    made = await create_trigger(session, "w", WEEKDAYS)
    assert not (await enable_trigger(session, made.id, enabled=False)).enabled
    assert not (await enable_trigger(session, made.id, enabled=False)).enabled
    assert (await enable_trigger(session, made.id)).enabled
    assert (await delete_trigger(session, made.id)).id == made.id
    with pytest.raises(NotFoundError):
        await delete_trigger(session, made.id)
    with pytest.raises(NotFoundError):
        await enable_trigger(session, made.id)
    managed = TriggerDef(
        id="m", workflow_id="w", source="file:dagnats.yaml", subject=SubjectTrigger(subject="x")
    )
    await session.stores.triggers.put("m", managed)
    with pytest.raises(RefusedError, match="file-managed"):
        await delete_trigger(session, "m")
    await delete_trigger(session, "m", force=True)


async def test_firing_by_hand(session: Session, engine: Engine, worker: Worker, workflow) -> None:
    await workflow("w", step("a"))
    made = await create_trigger(session, "w", WEEKDAYS)
    fired = [await fire_trigger(session, made.id) for _ in range(2)]
    for one in fired:
        assert (await wait_run(session, one.run_id, 20)).status == "completed"
    rows = await trigger_history(session, made.id)
    assert [row.run_id for row in rows] == [one.run_id for one in reversed(fired)]
    assert {(row.status, row.source) for row in rows} == {("completed", "manual")}
    assert all(row.duration for row in rows)
    await enable_trigger(session, made.id, enabled=False)
    with pytest.raises(ConflictError, match="trigger is disabled"):
        await fire_trigger(session, made.id)
    other = await create_trigger(session, "w", TriggerSpec(subject="x.y"))
    with pytest.raises(InvalidError, match="not fireable"):
        await fire_trigger(session, other.id)


async def test_history_is_newest_first_and_bounded(session: Session) -> None:
    for number in range(30):
        for trigger_id in ("t1", "t2"):
            fire = TriggerFire(
                trigger_id=trigger_id,
                workflow_id="w",
                run_id=f"{number:032x}" if number % 2 else "",
                source="cron",
                fired_at=format_time(EPOCH + number * SECOND),
                skipped=number % 2 == 0,
                skip_reason="busy" if number % 2 == 0 else "",
            )
            await session.stores.fires.append(fire, f"{trigger_id}.{number}")
            await session.stores.fires.append(fire, f"{trigger_id}.{number}")
    ended = format_time(EPOCH + 31_500_000_000)
    await put_run(session, f"{29:032x}", EPOCH + 29 * SECOND, completed_at=ended)
    rows = await trigger_history(session, "t1", 3)
    assert [row.fired_at for row in rows] == [format_time(EPOCH + n * SECOND) for n in (29, 28, 27)]
    assert (rows[0].status, rows[0].duration) == ("completed", "2.5s")
    assert (rows[1].status, rows[1].skip_reason) == ("skipped", "busy")
    assert len(await trigger_history(session, "t2", 500)) == 30
    assert await trigger_history(session, "never") == []
    with pytest.raises(UsageError):
        await trigger_history(session, "t1", 0)


def test_cron_times() -> None:
    start = 1_737_270_000 * SECOND  # 2025-01-19 07:00 UTC, a Sunday
    found = cron_times.explain_cron("0 9 * * 1-5", "America/Denver", 3, start)
    assert found.valid
    assert found.labels == [f"2025-01-{day} 09:00 MST" for day in (20, 21, 22)]
    assert found.next_times[0] == "2025-01-20T09:00:00-07:00"
    assert cron_times.explain_cron("0 0 1 1 *", "UTC", 1, start).next_times == [
        "2026-01-01T00:00:00Z"
    ]
    assert cron_times.explain_cron("invalid").error
    assert cron_times.explain_cron("", count=1).valid is False
    wrong = cron_times.explain_cron("@daily", "Mars/Base")
    assert (wrong.valid, wrong.error) == (False, '"Mars/Base" is not a valid timezone')
    assert cron_times.explain_cron("* * * * *", count=0).next_times == []
    assert len(cron_times.explain_cron("* * * * *", count=10**9).next_times) == 100
    with pytest.raises(UsageError):
        cron_times.explain_cron("* * * * *", count=-1)


def test_when_a_trigger_fires_next() -> None:
    daily = TriggerDef(id="d", enabled=True, cron=CronTrigger(expression="0 0 * * *"))
    assert cron_times.next_fire(daily, EPOCH) == "2026-05-29T00:00:00Z"
    hook = TriggerDef(id="h", enabled=True, http=HttpTrigger(path="/api/x", method="GET"))
    assert (cron_times.next_fire(hook, EPOCH), cron_times.config_text(hook)) == ("", "GET /api/x")


async def test_two_people_changing_one_trigger(session: Session, workflow) -> None:
    await workflow("w")
    made = await create_trigger(session, "w", WEEKDAYS)
    changes = [TriggerSpec(cron=f"{n} 9 * * *") for n in range(5)]
    calls = [update_trigger(session, made.id, change) for change in changes]
    results = await asyncio.gather(*calls, return_exceptions=True)
    won = [result for result in results if isinstance(result, TriggerDef)]
    assert won
    stored = await get_trigger(session, made.id)
    assert stored.cron in [one.cron for one in won]
    lost = [result for result in results if not isinstance(result, TriggerDef)]
    assert all(isinstance(result, ConflictError) for result in lost)

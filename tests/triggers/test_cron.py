from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from dagnats.model.times import HOUR, MINUTE, SECOND, format_time, parse_time
from dagnats.model.trigger import CronTrigger, TriggerDef
from dagnats.runtime.triggers import cron
from dagnats.runtime.triggers.cron import CronClock, CronTriggers, due
from dagnats.runtime.triggers.firing import Firing
from dagnats.runtime.triggers.service import TriggerService
from dagnats.server.embedded import EmbeddedServer
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.triggers.conftest import another, ended, fires, started

EVERY_SECOND = CronTrigger(expression="* * * * * *", timezone="UTC")
EVERY_MINUTE = CronTrigger(expression="* * * * *", timezone="UTC")


def ns(text: str) -> int:
    found = parse_time(text)
    assert found is not None
    return found


def local(instants: list[int]) -> list[str]:
    return [datetime.fromtimestamp(i // SECOND, tz=UTC).strftime("%m-%d %H:%M") for i in instants]


def walk(trigger: CronTrigger, start: str, hours: int) -> list[str]:
    """What fires when the clock goes from minute to minute."""
    clock, now = CronClock(), ns(start)
    clock.set(TriggerDef(id="t", cron=trigger), trigger, now)
    fired: list[int] = []
    for _ in range(hours * 60):
        now += MINUTE
        for turn in clock.due(now):
            fired += turn.fires
            clock.advance("t", now)
    return local(fired)


@pytest.mark.parametrize(
    ("expression", "start", "hours", "fired"),
    [
        # New York springs forward at 2:00 on 8 March 2026 (07:00 UTC): 2:30 does not exist.
        ("30 2 * * *", "2026-03-07T06:00:00Z", 48, ["03-07 07:30", "03-08 07:00"]),
        ("0 3 * * *", "2026-03-07T12:00:00Z", 24, ["03-08 07:00"]),
        # It falls back at 2:00 on 1 November (06:00 UTC): 1:30 comes twice and fires once.
        ("30 1 * * *", "2026-11-01T00:00:00Z", 24, ["11-01 05:30"]),
        # What fires every hour goes on by real time.
        ("0 * * * *", "2026-11-01T04:30:00Z", 3, ["11-01 05:00", "11-01 06:00", "11-01 07:00"]),
        ("0 * * * *", "2026-03-08T05:30:00Z", 3, ["03-08 06:00", "03-08 07:00", "03-08 08:00"]),
    ],
)
def test_daylight_saving_under_a_clock_of_ours(
    expression: str, start: str, hours: int, fired: list[str]
) -> None:
    zone = CronTrigger(expression=expression, timezone="America/New_York")
    assert walk(zone, start, hours) == fired


def test_late_fires() -> None:
    now = ns("2026-01-01T12:00:30Z")
    assert local(due(EVERY_MINUTE, now - 10 * SECOND, now).fires) == []
    assert local(due(EVERY_MINUTE, now - 40 * SECOND, now).fires) == ["01-01 12:00"]
    late = due(EVERY_MINUTE, now - HOUR, now)
    assert (local(late.fires), local([late.missed])) == (["01-01 12:00"], ["01-01 11:01"])
    assert "backfill is off" in late.why
    backfill = msgspec.structs.replace(EVERY_MINUTE, backfill=True)
    all_of_them = due(backfill, now - HOUR, now)
    assert (len(all_of_them.fires), all_of_them.missed) == (60, 0)
    capped = due(backfill, now - 3 * HOUR, now)
    assert len(capped.fires) == 100
    assert local([*capped.fires[-1:], capped.missed]) == ["01-01 10:40", "01-01 10:41"]
    assert "limited to 100" in capped.why


def test_a_clock_that_is_set_back_fires_nothing_twice() -> None:
    clock, now = CronClock(), ns("2026-01-01T12:00:30Z")
    clock.set(TriggerDef(id="t", cron=EVERY_MINUTE), EVERY_MINUTE, now)
    assert len(clock.due(now + MINUTE)) == 1
    clock.advance("t", now + MINUTE)
    assert clock.due(now) == []
    assert clock.due(now + MINUTE) == []
    assert clock.soonest() == ns("2026-01-01T12:02:00Z")
    clock.drop("t")
    assert (clock.soonest(), clock.due(now + HOUR)) == (0, [])


async def test_two_servers_make_one_run_per_instant(
    stores: Stores, engine: object, two: list[TriggerService], put
) -> None:
    await put(cron=EVERY_SECOND)
    rows = await started(stores, 3)
    await put(cron=EVERY_SECOND, enabled=False)
    found = await ended(stores, len(rows))
    inputs = [msgspec.json.decode(bytes(run.input)) for run in found]
    assert len({one["timestamp"] for one in inputs}) == len(found)
    assert inputs[0].keys() == {"trigger", "source", "workflow_id", "timestamp"}
    assert {(i["trigger"], i["source"], i["workflow_id"]) for i in inputs} == {("cron", "t", "w")}
    rows = await fires(stores)
    assert sorted(row.run_id for row in rows) == sorted(run.run_id for run in found)
    assert {row.source for row in rows} == {"cron"}


async def test_disable_change_and_delete_take_effect_without_a_restart(
    stores: Stores, two: list[TriggerService], put
) -> None:
    ids = ("disabled", "changed", "deleted")
    for trigger_id in ids:
        await put(trigger_id, cron=EVERY_SECOND)
    for trigger_id in ids:
        await started(stores, 1, trigger_id)
    await put("disabled", cron=EVERY_SECOND, enabled=False)
    await put("changed", cron=CronTrigger(expression="0 0 1 1 *"))
    await stores.triggers.delete("deleted")
    await asyncio.sleep(0.5)
    before = [len(await fires(stores, trigger_id)) for trigger_id in ids]
    await asyncio.sleep(1.2)
    assert [len(await fires(stores, trigger_id)) for trigger_id in ids] == before
    await put("disabled", cron=EVERY_SECOND)
    await started(stores, before[0] + 1, "disabled")


class Clock:
    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


async def test_backfill_and_what_is_missed_without(stores: Stores) -> None:
    now = ns("2026-01-01T12:00:00Z") + 30 * SECOND
    firing, clock = Firing(stores), Clock(now)
    for backfill in (True, False):
        trigger = TriggerDef(
            id=f"t-{backfill}",
            workflow_id="w",
            enabled=True,
            cron=msgspec.structs.replace(EVERY_MINUTE, backfill=backfill),
        )
        await stores.trigger_state.put(f"{trigger.id}.last_run_at", format_time(now - 5 * MINUTE))
        for _ in range(2):  # the second start finds nothing left to do
            cron_triggers = CronTriggers(stores, firing, clock)
            await cron_triggers.start()
            await cron_triggers.add(trigger, 0, live=False)
            await started(stores, 5 if backfill else 2, trigger.id)
            await cron_triggers.stop()
    made_up = await fires(stores, "t-True")
    assert len(made_up) == 5
    assert all(row.run_id and not row.skipped for row in made_up)
    rows = await fires(stores, "t-False")
    assert [(bool(row.run_id), row.skipped) for row in rows] == [(False, True), (True, False)]
    assert "first missed: 2026-01-01T11:56:00Z" in rows[0].skip_reason


async def test_a_server_that_was_stalled_asks_what_others_fired(stores: Stores) -> None:
    now = ns("2026-01-01T12:00:00Z") + 30 * SECOND
    clock = Clock(now)
    stalled = CronTriggers(stores, Firing(stores), clock)
    trigger = TriggerDef(id="t", workflow_id="w", enabled=True, cron=EVERY_MINUTE)
    await stalled.add(trigger, 0, live=True)
    clock.now += 10 * MINUTE
    await stores.trigger_state.put("t.last_run_at", format_time(clock.now - 5 * SECOND))
    await stalled.start()
    clock.now += 30 * SECOND

    async def fired() -> bool:
        return len(await fires(stores)) == 1

    await eventually(fired)
    await stalled.stop()
    assert [row.skipped for row in await fires(stores)] == [False]


async def test_disabling_forgets_what_is_missed(
    stores: Stores, nats_server: EmbeddedServer, put
) -> None:
    old = format_time(ns("2026-01-01T00:00:00Z"))
    await stores.trigger_state.put("t.last_run_at", old)
    backfill = msgspec.structs.replace(EVERY_MINUTE, backfill=True)
    await put(cron=backfill, enabled=False)
    async with another(nats_server):
        assert await stores.trigger_state.get("t.last_run_at") is None
        await put(cron=backfill)

        async def based() -> bool:
            return await stores.trigger_state.get("t.last_run_at") is not None

        await eventually(based)
    assert len(await fires(stores)) <= 1


async def test_an_invalid_trigger_is_told_and_harms_nobody(
    stores: Stores, two: list[TriggerService], put, caplog
) -> None:
    await put("bad", cron=CronTrigger(expression="* * * * *", timezone="Mars/Base"))
    await put(cron=EVERY_SECOND)
    await started(stores, 1)
    told = [record for record in caplog.records if record.message == "trigger is not active"]
    assert {record.about["trigger_id"] for record in told} == {"bad"}
    assert "Mars/Base" in told[0].about["error"]
    assert cron.NEXT_FIRE.values.keys() >= {("t",)}

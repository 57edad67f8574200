from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from dagnats.model.times import MILLISECOND, SECOND
from dagnats.model.trigger import Debounce, SubjectTrigger
from dagnats.runtime.triggers.service import TriggerService
from dagnats.runtime.triggers.subjects import durable_name
from dagnats.server.embedded import EmbeddedServer
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.triggers.conftest import another, data_of, ended, fires, runs, started


async def stream(stores: Stores, name: str, *subjects: str, **more: Any) -> None:
    await stores.bus.api(
        f"STREAM.CREATE.{name}", {"name": name, "subjects": list(subjects), **more}
    )


async def consumers(stores: Stores, name: str) -> list[str]:
    return [info["name"] for info in await stores.consumers(name)]


async def listening(stores: Stores, subject: str, feeds: int = 2) -> None:
    """Wait until both servers have joined the queue group of a subject."""

    async def there() -> bool:
        try:
            await stores.bus.request(subject, b'"probe"', wait=0.05)
        except Exception as error:  # noqa: BLE001 - nobody answers; somebody may be there
            return "nobody listens" not in str(error)
        return True

    await eventually(there)


async def test_a_covered_subject_fires_once_with_two_servers_and_over_a_restart(
    stores: Stores, engine: object, nats_server: EmbeddedServer, put
) -> None:
    await stream(stores, "ORDERS", "orders.>")
    await put(subject=SubjectTrigger(subject="orders.*.new"))
    async with another(nats_server), another(nats_server):
        for number in range(20):
            await stores.bus.nc.publish("orders.eu.new", json.dumps({"n": number}).encode())
        await stores.bus.nc.publish("orders.eu.old", b"{}")
        await ended(stores, 20)
    # Nobody is there, and nothing is missed.
    for number in range(20, 30):
        await stores.bus.nc.publish("orders.us.new", json.dumps({"n": number}).encode())
    async with another(nats_server):
        found = await ended(stores, 30)
    assert sorted(data_of(run)["n"] for run in found) == list(range(30))
    rows = await fires(stores)
    assert {row.run_id for row in rows} == {run.run_id for run in found}
    assert len(rows) == 30
    envelope = json.loads(bytes(found[0].input))
    assert (envelope["trigger"], envelope["source"], envelope["workflow_id"]) == (
        "subject",
        "t",
        "w",
    )


async def test_messages_before_the_trigger_and_while_it_is_disabled_do_not_count(
    stores: Stores, nats_server: EmbeddedServer, put
) -> None:
    await stream(stores, "ORDERS", "orders.>")
    await stores.publisher.start()
    js = stores.bus.nc.jetstream()
    await js.publish("orders.a", b'"before"')
    await put(subject=SubjectTrigger(subject="orders.a"))
    async with another(nats_server):
        await js.publish("orders.a", b'"while"')
        await started(stores, 1)
        await put(subject=SubjectTrigger(subject="orders.a"), enabled=False)

        async def gone() -> bool:
            return await consumers(stores, "ORDERS") == []

        await eventually(gone)
        await js.publish("orders.a", b'"disabled"')
        await put(subject=SubjectTrigger(subject="orders.a"))
        await js.publish("orders.a", b'"after"')
        await started(stores, 2)
        # A new pattern, in place.
        await put(subject=SubjectTrigger(subject="orders.b"))

        async def moved() -> bool:
            infos = await stores.consumers("ORDERS")
            return [info["config"]["filter_subject"] for info in infos] == ["orders.b"]

        await eventually(moved)
        await js.publish("orders.b", b'"moved"')
        await started(stores, 3)
    await stores.triggers.delete("t")
    async with another(nats_server):  # deleted while no server ran
        await eventually(gone)
    starts = [msg.data async for msg in stores_history(stores)]
    assert [json.loads(one)["payload"]["data"] for one in starts] == ["while", "after", "moved"]


def stores_history(stores: Stores) -> Any:
    from dagnats.wire.direct import walk

    return walk(stores.bus, "WORKFLOW_HISTORY", "history.>", 0)


async def test_a_subject_without_a_stream_is_heard_by_one_of_two_servers(
    stores: Stores, engine: object, two: list[TriggerService], put
) -> None:
    await put(subject=SubjectTrigger(subject="sensor.*.hot"))
    await listening(stores, "sensor.x.hot")
    for number in range(50):
        await stores.bus.nc.publish(f"sensor.{number}.hot", json.dumps(number).encode())
    await stores.bus.nc.publish("sensor.1.hot", b"")
    found = [run for run in await ended(stores, 52) if data_of(run) != "probe"]
    numbers = [data_of(run) for run in found]
    assert sorted(number for number in numbers if number is not None) == list(range(50))
    assert numbers.count(None) == 1


async def test_a_server_that_leaves_deals_with_what_it_has(
    stores: Stores, engine: object, nats_server: EmbeddedServer, put
) -> None:
    await put(subject=SubjectTrigger(subject="sensor.>"))
    async with another(nats_server):
        async with another(nats_server):
            await listening(stores, "sensor.probe")
            await started(stores, 1)
            for number in range(200):
                await stores.bus.nc.publish("sensor.x", json.dumps(number).encode())
            await stores.bus.nc.flush()
        found = await ended(stores, 201)
    assert len(found) == 201


async def test_what_is_not_json_is_refused_and_recorded(
    stores: Stores, two: list[TriggerService], put
) -> None:
    await stream(stores, "ORDERS", "orders.>")
    await put(subject=SubjectTrigger(subject="orders.>"))
    js = stores.bus.nc.jetstream()
    await js.publish("orders.a", b"hello")
    await js.publish("orders.a", b'{"a": NaN}')
    await js.publish("orders.a", b"\xff\xfe")
    rows = await started(stores, 3)
    assert all(row.error.startswith("payload is not JSON") and not row.run_id for row in rows)
    assert await runs(stores) == []


async def test_a_stream_that_comes_later_takes_over(
    stores: Stores, engine: object, two: list[TriggerService], put
) -> None:
    await put(subject=SubjectTrigger(subject="late.>"))
    await listening(stores, "late.probe")
    await started(stores, 1)
    await stream(stores, "LATE", "late.>")

    async def read() -> bool:
        return await consumers(stores, "LATE") == [durable_name("t")]

    await eventually(read)
    await asyncio.sleep(0.1)
    js = stores.bus.nc.jetstream()
    for number in range(10):
        await js.publish("late.x", json.dumps(number).encode())
    found = await ended(stores, 11)
    assert sorted(str(data_of(run)) for run in found) == sorted([*map(str, range(10)), "probe"])
    await stores.bus.api(f"CONSUMER.DELETE.LATE.{durable_name('t')}")
    await eventually(read)


async def test_streams_that_hold_parts_of_a_pattern(
    stores: Stores, engine: object, two: list[TriggerService], put
) -> None:
    await stream(stores, "EU", "shop.eu.>")
    await stream(stores, "US", "shop.us.*", "other")
    await put(subject=SubjectTrigger(subject="shop.>"))
    await listening(stores, "shop.probe")
    for subject in ("shop.eu.a.b", "shop.us.a", "shop.asia.a"):
        await stores.bus.nc.publish(subject, json.dumps(subject).encode())
    found = await ended(stores, 4)
    assert sorted(data_of(run) for run in found) == [
        "probe",
        "shop.asia.a",
        "shop.eu.a.b",
        "shop.us.a",
    ]


async def test_a_stream_that_refuses_is_told_and_tried_again(
    stores: Stores, two: list[TriggerService], put, caplog, monkeypatch
) -> None:
    await stream(stores, "JOBS", "jobs.>", retention="workqueue")
    body = {
        "stream_name": "JOBS",
        "config": {"durable_name": "mine", "ack_policy": "explicit", "filter_subject": "jobs.>"},
    }
    await stores.bus.api("CONSUMER.DURABLE.CREATE.JOBS.mine", body)
    monkeypatch.setattr("dagnats.runtime.triggers.service.RETRY_S", 0.2)
    await put(subject=SubjectTrigger(subject="jobs.a"))

    async def told() -> bool:
        return any(record.message == "trigger is not active" for record in caplog.records)

    await eventually(told)
    await stores.bus.api("CONSUMER.DELETE.JOBS.mine")

    async def active() -> bool:
        return await consumers(stores, "JOBS") == [durable_name("t")]

    await eventually(active)


async def test_the_input_schema_applies_to_the_payload(
    stores: Stores, engine: object, two: list[TriggerService], put
) -> None:
    from tests.triggers.conftest import workflow_of

    schema = {"type": "object", "required": ["n"]}
    await stores.definitions.put("w", workflow_of(input_schema=schema))
    await put(subject=SubjectTrigger(subject="event.made"))
    await asyncio.sleep(0.2)
    js = stores.bus.nc.jetstream()
    await js.publish("event.made", b'{"n": 1}')
    await js.publish("event.made", b'{"m": 1}')

    async def over() -> bool:
        return sorted(run.status for run in await runs(stores)) == ["completed", "failed"]

    await eventually(over)
    failed = next(run for run in await runs(stores) if run.status == "failed")
    assert "input validation" in failed.error


@pytest.mark.parametrize("covered", [True, False])
async def test_debounce_fires_once_with_the_last_payload(
    stores: Stores, engine: object, two: list[TriggerService], put, covered: bool
) -> None:
    if covered:
        await stream(stores, "BURST", "burst.>")
    debounce = Debounce(period=300 * MILLISECOND, key="user.id")
    await put(subject=SubjectTrigger(subject="burst.>"), debounce=debounce)
    if not covered:
        await listening(stores, "burst.probe")
        await started(stores, 1)
    else:
        await asyncio.sleep(0.1)
    for number in range(10):
        for user in ("ann", "b.o.b / x"):
            body = {"user": {"id": user}, "n": number}
            await stores.bus.nc.publish("burst.x", json.dumps(body).encode())
        await asyncio.sleep(0.02)
    found = await ended(stores, 2 if covered else 3)
    data = [data_of(run) for run in found if data_of(run) != "probe"]
    assert sorted((one["user"]["id"], one["n"]) for one in data) == [("ann", 9), ("b.o.b / x", 9)]
    assert len(await fires(stores)) == (2 if covered else 3)
    assert await stores.debounce.keys() == []


async def test_debounce_has_a_hard_limit_and_survives_a_restart(
    stores: Stores, engine: object, nats_server: EmbeddedServer, put
) -> None:
    await stream(stores, "BURST", "burst.>")
    debounce = Debounce(period=SECOND, timeout=SECOND)
    await put(subject=SubjectTrigger(subject="burst.>"), debounce=debounce)
    js = stores.bus.nc.jetstream()
    async with another(nats_server):
        await js.publish("burst.x", b"1")

        async def held() -> bool:
            return await stores.debounce.keys() == ["t"]

        await eventually(held)
    async with another(nats_server):
        for number in range(2, 30):
            await js.publish("burst.x", json.dumps(number).encode())
            await asyncio.sleep(0.05)
            if await fires(stores):
                break
        else:
            raise AssertionError("the limit passed and nothing fired")
        found = await ended(stores, 1)
    assert data_of(found[0]) in (number, number - 1)

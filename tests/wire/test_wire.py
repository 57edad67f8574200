"""The wire layer on a real server."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.errors import ConflictError, InvalidError, TooLargeError
from dagnats.model.records import WorkerRegistration
from dagnats.server.embedded import EmbeddedServer
from dagnats.wire import subjects
from dagnats.wire.publisher import Outgoing, PublishError
from dagnats.wire.puller import Puller
from dagnats.wire.stores import Stores
from dagnats.wire.topology import provision
from tests.conftest import eventually


@given(st.text())
def test_no_name_widens_a_subject(text: str) -> None:
    try:
        made = subjects.task(text, "r")
    except InvalidError:
        return
    assert made == f"task.{text}.r"
    assert not set(made) & set("*> \t\r\n\0")
    assert all(made.split("."))


@pytest.mark.parametrize(
    ("name", "group", "durable"),
    [("a.b", "", "workers-a-b"), ("a b", "g.1", "workers-a_b-g-1"), ("x-y_Z", "", "workers-x-y_Z")],
)
def test_durable_names_are_those_of_the_other_implementation(
    name: str, group: str, durable: str
) -> None:
    assert subjects.durable(name, group) == durable


async def test_provisioning_twice_changes_nothing(stores: Stores) -> None:
    assert await provision(stores.bus) == []


async def test_publishing_is_acknowledged_and_deduplicated(stores: Stores) -> None:
    publisher = stores.publisher
    batch = [Outgoing("task.t.r", b"{}", f"id{n}") for n in range(300)]
    acks = await publisher.publish_all(batch)
    assert [ack.seq for ack in acks] == list(range(1, 301))
    again = await publisher.publish(batch[0])
    assert again.duplicate
    with pytest.raises(PublishError):
        await publisher.publish(Outgoing("nobody.listens", b""))
    with pytest.raises(TooLargeError, match="limit"):
        await publisher.publish(Outgoing("task.t.r", b"x" * (stores.bus.max_payload + 1)))


async def test_pulling_survives_a_server_that_dies(
    stores: Stores, nats_server: EmbeddedServer
) -> None:
    puller = Puller(stores.bus, "WORKFLOW_HISTORY", "orchestrator")
    await puller.start()
    await stores.publisher.publish(Outgoing("history.r", b"1"))
    assert [delivery.data for delivery in await puller.take()] == [b"1"]
    os.kill(nats_server.pid, signal.SIGKILL)
    await eventually(lambda: _back(nats_server, stores))
    await stores.publisher.publish(Outgoing("history.r", b"2", "two"))
    taken: list[bytes] = []
    while b"2" not in taken:
        taken += [delivery.data for delivery in await asyncio.wait_for(puller.take(), 10)]
    await puller.stop()


async def _back(server: EmbeddedServer, stores: Stores) -> bool:
    return server.restarts == 1 and stores.bus.nc.is_connected


async def test_buckets_read_back_what_they_were_given(stores: Stores) -> None:
    workers = stores.workers
    assert await workers.get("w1") is None
    first = await workers.create("w1", WorkerRegistration(worker_id="w1", max_tasks=3))
    with pytest.raises(ConflictError):
        await workers.create("w1", WorkerRegistration())
    await workers.update("w1", WorkerRegistration(worker_id="w1", max_tasks=4), first)
    with pytest.raises(ConflictError):
        await workers.update("w1", WorkerRegistration(), first)
    entry = await workers.get("w1")
    assert entry is not None
    assert entry.value.max_tasks == 4
    await workers.delete("w1")
    assert await workers.get("w1") is None
    assert await workers.keys() == []
    await workers.create("w1", WorkerRegistration(worker_id="w1"))
    with pytest.raises(InvalidError):
        await workers.get("no such key *")


async def test_listings_are_whole_ordered_and_survive_rubbish(stores: Stores) -> None:
    workers, publisher = stores.workers, stores.publisher
    await publisher.publish_all(
        [workers.message(f"w{n}", WorkerRegistration(worker_id=f"w{n}")) for n in range(1200)]
    )
    await publisher.publish(Outgoing(workers.subject("bad"), b"\xff{"))
    await workers.put("w3", WorkerRegistration(worker_id="w3", pid=1))
    assert len(await workers.keys()) == 1201
    scanned = [entry.key async for entry in workers.scan()]
    assert len(scanned) == 1200
    assert scanned[-1] == "w3"
    newest = [entry.key async for entry in workers.newest()]
    assert newest == list(reversed(scanned))
    assert workers.unreadable == 2


async def test_very_many_messages_go_out_in_windows_and_wait_while_answers_come(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 000 timers at once took longer than the timeout, again and again."""
    monkeypatch.setattr("dagnats.wire.publisher.WINDOW", 100)
    monkeypatch.setattr("dagnats.wire.publisher.ACK_TIMEOUT", 0.2)
    batch = [Outgoing(f"event.many.{n}", b"{}") for n in range(950)]
    acks = await stores.publisher.publish_all(batch)
    assert [ack.seq for ack in acks] == list(range(acks[0].seq, acks[0].seq + 950))

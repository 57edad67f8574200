"""Kinds that a worker contributes, by the protocol alone (``wire.md`` 9.7)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from msgspec import Raw

from dagnats.model.records import WorkerRegistration
from dagnats.model.trigger import ExternalTrigger, TriggerTypeDef
from dagnats.runtime.triggers.service import TriggerService
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.triggers.conftest import started

SCHEMA = {"type": "object", "required": ["mailbox"]}


class Owner:
    """A worker that watches mailboxes."""

    def __init__(self, stores: Stores, worker_id: str = "worker-1") -> None:
        self.stores, self.worker_id = stores, worker_id
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.refuses = ""
        self.subscriptions: list[Any] = []

    async def listen(self) -> None:
        async def on_message(msg: Any) -> None:
            self.told.append((msg.subject.rpartition(".")[2], json.loads(msg.data)))
            await msg.respond(json.dumps({"error": self.refuses}).encode() if self.refuses else b"")

        nc = self.stores.bus.nc
        self.subscriptions.append(await nc.subscribe("_TRIGGER.mail.*", cb=on_message))
        await nc.flush()

    async def leave(self) -> None:
        for subscription in self.subscriptions:
            await subscription.unsubscribe()

    async def register(self, schema: Any = SCHEMA, version: str = "1", **request: Any) -> str:
        kind = TriggerTypeDef(
            name="mail",
            owner_worker_id=self.worker_id,
            config_schema=Raw(json.dumps(schema).encode()),
            version=version,
        )
        await self.stores.trigger_types.put("mail", kind)
        body = {"name": "mail", "owner_worker_id": self.worker_id, **request}
        return await self.ask(json.dumps(body).encode())

    async def ask(self, body: bytes) -> str:
        answer = await self.stores.bus.request("_REGISTRY.trigger_types.ack", body)
        return json.loads(answer)["error"] if answer else ""

    def count(self) -> Counter[tuple[str, str]]:
        return Counter((what, body["trigger_id"]) for what, body in self.told)


def mail(config: Any = None) -> ExternalTrigger:
    return ExternalTrigger(kind="mail", config=Raw(json.dumps(config or {"mailbox": "a"}).encode()))


async def told(owner: Owner, what: str, times: int) -> None:
    async def there() -> bool:
        return owner.count()[what, "t"] >= times

    await eventually(there)


async def test_the_owner_is_told_once_by_two_servers(
    stores: Stores, two: list[TriggerService], put, monkeypatch
) -> None:
    owner = Owner(stores)
    await owner.listen()
    assert await owner.register() == ""
    await put(external=mail())
    await told(owner, "activate", 1)
    expected = {"trigger_id": "t", "workflow_id": "w", "config": {"mailbox": "a"}}
    assert owner.told == [("activate", expected)]
    await put(external=mail({"mailbox": "b"}))
    await told(owner, "activate", 2)
    await put(external=mail({"mailbox": "b"}), enabled=False)
    await told(owner, "deactivate", 1)
    await put(external=mail())
    await told(owner, "activate", 3)
    await stores.triggers.delete("t")
    await told(owner, "deactivate", 2)
    assert owner.count() == {("activate", "t"): 3, ("deactivate", "t"): 2}


async def test_an_owner_that_comes_back_hears_of_its_triggers(
    stores: Stores, two: list[TriggerService], put, monkeypatch
) -> None:
    monkeypatch.setattr("dagnats.runtime.triggers.service.RETRY_S", 0.2)
    await put(external=mail())
    await put("bad", external=mail({"box": 1}))
    owner = Owner(stores)
    await owner.listen()
    assert await owner.register() == ""
    await told(owner, "activate", 1)
    await owner.leave()
    again = Owner(stores, "worker-2")
    await again.listen()
    assert await again.register() == ""
    await told(again, "activate", 1)
    assert again.count()["activate", "bad"] == 0


async def test_what_is_not_accepted(stores: Stores, two: list[TriggerService], put) -> None:
    owner, other = Owner(stores), Owner(stores, "worker-2")
    assert "not registered in KV" in await owner.ask(b'{"name": "x", "owner_worker_id": "w"}')
    assert await owner.ask(b"{}") == "name must not be empty"
    assert await owner.ask(b'{"name": "x"}') == "owner_worker_id must not be empty"
    assert "cannot decode" in await owner.ask(b"hello")
    assert "owner mismatch" in await owner.register(owner_worker_id="me")
    assert "must not be empty" in await owner.register(schema=None)
    assert await owner.register(schema={"type": "nonsense"}) != ""
    assert await owner.register() == ""
    assert await owner.register() == ""
    assert "schema mismatch" in await owner.register(schema={"type": "object"})
    kept = await stores.trigger_types.get("mail")
    assert kept is not None
    assert json.loads(bytes(kept.value.config_schema)) == SCHEMA
    await stores.workers.put("worker-1", WorkerRegistration(worker_id="worker-1"))
    assert 'already owned by "worker-1"' in await other.register()
    assert await owner.register(version="2") == ""
    await put(external=mail())
    await asyncio.sleep(0.1)
    assert 'is in use by trigger "t"' in await owner.register(version="3")
    await stores.workers.delete("worker-1")
    assert await other.register(version="2") == ""


@pytest.mark.parametrize("config", [{"box": 1}, []])
async def test_a_configuration_that_does_not_fit_is_told(
    stores: Stores, two: list[TriggerService], put, caplog, config: Any
) -> None:
    owner = Owner(stores)
    await owner.listen()
    await owner.register()
    await put(external=ExternalTrigger(kind="mail", config=Raw(json.dumps(config).encode())))

    async def said() -> bool:
        return any(
            "external.config" in record.about["error"]
            for record in caplog.records
            if record.message == "trigger is not active"
        )

    await eventually(said)
    assert owner.told == []


async def test_what_the_owner_starts_is_in_the_history(
    stores: Stores, engine: object, two: list[TriggerService]
) -> None:
    run_id = "ab" * 16
    envelope = {"trigger": "mail", "source": "t", "workflow_id": "w", "data": {"subject": "hi"}}
    event = {"type": "workflow.started", "run_id": run_id, "payload": envelope}
    event["timestamp"] = "2026-01-01T12:00:00Z"
    await stores.bus.nc.jetstream().publish(f"history.{run_id}", json.dumps(event).encode())
    (fire,) = await started(stores, 1)
    assert (fire.run_id, fire.source, fire.workflow_id) == (run_id, "mail", "w")

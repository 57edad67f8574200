"""Kinds of triggers that Python workers contribute."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from dagnats.errors import InvalidError, UsageError
from dagnats.model.codec import encode
from dagnats.model.trigger import ExternalTrigger
from dagnats.runtime.triggers.service import TriggerService
from dagnats.server.embedded import EmbeddedServer
from dagnats.wire.stores import Stores
from dagnats.worker import Watched, Worker, kinds
from tests.conftest import eventually
from tests.triggers.conftest import ended, engine, fires, put, two

__all__ = ["engine", "put", "two"]

SCHEMA = {"type": "object", "required": ["mailbox"]}


class Inbox:
    """What the watchers of a test do."""

    def __init__(self) -> None:
        self.on: dict[str, Watched] = {}
        self.began: list[str] = []
        self.fails = 0

    def worker(self, nats: EmbeddedServer) -> Worker:
        worker = Worker(nats.url, telemetry=False)

        @worker.trigger("mail", schema=SCHEMA, description="A mail came in.")
        async def watch(trigger: Watched) -> None:
            self.began.append(trigger.id)
            if self.fails:
                self.fails -= 1
                raise ValueError("the mail server is away")
            self.on[trigger.id] = trigger
            try:
                await asyncio.Event().wait()
            finally:
                del self.on[trigger.id]

        return worker

    async def has(self, *ids: str) -> None:
        async def there() -> bool:
            return set(self.on) == set(ids)

        await eventually(there)


def mail(mailbox: str = "a") -> ExternalTrigger:
    return ExternalTrigger(kind="mail", config=Raw(encode({"mailbox": mailbox})))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "CHECK_S", 0.1)
    monkeypatch.setattr(kinds, "FIRST_RESTART_S", 0.05)
    monkeypatch.setattr("dagnats.runtime.triggers.service.RETRY_S", 0.2)


async def test_a_watcher_runs_while_its_trigger_is_on(
    nats_server: EmbeddedServer, stores: Stores, engine: object, two: list[TriggerService], put
) -> None:
    inbox = Inbox()
    await put("early", external=mail())
    async with inbox.worker(nats_server):
        await inbox.has("early")
        await put("t", external=mail("b"))
        await inbox.has("early", "t")
        assert inbox.on["t"].config == {"mailbox": "b"}
        run_ids = [
            await inbox.on["t"].fire({"subject": "hi"}, key="mail-1"),
            await inbox.on["t"].fire({"subject": "hi"}, key="mail-1"),
            await inbox.on["t"].fire(),
        ]
        assert len(set(run_ids)) == 2
        found = {run.run_id: msgspec.json.decode(run.input) for run in await ended(stores, 2)}
        first = found[run_ids[0]]
        assert (first["trigger"], first["source"], first["data"]) == (
            "mail",
            "t",
            {"subject": "hi"},
        )
        assert "data" not in found[run_ids[2]]
        await put("t", external=mail("c"))

        async def changed() -> bool:
            return "t" in inbox.on and inbox.on["t"].config == {"mailbox": "c"}

        await eventually(changed)
        await put("t", external=mail("c"), enabled=False)
        await inbox.has("early")
    assert inbox.on == {}

    async def recorded() -> bool:
        return {row.run_id for row in await fires(stores)} == set(run_ids)

    await eventually(recorded)


async def test_a_watcher_that_fails_is_started_again(
    nats_server: EmbeddedServer, two: list[TriggerService], put
) -> None:
    inbox = Inbox()
    inbox.fails = 2
    await put(external=mail())
    async with inbox.worker(nats_server):
        await inbox.has("t")
    assert inbox.began == ["t"] * 3


async def test_another_worker_takes_over(
    nats_server: EmbeddedServer, two: list[TriggerService], put
) -> None:
    first, second = Inbox(), Inbox()
    await put(external=mail())
    async with AsyncExitStack() as leaving:
        await leaving.enter_async_context(first.worker(nats_server))
        await first.has("t")
        async with second.worker(nats_server):
            await asyncio.sleep(0.5)
            assert (list(first.on), list(second.on)) == (["t"], [])
            await leaving.aclose()
            await second.has("t")


def test_names_and_doubles() -> None:
    worker = Worker()
    with pytest.raises(InvalidError, match="trigger kind"):
        worker.trigger("a b")

    @worker.trigger("mail")
    async def watch(trigger: Any) -> None:
        del trigger

    with pytest.raises(UsageError, match="has a watcher already"):
        worker.trigger("mail")(watch)

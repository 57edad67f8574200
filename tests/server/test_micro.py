"""The NATS request/reply API, asked by a plain client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dagnats.server.micro import MicroRoom
from dagnats.server.rooms import Context
from dagnats.server.settings import Settings
from dagnats.services.session import Session
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.services.conftest import engine, session, worker, workflow  # noqa: F401 - fixtures

W = {"name": "w", "version": "1", "steps": [{"id": "a", "task": "t", "type": "normal"}]}


@pytest.fixture
async def rooms(session: Session, tmp_path: Path) -> AsyncIterator[list[MicroRoom]]:  # noqa: F811
    """Two instances on one NATS."""
    context = Context(Settings(data_dir=tmp_path), session, ("127.0.0.1", 1))
    started = [MicroRoom(context), MicroRoom(context)]
    for room in started:
        await room.start()
    yield started
    for room in started:
        await room.stop()


async def ask(stores: Stores, subject: str, body: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return json.loads(await stores.bus.request(subject, data))


@pytest.mark.usefixtures("engine", "worker", "rooms")
async def test_register_start_and_get(stores: Stores) -> None:
    made = await ask(stores, "api.workflows.register", W)
    assert made == {"name": "w", "status": "registered"}
    run_id = (await ask(stores, "api.runs.start", {"workflow": "w", "input": {"n": 1}}))["run_id"]

    async def done() -> bool:
        return (await ask(stores, "api.runs.get", run_id.encode()))["status"] == "completed"

    await eventually(done)
    run = await ask(stores, "api.runs.get", run_id.encode())
    assert run["run_id"] == run_id
    assert "trace_id" in run
    assert "dispatch_nonce" not in json.dumps(run)


@pytest.mark.usefixtures("rooms")
async def test_one_instance_answers(stores: Stores) -> None:
    inbox = stores.bus.nc.new_inbox()
    heard = await stores.bus.nc.subscribe(inbox)
    await stores.bus.nc.publish("api.runs.get", b"nobody", reply=inbox)
    first = await heard.next_msg(timeout=5)
    assert json.loads(first.data) == {"error": "workflow run not found"}
    with pytest.raises(Exception, match="timeout"):
        await heard.next_msg(timeout=0.3)


@pytest.mark.usefixtures("rooms")
async def test_it_can_be_discovered(stores: Stores) -> None:
    info = await ask(stores, "$SRV.INFO.dagnats-api", b"")
    assert {each["subject"] for each in info["endpoints"]} == {
        "api.workflows.register",
        "api.runs.start",
        "api.runs.get",
        "api.runtimes.register",
        "api.runs.spawn",
        "api.runtimes.budget",
    }


@pytest.mark.usefixtures("rooms")
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b'{"workflow": ""}', b'{"workflow": "nope"}', b"[" * 5000, b"\xff\xfe"],
)
async def test_nonsense_gets_an_error_and_ends_nothing(stores: Stores, body: bytes) -> None:
    own = ("api.runtimes.register", "api.runs.spawn", "api.runtimes.budget")
    for subject in ("api.workflows.register", "api.runs.start", "api.runs.get", *own):
        assert (await ask(stores, subject, body))["error"]
    await stores.bus.publish("api.runs.start", body)  # without a reply subject
    assert (await asyncio.gather(*(ask(stores, "api.runs.get", b"x") for _ in range(200))))[0]

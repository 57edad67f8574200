"""Webhooks and HTTP triggers through the real HTTP server."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dagnats.server.embedded import free_port
from dagnats.server.http.room import HttpRoom
from dagnats.server.rooms import Context
from dagnats.server.settings import Settings
from dagnats.server.trigger_room import TriggerRoom
from dagnats.services.session import Session
from tests.conftest import eventually
from tests.server.http.client import Client

pytestmark = pytest.mark.usefixtures("engine", "worker")

SECRET = "0123456789abcdef"
W = {"name": "w", "version": "1", "steps": [{"id": "a", "task": "t", "type": "normal"}]}
HOOK = {"id": "hook", "enabled": True, "webhook": {"path": "/hooks/x", "secret": SECRET}}
ASK = {
    "id": "ask",
    "enabled": True,
    "http": {"path": "/sum", "method": "POST", "timeout_ms": 9000, "max_body_bytes": 100},
}


@pytest.fixture
async def api(session: Session, tmp_path: Path) -> AsyncIterator[Client]:
    settings = Settings(
        data_dir=tmp_path, http_addr=f"127.0.0.1:{free_port()}", api_token="a-token"
    )
    context = Context(settings, session, settings.http_bind)
    triggers = TriggerRoom(context)
    http = HttpRoom(context)
    await triggers.start()
    await http.start()
    client = Client(*http.bind, "a-token")
    made = await client.post("/workflows", W | {"triggers": [HOOK, ASK]})
    assert made.status == 201, made.body
    anybody = Client(*http.bind)

    async def live() -> bool:
        return (await anybody.get("/hooks/x")).status == 405

    await eventually(live)
    yield anybody
    await http.stop()
    await triggers.stop()


def signed(body: bytes) -> dict[str, str]:
    return {
        "X-Signature-256": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    }


async def test_a_signed_webhook_needs_no_token_and_an_unsigned_one_starts_nothing(
    api: Client,
) -> None:
    operator = Client(api.host, api.port, "a-token")
    assert (await api.post("/hooks/x", b"{}")).status == 401
    assert (await api.post("/hooks/nothing", b"{}")).status == 404
    assert (await api.post("/hooks/x", b"x" * 1_100_000, headers=signed(b"x"))).status == 413
    assert (await operator.get("/runs")).json == []
    started = await api.post("/hooks/x", b'{"n":1}', headers=signed(b'{"n":1}'))
    assert started.status in (200, 201, 202), started.body

    async def listed() -> bool:
        found = (await operator.get("/runs")).json
        return [run["run_id"] for run in found] == [started.headers["x-dagnats-run-id"]]

    await eventually(listed)


async def test_an_http_trigger_answers_and_outlives_a_client_that_left(api: Client) -> None:
    answer = await api.post("/api/sum", {"n": 1})
    assert answer.status == 200, answer.body
    assert (await api.post("/api/sum", b"x" * 101)).status == 413
    assert (await api.get("/api/sum")).status == 405
    async with asyncio.timeout(5), api.raw() as (_, writer):
        writer.write(b"POST /api/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
    operator = Client(api.host, api.port, "a-token")

    async def both() -> bool:
        return len((await operator.get("/runs?status=completed")).json) == 2

    await eventually(both)
    assert "/api/sum" in (await operator.get("/openapi.json")).json["paths"]

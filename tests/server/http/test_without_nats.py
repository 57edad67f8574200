"""What the API says while NATS is away: 503 and when to come back, never an internal error."""

from __future__ import annotations

import asyncio
import os
import signal

from dagnats.server.embedded import EmbeddedServer
from tests.server.http.client import Client

ASKED = (
    ("GET", "/workflows", None),
    ("GET", "/workflows/w", None),
    ("GET", "/runs", None),
    ("GET", "/runs/r1", None),
    ("GET", "/runs/r1/events", None),
    ("GET", "/dlq", None),
    ("GET", "/triggers", None),
    ("GET", "/workers", None),
    ("GET", "/queues", None),
    ("GET", "/status", None),
    ("GET", "/health/cluster", None),
    ("GET", "/metrics", None),
    ("POST", "/runs", {"workflow": "w"}),
    ("POST", "/workflows", {"name": "w", "version": "1", "steps": [{"id": "a", "task": "t"}]}),
    ("POST", "/v1/tasks/poll", {"task_types": ["x"], "timeout_ms": 100}),
    ("POST", "/events/order.paid", {"id": 1}),
)


async def test_requests_while_nats_is_away(api: Client, nats_server: EmbeddedServer) -> None:
    await nats_server.stop()
    await refused(api)
    health = await api.get("/health")
    assert (health.status, health.body) == (503, b"NATS not connected\n")


async def test_requests_while_nats_hangs(api: Client, nats_server: EmbeddedServer) -> None:
    os.kill(nats_server.pid, signal.SIGSTOP)
    try:
        await refused(api)
        assert (await api.get("/health")).status == 503
    finally:
        os.kill(nats_server.pid, signal.SIGCONT)


async def refused(api: Client) -> None:
    asked = [api(method, path, body) for method, path, body in ASKED]
    answers = await asyncio.gather(*asked)
    wrong = [
        (method, path, answer.status, answer.body)
        for (method, path, _), answer in zip(ASKED, answers, strict=True)
        if answer.status != 503
    ]
    assert wrong == []

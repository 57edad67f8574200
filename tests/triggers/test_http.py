from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any

import msgspec
import pytest

from dagnats.model.codec import encode
from dagnats.model.event import Event
from dagnats.model.times import MILLISECOND
from dagnats.model.trigger import Debounce, HttpTrigger, WebhookTrigger
from dagnats.model.workflow import WorkflowDef
from dagnats.runtime.triggers import http as http_module
from dagnats.runtime.triggers.http import HttpRequest, HttpResponse
from dagnats.runtime.triggers.service import TriggerService
from dagnats.server.embedded import EmbeddedServer
from dagnats.wire import msgids
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.triggers.conftest import another, data_of, ended, fires, runs, started

SECRET = "a secret of enough letters"


async def call(
    service: TriggerService, method: str, path: str, body: bytes = b"", **headers: str
) -> HttpResponse:
    given = [(name.replace("_", "-"), value) for name, value in headers.items()]
    request = HttpRequest(method=method, path=path, headers=given, body=body)
    return await service.http.handle(request)


async def routed(services: list[TriggerService], count: int) -> None:
    async def there() -> bool:
        return all(len(service.http.routes()) == count for service in services)

    await eventually(there)


def signature(secret: str, signed: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def detail(response: HttpResponse) -> str:
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(response.body)
    assert problem["status"] == response.status
    return problem["detail"]


# --- webhooks ---------------------------------------------------------------------------------


async def test_a_webhook_starts_a_run_and_says_which(
    stores: Stores, engine: object, two: list[TriggerService], put
) -> None:
    await put(webhook=WebhookTrigger(path="/hooks/deploy"))
    await put("below", webhook=WebhookTrigger(path="/plain"))
    await routed(two, 2)
    answers = [
        await call(two[0], "POST", "/hooks/deploy", b'{"ref": "main"}'),
        await call(two[1], "POST", "/hooks/deploy"),
        await call(two[1], "POST", "/hooks/plain", b"[1]"),
    ]
    assert [(a.status, a.body) for a in answers] == [(200, b"ok")] * 3
    found = {run.run_id: data_of(run) for run in await ended(stores, 3)}
    ids = [a.headers["X-Dagnats-Run-Id"] for a in answers]
    assert [found[run_id] for run_id in ids] == [{"ref": "main"}, None, [1]]
    rows = await fires(stores)
    assert [(row.run_id, row.source) for row in rows] == [(run_id, "webhook") for run_id in ids[:2]]


async def test_what_a_webhook_refuses(stores: Stores, two: list[TriggerService], put) -> None:
    await put(webhook=WebhookTrigger(path="/hooks/open"))
    await put("signed", webhook=WebhookTrigger(path="/hooks/signed", secret=SECRET))
    await put("off", webhook=WebhookTrigger(path="/hooks/off"), enabled=False)
    await routed(two, 2)
    one = two[0]
    wrong = await call(one, "GET", "/hooks/open")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")
    for path in ("/hooks/off", "/hooks/never", "/hooks/open/", "/hooks/OPEN", "/api/open", "/"):
        assert (await call(one, "POST", path, b"{}")).status == 404
    large = await call(one, "POST", "/hooks/open", b" " * ((1 << 20) + 1))
    assert (large.status, detail(large)) == (413, "request body too large (max 1048576 bytes)")
    assert one.http.body_limit("POST", "/hooks/open") == 1 << 20
    for body in (b"hello", b"{", b'{"a": NaN}', b"\xff", b"{} {}"):
        answer = await call(one, "POST", "/hooks/open", body)
        assert answer.status == 400
        assert detail(answer).startswith("request body is not JSON")
    good = signature(SECRET, b"{}")
    for given in ("", "sha256=", good.upper(), good[:-1], good.replace("sha256=", ""), "ü" * 71):
        answer = await call(one, "POST", "/hooks/signed", b"{}", X_Signature_256=given)
        assert (answer.status, detail(answer)) == (401, "invalid signature")
    assert (await call(one, "POST", "/hooks/signed", b"{ }", X_Signature_256=good)).status == 401
    assert (await call(one, "POST", "/hooks/signed", b"{}", x_signature_256=good)).status == 200
    assert len(await fires(stores, "signed")) == 1
    assert await fires(stores) == []


async def test_a_timestamped_signature_works_once(
    stores: Stores, two: list[TriggerService], put, monkeypatch
) -> None:
    hook = WebhookTrigger(path="/hooks/w", secret=SECRET, signature="timestamped")
    await put(webhook=hook)
    await routed(two, 1)
    now = int(time.time())

    async def send(service: TriggerService, stamp: object, signed: bytes | None = None) -> int:
        mark = signature(SECRET, signed or f"{stamp}.".encode() + b"{}")
        answer = await call(
            service,
            "POST",
            "/hooks/w",
            b"{}",
            X_Signature_256=mark,
            X_Signature_Timestamp=str(stamp),
        )
        return answer.status

    assert await send(two[0], now) == 200
    assert await send(two[1], now) == 409  # replayed, to the other server
    assert await send(two[0], now, b"{}") == 401  # signed without the time
    assert [await send(two[0], stamp) for stamp in (now - 301, now + 301)] == [401, 401]
    assert [await send(two[0], stamp) for stamp in ("", "x", "-1", "१२३", "9" * 20)] == [401] * 5
    assert await send(two[1], now + 1) == 200
    assert len(await fires(stores)) == 2

    async def away(*args: object) -> None:
        from dagnats.wire.publisher import PublishError

        raise PublishError("NATS is away")

    with monkeypatch.context() as patch:
        patch.setattr(two[0].http._firing, "fire", away)
        assert await send(two[0], now + 2) == 503
    assert await send(two[0], now + 2) == 200  # what failed may be sent again


async def test_an_idempotency_key_makes_one_run_of_many_webhooks(
    stores: Stores, engine: object, two: list[TriggerService], put
) -> None:
    await put(webhook=WebhookTrigger(path="/hooks/w"))
    await routed(two, 1)
    answers = await asyncio.gather(
        *(call(two[n % 2], "POST", "/hooks/w", b"{}", Idempotency_Key="k\xfc 1") for n in range(8))
    )
    assert len({a.headers["X-Dagnats-Run-Id"] for a in answers}) == 1
    await ended(stores, 1)
    again = await call(two[0], "POST", "/hooks/w", b"{}", Idempotency_Key="k\xfc 1")
    assert again.headers == answers[0].headers
    assert len(await fires(stores)) == len(await runs(stores)) == 1


async def test_a_debounced_webhook(
    stores: Stores, engine: object, two: list[TriggerService], put
) -> None:
    await put(webhook=WebhookTrigger(path="/hooks/w"), debounce=Debounce(period=100 * MILLISECOND))
    await routed(two, 1)
    for number in range(6):
        answer = await call(two[number % 2], "POST", "/hooks/w", str(number).encode())
        assert (answer.status, "X-Dagnats-Run-Id" in answer.headers) == (200, False)
    found = await ended(stores, 1)
    assert [data_of(run) for run in found] == [5]
    assert json.loads(bytes(found[0].input))["trigger"] == "webhook"


async def test_when_nats_is_away_the_sender_is_told_to_try_again(
    nats_server: EmbeddedServer, stores: Stores, put, monkeypatch
) -> None:
    monkeypatch.setattr("dagnats.wire.publisher.ACK_TIMEOUT", 0.3)
    await put(webhook=WebhookTrigger(path="/hooks/w"))
    async with another(nats_server) as service:
        await nats_server.stop()
        answer = await call(service, "POST", "/hooks/w", b"{}")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        await nats_server.start()


async def test_a_burst_of_webhooks_starts_as_many_runs_as_were_accepted(
    stores: Stores, two: list[TriggerService], put
) -> None:
    await put(webhook=WebhookTrigger(path="/hooks/w"))
    await routed(two, 1)
    answers = await asyncio.gather(
        *(call(two[n % 2], "POST", "/hooks/w", b"%d" % n) for n in range(1000))
    )
    accepted = {a.headers["X-Dagnats-Run-Id"] for a in answers if a.status == 200}
    state = await stores.bus.api("STREAM.INFO.WORKFLOW_HISTORY")
    assert len(accepted) == state["state"]["messages"] == 1000


# --- request and response ---------------------------------------------------------------------


def answering(*steps: dict[str, Any]) -> WorkflowDef:
    plain = {"name": "w", "version": "1", "steps": list(steps)}
    return msgspec.json.decode(encode(plain), type=WorkflowDef)


def nap(seconds: float, step_id: str = "nap", **more: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "sleep", "config": {"duration": int(seconds * 1e9)}, **more}


def respond(**config: Any) -> dict[str, Any]:
    return {"id": "answer", "type": "respond", "config": config}


def http(**more: Any) -> HttpTrigger:
    given = {"path": "/api/q", "method": "POST", "timeout_ms": 10_000, "max_body_bytes": 1000}
    return HttpTrigger(**{**given, **more})


async def test_a_request_is_answered_by_respond(
    stores: Stores, engine: object, two: list[TriggerService], put
) -> None:
    config = {"status": 201, "headers": {"X-Kind": "quote"}, "body_from": "data"}
    await stores.definitions.put("w", answering(respond(**config), nap(60)))
    await put(http=http(method="PUT"))
    await routed(two, 1)
    request = HttpRequest(
        method="PUT",
        path="/api/q",
        query=[("a", "1"), ("a", "2"), ("b", "")],
        headers=[("x-request-id", "r1"), ("X-Request-Id", "r2")],
        body=b"\x00\xff",
    )
    began = time.monotonic()
    answer = await two[0].http.handle(request)
    assert time.monotonic() - began < 5
    assert (answer.status, answer.headers["X-Kind"]) == (201, "quote")
    assert answer.headers["Content-Type"] == "application/json"
    (fire,) = await started(stores, 1)
    assert (answer.headers["X-Dagnats-Run-Id"], fire.source) == (fire.run_id, "http")
    assert json.loads(answer.body) == {
        "method": "PUT",
        "path": "/api/q",
        "query": {"a": "1", "b": ""},
        "headers": {"X-Request-Id": "r1"},
        "body": base64.b64encode(b"\x00\xff").decode(),
    }


@pytest.mark.parametrize(
    ("steps", "status", "body"),
    [
        ((nap(0.01),), 200, None),
        ((respond(body_from="no.such"),), 500, "workflow_failed"),
        ((nap(60),), 504, "workflow_timeout"),
    ],
)
async def test_how_a_request_ends_without_a_good_answer(
    stores: Stores,
    engine: object,
    two: list[TriggerService],
    put,
    steps: tuple[Any, ...],
    status: int,
    body: str | None,
) -> None:
    await stores.definitions.put("w", answering(*steps))
    await put(http=http(timeout_ms=400 if status == 504 else 10_000))
    await routed(two, 1)
    began = time.monotonic()
    answer = await call(two[0], "POST", "/api/q")
    assert time.monotonic() - began < 3  # at once, not when the time is up
    assert answer.status == status
    run_id = answer.headers["X-Dagnats-Run-Id"]
    assert answer.headers["Content-Type"] == "application/json"
    expected = {"error": body, "run_id": run_id} if body else None
    assert json.loads(answer.body) == expected
    entry = await stores.runs.get(f"run.{run_id}")
    assert entry is not None
    if status == 504:
        assert entry.value.status == "running"


async def test_a_run_that_is_cancelled_and_one_that_cannot_start(
    stores: Stores, engine: object, two: list[TriggerService], put
) -> None:
    await stores.definitions.put("w", answering(nap(60)))
    await put(http=http())
    await put("other", http=http(path="/other", method="GET"), workflow_id="nope")
    await routed(two, 2)
    missing = await call(two[0], "GET", "/api/other")
    assert (missing.status, json.loads(missing.body)["error"]) == (500, "workflow_failed")
    waiting = asyncio.create_task(call(two[0], "POST", "/api/q"))
    (fire,) = await started(stores, 1)
    event = Event(type="workflow.cancelled", run_id=fire.run_id)
    msg_id = msgids.event(fire.run_id, event.type)
    message = Outgoing(f"history.{fire.run_id}", encode(event), msg_id)
    await stores.publisher.publish(message)
    answer = await waiting
    assert (answer.status, json.loads(answer.body)["error"]) == (503, "workflow_cancelled")


SENSELESS = [
    b"",
    b"hello",
    b"[]",
    b'{"status": 99}',
    b'{"status": 700}',
    b'{"headers": {"X": "a\\r\\nY: b"}}',
    b'{"headers": {"bad name": "a"}}',
    b'{"content_type": "a\\nb"}',
    b'{"body": "not base64!"}',
]


async def test_answers_that_make_no_sense(stores: Stores, two: list[TriggerService], put) -> None:
    await put(http=http())
    await routed(two, 1)
    for number, reply in enumerate(SENSELESS):
        waiting = asyncio.create_task(call(two[0], "POST", "/api/q"))
        fire = (await started(stores, number + 1))[-1]
        await stores.bus.publish(f"dagnats.http.response.{fire.run_id}", reply)
        answer = await waiting
        assert (answer.status, json.loads(answer.body)["error"]) == (502, "malformed_response")


async def test_a_client_that_goes_away_leaves_the_run_alone(
    stores: Stores, engine: object, two: list[TriggerService], put
) -> None:
    await stores.definitions.put("w", answering(nap(0.3)))
    await put(http=http())
    await routed(two, 1)
    waiting = asyncio.create_task(call(two[0], "POST", "/api/q"))
    await started(stores, 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert [run.status for run in await ended(stores, 1)] == ["completed"]


@pytest.mark.parametrize("key", ["order-1", "a.b/ü c" * 30], ids=["plain", "odd"])
async def test_a_repeated_request_gets_the_same_answer(
    stores: Stores, engine: object, two: list[TriggerService], put, key: str
) -> None:
    config = {"status": 202, "body_from": "timestamp", "content_type": "text/plain"}
    later = {**respond(**config), "depends_on": ["nap"]}
    config["body_from"] = ""
    await stores.definitions.put("w", answering(nap(0.1), later))
    await put(http=http(idempotency_header="X-Key"))
    await routed(two, 1)
    answers = await asyncio.gather(
        *(call(two[n % 2], "POST", "/api/q", b"%d" % n, X_Key=key) for n in range(6))
    )
    await ended(stores, 1)
    answers.append(await call(two[0], "POST", "/api/q", X_Key=key))
    assert len({(a.status, a.body, *sorted(a.headers.items())) for a in answers}) == 1
    assert answers[0].headers["Content-Type"] == "text/plain"
    assert len(await runs(stores)) == 1
    other = await call(two[1], "POST", "/api/q", X_Key=f"{key}2")
    assert other.headers["X-Dagnats-Run-Id"] != answers[0].headers["X-Dagnats-Run-Id"]
    assert (await call(two[1], "POST", "/api/q")).status == 202
    assert len(await runs(stores)) == 3


async def test_a_claim_without_a_run_is_taken_up(
    stores: Stores, engine: object, two: list[TriggerService], put
) -> None:
    """The server that made the claim was killed before it could publish."""
    await put(http=http(idempotency_header="X-Key"))
    await routed(two, 1)
    run_id = "ab" * 16
    await stores.http_idempotency.create("claim.t.k", run_id.encode())
    answer = await call(two[0], "POST", "/api/q", X_Key="k")
    assert (answer.status, answer.headers["X-Dagnats-Run-Id"]) == (200, run_id)


async def test_what_an_http_trigger_refuses(stores: Stores, two: list[TriggerService], put) -> None:
    await put(http=http(secret=SECRET))
    await put("get", http=http(method="GET"))
    await put("off", http=http(path="/api/off"), enabled=False)
    await routed(two, 2)
    wrong = await call(two[0], "DELETE", "/api/q")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, POST")
    assert (await call(two[0], "POST", "/api/off")).status == 404
    assert (await call(two[0], "POST", "/hooks/q")).status == 404
    assert two[0].http.body_limit("POST", "/api/q") == 1000
    assert (await call(two[0], "POST", "/api/q", b"x" * 1001)).status == 413
    assert (await call(two[0], "POST", "/api/q", b"x")).status == 401
    assert await fires(stores) == []


async def test_an_answer_that_got_lost_is_found(
    stores: Stores, engine: object, two: list[TriggerService], put, monkeypatch
) -> None:
    """As when the connection breaks at the wrong moment: nothing is heard, the snapshot tells."""
    await stores.definitions.put("w", answering(respond(status=203)))
    await put(http=http())
    await routed(two, 1)
    waiting = http_module.Waiting
    monkeypatch.setattr(waiting, "_on_reply", lambda *_: None)
    monkeypatch.setattr(waiting, "_on_event", lambda *_: None)
    answer = await call(two[0], "POST", "/api/q")
    assert answer.status == 203


async def test_two_triggers_on_one_route_do_not_take_turns(
    stores: Stores, two: list[TriggerService], put
) -> None:
    await put("b", webhook=WebhookTrigger(path="/hooks/w"))
    await put("a", webhook=WebhookTrigger(path="/w"))
    await routed(two, 2)
    for service in two:
        await call(service, "POST", "/hooks/w")
    assert (len(await fires(stores, "a")), len(await fires(stores, "b"))) == (2, 0)
    await stores.triggers.delete("a")
    await routed(two, 1)
    await call(two[0], "POST", "/hooks/w")
    assert len(await fires(stores, "b")) == 1

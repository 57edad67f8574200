"""Whatever a client makes of the published document, it gets an answer that is no server error."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagnats.runtime.engine import Engine
from dagnats.server.embedded import EmbeddedServer, NatsSettings, free_port
from dagnats.services.session import Session
from dagnats.services.workflows import register_definition
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.stores import Stores
from dagnats.wire.topology import provision
from tests.server.http.conftest import api_of
from tests.services.conftest import definition_of, put_run, step

EXAMPLES = 250

LONG = ("/v1/workers/connect",)
"""Lasts by design."""

NASTY = (
    *("", " ", ".", "..", "a/b", "a\\b", "-rf", "--help", "*", ">", "a.b", "a.>", "\x00", "\n"),
    *("\u202e", "e\u0301", "\U0001f469\u200d\U0001f4bb", "NUL", "x" * 300, "%2e%2e%2f", "\ud800"),
    *("0", "-1", "9" * 30, "1e400", "true", "null", "2026-02-30T00:00:00Z", "10000-01-01"),
)
KNOWN = ("w", "w.a", "r1", "a", "t", "order.paid", "completed", "2026-01-15T09:00:00Z", "1")

texts = st.sampled_from(NASTY) | st.sampled_from(KNOWN) | st.text(max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


class Running:
    """A server in a thread of its own, for tests that are not asynchronous."""

    def __init__(self, data: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.port = self.wait(self._start(data))
        self.document = json.loads(self.ask("GET", "/openapi.json")[2])

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def _start(self, data: Path) -> int:
        nats = EmbeddedServer(NatsSettings(data_dir=data, port=free_port(), sync="2m"))
        await nats.start()
        self.stack.push_async_callback(nats.stop)
        bus = await connect(ConnectOptions(url=nats.url))
        self.stack.push_async_callback(bus.close)
        await provision(bus)
        session = Session(bus, Stores(bus))
        engine = asyncio.create_task(Engine(session.stores).run())
        self.stack.callback(engine.cancel)
        await register_definition(session, definition_of("w", step("a")))
        await put_run(session, "r1", 10**18)
        api = await self.stack.enter_async_context(api_of(session, data, http_rate_limit=0))
        return api.port

    def stop(self) -> None:
        self.wait(self.stack.aclose())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("content-type", ""), answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("nats"))
    yield running
    running.stop()


def values(schema: dict[str, Any], document: dict[str, Any], depth: int = 0) -> st.SearchStrategy:
    """Values of a schema, and now and then something else."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if depth > 4:
        return anything
    fitting = _fitting(schema, document, depth)
    return st.integers(0, 9).flatmap(lambda die: anything if die == 0 else fitting)


def _fitting(schema: dict[str, Any], document: dict[str, Any], depth: int) -> st.SearchStrategy:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([values(each, document, depth + 1) for each in schema["anyOf"]])
    match schema.get("type"):
        case "object":
            given = schema.get("properties", {})
            required = {
                name: values(each, document, depth + 1)
                for name, each in given.items()
                if name in schema.get("required", ())
            }
            optional = {
                name: values(each, document, depth + 1)
                for name, each in given.items()
                if name not in required
            }
            if given:
                return st.fixed_dictionaries(required, optional=optional)
            more = schema.get("additionalProperties") or {}
            return st.dictionaries(texts, values(more, document, depth + 1), max_size=3)
        case "array":
            return st.lists(values(schema["items"], document, depth + 1), max_size=3)
        case "string":
            return texts
        case "integer":
            return st.sampled_from([0, 1, 2, 50, -1, 2**31, 2**63, 10**40]) | st.integers()
        case "boolean":
            return st.booleans()
        case _:
            return anything


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_no_request_made_from_the_document_is_a_server_error(
    server: Running, data: st.DataObject
) -> None:
    document = server.document
    paths = [path for path in document["paths"] if path not in LONG]
    path = data.draw(st.sampled_from(paths), "path")
    method = data.draw(st.sampled_from(sorted(document["paths"][path])), "method")
    described = document["paths"][path][method]
    target, query = path, []
    for parameter in described.get("parameters", []):
        value = data.draw(values(parameter["schema"], document), parameter["name"])
        text = value if isinstance(value, str) else json.dumps(value)
        if parameter["in"] == "path":
            escaped = quote(text.encode("utf-8", "surrogatepass"), safe="")
            target = target.replace(f"{{{parameter['name']}}}", escaped or "%20")
        elif data.draw(st.booleans()):
            query.append((parameter["name"], text.encode("utf-8", "surrogatepass")))
    body = None
    if content := described.get("requestBody", {}).get("content"):
        drawn = data.draw(values(content["application/json"]["schema"], document), "body")
        if path == "/v1/tasks/poll" and isinstance(drawn, dict):
            drawn["timeout_ms"] = 20
        body = data.draw(st.just(_encoded(drawn)) | st.binary(max_size=50), "bytes")
        if path == "/v1/tasks/poll" and b'"timeout_ms": 20' not in body:
            body = b"{"
    if query:
        target += "?" + urlencode(query)
    status, media, answer = server.ask(method.upper(), target, body)
    assert 200 <= status < 500, (method, target, body, status, answer)
    if status >= 400:
        assert media == "application/problem+json", (method, target, answer)
        assert json.loads(answer)["status"] == status
    else:
        assert str(status) in described["responses"] or status == 302, (method, target, status)


def test_every_operation_survives_nothing_at_all(server: Running) -> None:
    for path, methods in server.document["paths"].items():
        for method in methods:
            if path in LONG:
                continue
            status, _, answer = server.ask(method.upper(), path)
            assert status < 500, (method, path, answer)

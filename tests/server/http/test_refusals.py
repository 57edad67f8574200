"""Who is let in, and what strangers may send: nothing holds the server up or brings it down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dagnats.errors import DagnatsError, InvalidError
from dagnats.server.config import load
from dagnats.server.embedded import free_port
from dagnats.server.http import protocol, reading, room
from dagnats.server.http.access import OPEN, holds
from dagnats.server.http.limits import InFlight, RateLimit
from dagnats.server.http.room import HttpRoom
from dagnats.server.rooms import Context
from dagnats.server.settings import Settings
from dagnats.services.readiness import check_readiness
from dagnats.services.session import Session
from tests.conftest import eventually
from tests.server.http.client import Client, chunks, read_answer, read_head
from tests.server.http.conftest import Serve
from tests.services.conftest import put_run

TOKEN = "correct-horse-battery-staple"


async def routes(api: Client) -> list[tuple[str, str, bool]]:
    """Every method and path, and whether it needs no bearer token."""
    document = (await api.get("/openapi.json")).json
    return [
        (
            method.upper(),
            path.replace("{sequence}", "1").translate({ord("{"): "", ord("}"): ""}),
            described.get("security") == [],
        )
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]


async def test_the_matrix_of_tokens_and_routes(serve: Serve) -> None:
    api = await serve(api_token=TOKEN)
    listed = await routes(api)
    assert len(listed) > 40
    no_token, wrong = Client(api.host, api.port), Client(api.host, api.port, TOKEN + "x")
    for method, path, free in listed:
        for stranger in (no_token, wrong):
            answer = await stranger(method, path)
            if free:
                assert answer.status != 401 or "approval" in path, (method, path)
            else:
                assert answer.status == 401, (method, path)
                assert answer.headers["www-authenticate"] == "Bearer"
        if not free:
            assert (await api(method, path)).status != 401, (method, path)
    free_paths = {path for method, path, free in listed if free}
    assert free_paths == {*OPEN, "/runs/run_id/approval/step"}
    assert (await no_token.get("/nowhere")).status == 401


@pytest.mark.parametrize(
    ("address", "token", "allowed"),
    [
        ("127.0.0.1:8080", "", True),
        ("127.0.0.1:8080", TOKEN, True),
        ("[::1]:8080", "", True),
        ("localhost:8080", "", True),
        (":8080", "", True),  # loopback then
        (":8080", TOKEN, True),
        ("0.0.0.0:8080", "", False),
        ("0.0.0.0:8080", TOKEN, True),
        ("192.168.1.5:8080", "", False),
        ("[::]:8080", "", False),
        ("example.org:8080", "", False),
    ],
)
def test_a_bind_beyond_loopback_needs_a_token(
    tmp_path: Path, address: str, token: str, allowed: bool
) -> None:
    env = {"DAGNATS_HTTP_ADDR": address, "DAGNATS_DATA_DIR": str(tmp_path)}
    if token:
        env["DAGNATS_API_TOKEN"] = token
    if not allowed:
        with pytest.raises(InvalidError, match="api_token"):
            load(env=env)
        return
    host, _ = load(env=env).settings.http_bind
    assert token or host in ("127.0.0.1", "::1", "localhost")


@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc", f"Bearer {TOKEN} ", TOKEN, "ü" * 9])
def test_headers_that_hold_no_token(header: str) -> None:
    assert not holds(header, TOKEN)
    assert holds(f"bearer {TOKEN}", TOKEN)


async def test_pages_of_other_sites_get_nothing_done(api: Client) -> None:
    start = {"workflow": "w"}
    evil = await api.post("/runs", start, headers={"Origin": "https://evil.example"})
    assert evil.status == 403
    null = await api.post("/runs", start, headers={"Origin": "null"})
    assert null.status == 403
    rebound = await api.get("/runs", headers={"Host": "evil.example:8080"})
    assert rebound.status == 421
    tunnel = await api.post("/hooks/x", headers={"Host": "me.tunnel.example"})
    assert tunnel.status == 404  # and not 421: there is no such hook
    assert (
        await api.post(
            "/hooks/x", headers={"Host": "evil.example", "Origin": "http://evil.example"}
        )
    ).status == 421
    own = await api.get("/runs", headers={"Origin": f"http://127.0.0.1:{api.port}"})
    assert own.status == 200


async def test_too_many_requests_are_told_when_to_come_back(serve: Serve) -> None:
    api = await serve(http_rate_limit=5)
    answers = await asyncio.gather(*(api.get("/workflows") for _ in range(30)))
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) >= 10
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert {(await api.get("/health")).status for _ in range(20)} == {200}


def test_a_rate_limit_is_a_hard_bound_for_each_client() -> None:
    now = 0.0
    limit = RateLimit(10, clock=lambda: now)
    assert sum(limit.wait_s("a") == 0 for _ in range(100)) == 20
    assert limit.wait_s("a") == pytest.approx(0.1)
    assert limit.wait_s("b") == 0
    now = 1.0
    assert sum(limit.wait_s("a") == 0 for _ in range(100)) == 10
    for index in range(20_000):
        limit.wait_s(str(index))
    assert len(limit._clients) == 10_000


def test_no_more_at_once_than_allowed() -> None:
    lane = InFlight(2)
    assert [lane.enter() for _ in range(3)] == [True, True, False]
    lane.leave()
    assert lane.enter()


async def test_slow_clients_are_cut_off_and_hold_nobody_up(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.4)
    monkeypatch.setattr(reading, "BODY_TIMEOUT_S", 0.4)

    async def slow_head() -> bytes:
        async with api.raw() as (reader, writer):
            for byte in b"GET /runs HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)
                if reader.at_eof() or writer.is_closing():
                    break
            return await reader.read()

    async def slow_body() -> int:
        async with api.raw() as (reader, writer):
            writer.write(b"POST /runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{")
            return (await read_answer(reader)).status

    async def silent() -> bytes:
        async with api.raw() as (reader, _):
            return await reader.read()

    clients = [silent() for _ in range(60)] + [slow_head() for _ in range(20)]
    began = time.monotonic()
    pending = asyncio.gather(*clients, *(slow_body() for _ in range(20)), return_exceptions=True)
    await asyncio.sleep(0.1)
    for _ in range(5):
        assert (await api.get("/workflows", timeout=2)).status == 200
    ends: list[Any] = await asyncio.wait_for(pending, 10)
    assert time.monotonic() - began < 8
    assert set(ends[80:]) == {408}


async def test_what_is_too_large_is_refused_unread(api: Client) -> None:
    async with api.raw() as (reader, writer):
        writer.write(
            b"POST /runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n"
        )
        assert (await read_answer(reader)).status == 413
    async with api.raw() as (reader, writer):
        writer.write(
            b"POST /runs/r/signal/s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        part = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(20):
            writer.write(part)
        assert (await read_answer(reader)).status == 413
    async with api.raw() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nX-Large: " + b"x" * 1_000_000)
        assert (await reader.read(20)).startswith(b"HTTP/1.1 400") or reader.at_eof()
    assert (await api.get("/health")).status == 200


BROKEN = (
    b"\x00\x01\x02\x03\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /runs HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST /runs HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"POST /runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /runs HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /%2e%2e%2f%2e%2e%2fetc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /workflows/%ff%fe%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /runs?" + b"a=b&" * 3000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"TRACE /runs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /runs HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET /runs HTTP/1.1\r\nHost: [::bad\r\n\r\n",
)


async def test_broken_requests_get_an_answer_and_no_server_error(api: Client) -> None:
    for sent in BROKEN:
        async with asyncio.timeout(5), api.raw() as (reader, writer):
            writer.write(sent)
            writer.write_eof()
            answer = await reader.read()
        assert not answer or 200 <= int(answer.split(b" ")[1]) < 500, (sent, answer)
    assert (await api.get("/health")).status == 200


async def test_a_client_that_closed_its_half_still_gets_its_answer(api: Client) -> None:
    async with asyncio.timeout(5), api.raw() as (reader, writer):
        writer.write(b"GET /workflows HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        writer.write_eof()
        assert (await reader.read()).endswith(b"[]")


async def test_bodies_that_are_no_json(api: Client) -> None:
    bodies = [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b'{"workflow": "w", "surprise": 1}',
        b'{"workflow": 7}',
        b'{"workflow": "w", "input": NaN}',
        b'{"workflow": "w", "input": {"a": 1e400}}',
        b"\xef\xbb\xbf{}",
        '{"workflow": "w"}'.encode("utf-16"),
        b'{"workflow": "\\ud800"}',
        b"[" * 100_000,
        b'{"workflow": "' + b"x" * 100_000 + b'"}',
        b'{"workflow": "w", "run_at": "tomorrow"}',
        b'{"workflow": "w", "run_at": "10000-02-30T00:00:00Z"}',
    ]
    for body in bodies:
        answer = await api.post("/runs", body)
        assert answer.status == 400, (body[:60], answer.body)
        assert answer.json["detail"]
        assert len(answer.body) < 2000


async def test_a_reader_that_stops_reading_is_given_up(
    listening: HttpRoom, monkeypatch: pytest.MonkeyPatch, session: Session
) -> None:
    api, big = Client(*listening.bind), "x" * 900_000
    for index in range(12):
        await session.bus.publisher.publish(_event(f"evt{index}", big))
    async with api.raw() as (reader, writer):
        transport: Any = reader._transport  # type: ignore[attr-defined]
        transport.pause_reading()
        writer.write(b"GET /runs/big/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await eventually(lambda: _connections(listening, 1))
        assert (await api.get("/workflows", timeout=5)).status == 200
        await eventually(lambda: _connections(listening, 0))
        transport.resume_reading()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(read_answer(reader), 5)


async def _connections(http: HttpRoom, count: int) -> bool:
    assert http._server is not None
    return len(http._server.server_state.connections) == count


@pytest.fixture
async def listening(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[HttpRoom]:
    monkeypatch.setattr(room, "KEEP_ALIVE_S", 0.2)
    settings = Settings(data_dir=tmp_path, http_addr=f"127.0.0.1:{free_port()}")
    http = HttpRoom(Context(settings, session, settings.http_bind))
    await http.start()
    yield http
    await http.stop()


def _event(name: str, text: str) -> Any:
    from dagnats.model.codec import encode, raw
    from dagnats.model.event import Event
    from dagnats.wire.publisher import Outgoing

    return Outgoing("history.big", encode(Event(type=name, run_id="big", payload=raw(text))))


@pytest.mark.usefixtures("engine")
async def test_a_stream_ends_with_the_server(session: Session, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, http_addr=f"127.0.0.1:{free_port()}")
    http = HttpRoom(Context(settings, session, settings.http_bind))
    await http.start()
    await put_run(session, "big", 10**18, status="running")
    async with Client(*http.bind).raw() as (reader, writer):
        writer.write(
            b"GET /runs/big/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
        )
        status, _ = await read_head(reader)
        assert status == 200
        assert await anext(chunks(reader))
        began = time.monotonic()
        await http.stop()
        assert time.monotonic() - began < 3


async def test_health_notices_what_is_wrong(
    session: Session, engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagnats.services import readiness

    assert (await check_readiness(session, tmp_path)).ok
    monkeypatch.setattr(readiness, "MIN_FREE_BYTES", 1 << 60)
    assert "disk full" in (await check_readiness(session, tmp_path)).problems[0]
    session.bus.publisher.silent["task"] = time.monotonic()
    assert "frozen" in "\n".join((await check_readiness(session)).problems)
    session.bus.publisher.silent.clear()
    await session.bus.api("STREAM.UPDATE.KV_leases", await _sealed(session))
    assert "cannot write" in "\n".join((await check_readiness(session)).problems)


async def _sealed(session: Session) -> dict[str, Any]:
    config = (await session.bus.api("STREAM.INFO.KV_leases"))["config"]
    return config | {"max_msg_size": 1}


async def test_health_notices_an_engine_that_lags(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagnats.services import readiness

    assert (await check_readiness(session)).ok  # nothing waits for an engine
    monkeypatch.setattr(readiness, "MAX_LAG_S", 0.05)
    await session.bus.publisher.publish(_event("step.odd", "x"))
    await asyncio.sleep(0.2)
    [problem] = (await check_readiness(session)).problems
    assert "the engine lags: 1 events" in problem


async def test_a_taken_port_is_an_error(api: Client, session: Session, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, http_addr=f"127.0.0.1:{api.port}")
    with pytest.raises(DagnatsError, match="cannot listen"):
        await HttpRoom(Context(settings, session, settings.http_bind)).start()

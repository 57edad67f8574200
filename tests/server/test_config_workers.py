"""Workers from the configuration: commands and web addresses as steps."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dagnats.errors import InvalidError
from dagnats.model.times import SECOND
from dagnats.server.config import load
from dagnats.server.rooms import Context
from dagnats.server.settings import Settings, WorkerSpec
from dagnats.server.workers import command, web
from dagnats.server.workers.room import WorkersRoom
from dagnats.services.run_events import run_outputs
from dagnats.services.run_query import find_run
from dagnats.services.run_watch import wait_run
from dagnats.services.runs import cancel_run, start_run
from dagnats.services.session import Session
from tests.conftest import eventually
from tests.server.processes import alive
from tests.services.conftest import Register, engine, session, step, workflow  # noqa: F401

pytestmark = pytest.mark.usefixtures("engine")

Run = Callable[..., Awaitable[Any]]


@pytest.fixture
async def run(session: Session, workflow: Register, tmp_path: Path) -> AsyncIterator[Run]:  # noqa: F811
    """Runs one task on a configured worker: its output, or the error of its step."""
    rooms: list[WorkersRoom] = []

    async def once(given: Any, **spec: Any) -> Any:
        specs = (WorkerSpec(task="job", **spec),)
        room = WorkersRoom(
            Context(Settings(data_dir=tmp_path, workers=specs), session, ("127.0.0.1", 1))
        )
        await room.start()
        rooms.append(room)
        await workflow("w", step("a", task="job"))
        started = await start_run(session, "w", msgspec.json.encode(given))
        ended = await wait_run(session, started.run_id, 20)
        if ended.status != "completed":
            return ended.steps["a"].error
        return msgspec.json.decode((await run_outputs(session, ended.run_id)).outputs["a"])

    yield once
    for room in rooms:
        await room.stop()


def python(code: str) -> str:
    return f"{sys.executable} -c '{code}'"


async def test_a_command_gets_its_input_and_gives_its_output(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGNATS_API_TOKEN", "top-secret")
    code = (
        'import json,os,sys; print(json.dumps({"got": json.load(sys.stdin), '
        '"step": os.environ["DAGNATS_STEP_ID"], "retry": os.environ["DAGNATS_RETRY_COUNT"], '
        '"token": os.environ.get("DAGNATS_API_TOKEN")}))'
    )
    given = {"text": "$(touch x); `id` 'q' \"d\" \\ \u202e"}
    output = await run(given, exec=python(code))
    assert output == {"got": given, "step": "a", "retry": "0", "token": None}


async def test_plain_text_is_an_output_too(run: Run) -> None:
    assert await run(None, exec="echo hello there") == "hello there"


async def test_an_exit_code_fails_the_attempt_with_the_end_of_what_it_said(run: Run) -> None:
    code = 'import sys; sys.stderr.write("x" * 100000 + "the reason"); sys.exit(3)'
    error = await run({}, exec=python(code))
    assert "exit code 3" in error
    assert error.endswith("the reason")
    assert len(error) < 3000


async def test_a_command_that_is_not_there(run: Run) -> None:
    assert "cannot run '/no/such/thing'" in await run({}, exec="/no/such/thing")


async def test_too_much_output_ends_the_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MAX_OUTPUT", 100_000)
    began = time.monotonic()
    assert "wrote more than 100000 bytes" in await run({}, exec="yes")
    assert time.monotonic() - began < 10


async def test_a_timeout_kills_the_whole_process_group(run: Run, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! > {pids}; trap : TERM; while :; do sleep 600; done"
    error = await run({}, exec=f'sh -c "{script}"', timeout=SECOND)
    assert "timed out" in error
    assert not alive(int(pids.read_text()))


async def test_children_left_behind_hold_nothing_up(run: Run, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! > {pids}; echo 7"
    began = time.monotonic()
    assert await run({}, exec=f'sh -c "{script}"') == 7
    assert time.monotonic() - began < 10

    async def gone() -> bool:
        return not alive(int(pids.read_text()))

    await eventually(gone)


async def test_a_cancelled_run_ends_its_command(
    session: Session,  # noqa: F811
    workflow: Register,  # noqa: F811
    tmp_path: Path,
) -> None:
    spec = WorkerSpec(task="job", exec=f'sh -c "echo $$ > {tmp_path}/pid; exec sleep 600"')
    settings = Settings(data_dir=tmp_path, workers=(spec,))
    room = WorkersRoom(Context(settings, session, ("127.0.0.1", 1)))
    await room.start()
    await workflow("w", step("a", task="job"))
    run_id = (await start_run(session, "w", b"{}")).run_id

    async def begun() -> bool:
        return (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text())

    await eventually(begun)
    pid = int((tmp_path / "pid").read_text())
    await cancel_run(session, run_id)

    async def gone() -> bool:
        return not alive(pid)

    await eventually(gone)
    await room.stop()
    assert (await find_run(session, run_id)).status == "cancelled"


class Site:
    """A web server that answers as told."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [
            line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        ]
        body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        self.asked.append(head + body)
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/do?x=1"
    yield site
    server.close()


def answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in (f"Content-Length: {len(body)}", *headers))
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


async def test_a_web_address_gets_the_input_and_gives_the_output(run: Run, site: Site) -> None:
    site.answer = answer("200 OK", b'{"n": 2}')
    assert await run({"n": 1}, http=site.url) == {"n": 2}
    [asked] = site.asked
    assert asked.startswith(b"POST /do?x=1 HTTP/1.1\r\n")
    assert b"X-Dagnats-Step-Id: a" in asked
    assert b"Idempotency-Key: " in asked
    assert asked.endswith(b'{"n":1}')


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (answer("500 Oops", b"broken"), "HTTP 500: broken"),
        (answer("302 Found", b"", "Location: http://169.254.169.254/"), "HTTP 302"),
        (b"nonsense\r\n\r\n", "no HTTP answer"),
        (b"", "RemoteDisconnected"),
    ],
)
async def test_other_answers_fail_the_attempt(
    run: Run, site: Site, reply: bytes, text: str
) -> None:
    site.answer = reply
    assert text in await run({}, http=site.url)


async def test_what_is_too_large_or_not_there(
    run: Run, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "MAX_OUTPUT", 1000)
    site.answer = answer("200 OK", b"x" * 2000)
    assert "larger than 1000 bytes" in await run({}, http=site.url)


async def test_addresses_that_tell_secrets_are_not_called(
    run: Run, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ipaddress

    monkeypatch.setattr(web, "_METADATA", (ipaddress.ip_address("127.0.0.1"),))
    assert "metadata address" in await run({}, http=site.url)
    assert site.asked == []


def test_the_keys_of_a_worker(tmp_path: Path) -> None:
    path = tmp_path / "dagnats.yaml"
    path.write_text(
        "worker.img.resize.exec: convert - -\nworker.img.resize.timeout: 30s\n"
        "worker.img.resize.concurrency: 4\nworker.call.http: https://example.org/x\n"
    )
    env = {"DAGNATS_WORKER_CALL_HTTP_METHOD": "PUT", "HOME": os.environ.get("HOME", "/")}
    call, resize = load(path, env=env).settings.workers
    assert (call.http, call.timeout_s) == ("https://example.org/x", 60)
    assert (resize.exec, resize.timeout_s, resize.concurrency) == ("convert - -", 30, 4)
    for line in (
        "worker.a.exec: x\nworker.a.http: http://x/",
        "worker.a.timeout: 3s",
        "worker.a.http: ftp://x/",
        "worker.a.http: file:///etc/passwd",
        "worker.a.exec: x\nworker.a.concurrency: 0",
        "worker.a*.exec: x",
    ):
        path.write_text(line + "\n")
        with pytest.raises(InvalidError):
            load(path, env={})

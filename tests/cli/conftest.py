"""A server with an engine and a worker, in a thread of its own: the commands block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dagnats.runtime.engine import Engine
from dagnats.server.embedded import EmbeddedServer, NatsSettings, free_port
from dagnats.services.session import Session
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.topology import provision
from dagnats.worker import NonRetryableError, Worker
from tests.cli.runner import Result, cli

T = TypeVar("T")
HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202egpj.exe\r\x00[bold]"


class World:
    """What the commands talk to."""

    def __init__(self, folder: Path, make_worker: Callable[[str], Worker] | None = None) -> None:
        self._make_worker = make_worker or _worker
        self._server = EmbeddedServer(
            NatsSettings(data_dir=folder / "nats", port=free_port(), sync="2m")
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._up = threading.Event()
        self.session: Session

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        self._thread.start()
        self._stop = asyncio.run_coroutine_threadsafe(self._live(), self._loop)
        while not self._up.wait(0.1):
            if self._stop.done():
                self._stop.result()

    async def _live(self) -> None:
        self._end = asyncio.Event()
        await self._server.start()
        bus = await connect(ConnectOptions(url=self.url))
        await provision(bus)
        self.session = Session(bus, actor="tester")
        engine = Engine(self.session.stores)
        task = asyncio.create_task(engine.run())
        await asyncio.wait_for(engine.ready(), 10)
        async with self._make_worker(self.url):
            self._up.set()
            await self._end.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bus.close()
        await self._server.stop()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._stop.result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def do(self, act: Callable[[Session], Awaitable[T]]) -> T:
        """Run a service function on the server's own session."""

        async def acted() -> T:
            return await act(self.session)

        return asyncio.run_coroutine_threadsafe(acted(), self._loop).result(20)

    def __call__(self, *argv: str, **more: Any) -> Result:
        """Run a command against this server."""
        return cli(*argv, env={"DAGNATS_NATS_URL": self.url, **more.pop("env", {})}, **more)


def _worker(url: str) -> Worker:
    worker = Worker(url, name="tester")

    @worker.task("echo")
    async def echo(job: Any) -> Any:
        return {"got": job}

    @worker.task("fail")
    async def fail(job: Any) -> Any:
        if isinstance(job, dict) and job.get("healed"):
            return {"healed": True}
        raise NonRetryableError("no such luck")

    @worker.task("hostile")
    async def hostile(job: Any) -> Any:
        if job == "fail":
            raise NonRetryableError(HOSTILE)
        return {"text": HOSTILE}

    return worker


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    world.start()
    yield world
    world.stop()


@pytest.fixture
def workflow(world: World, tmp_path: Path) -> Callable[..., str]:
    """Register a workflow; steps are given as ``id=task`` after ``id`` of their parents."""

    def make(name: str, *steps: dict[str, Any], **more: Any) -> str:
        import json

        plain = steps or ({"id": "a", "task": "echo"}, step("b", "a"))
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"name": name, "version": "1.0.0", "steps": plain, **more}))
        done = world("workflow", "register", str(path))
        assert done.code == 0, done.err
        return name

    return make


def step(name: str, *parents: str, task: str = "echo", **more: Any) -> dict[str, Any]:
    return {"id": name, "task": task, "depends_on": list(parents), **more}

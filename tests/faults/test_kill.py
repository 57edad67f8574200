"""Processes are killed again and again under load, and nothing is lost, stuck or recorded twice."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from dagnats.errors import DagnatsError, UnreachableError
from dagnats.model.codec import encode, raw
from dagnats.model.event import Event, EventType, StartPayload
from dagnats.model.run import is_terminal
from dagnats.model.times import MILLISECOND
from dagnats.server.embedded import free_port
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.engine.world import flow, step

T = TypeVar("T")
RUNS, KILLS = 300, 20
RETRY = {"max_attempts": 20, "initial_delay": 50 * MILLISECOND}
DEFINITION = flow(
    *(
        step(name, *after, task="fault.step", retry=RETRY)
        for name, after in (("a", ()), ("b", ("a",)), ("c", ("b",)))
    ),
    name="fault",
)


class Place:
    """A server process and a worker process that can be killed."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.directory = directory
        self.url = f"nats://127.0.0.1:{self.port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start ``server`` or ``worker`` (again)."""
        arguments = {
            "server": ["-m", "dagnats", "serve"],
            "worker": [str(Path(__file__).with_name("worker.py")), self.url],
        }[name]
        environment = {
            **os.environ,
            "DAGNATS_DATA_DIR": str(self.directory / "data"),
            "DAGNATS_NATS_PORT": str(self.port),
            "DAGNATS_HTTP_ADDR": f"127.0.0.1:{free_port()}",
            "DAGNATS_SYNC": "2m",
        }
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *arguments], env=environment, stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        """Kill a process, and start it anew unless it is the server's own child."""
        if name == "nats":
            for pid in _children(self.processes["server"].pid, "nats-server"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return
        process = self.processes[name]
        process.kill()
        process.wait()
        self.start(name)

    def revive(self) -> None:
        """Start what has ended, as a supervisor would.

        A server that comes up before its predecessor's nats-server is gone finds its port taken.
        """
        for name, process in self.processes.items():
            if process.poll() is not None:
                self.start(name)

    def stop(self) -> None:
        """End both."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(20)


def _children(pid: int, name: str) -> list[int]:
    found: list[int] = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        with suppress(OSError):
            fields = (directory / "stat").read_text()
            command, _, rest = fields.partition("(")[2].partition(") ")
            if command.startswith(name[:15]) and rest.split()[1] == str(pid):
                found.append(int(directory.name))
    return found


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(tmp_path)
    place.start("server")
    place.start("worker")
    yield place
    place.stop()


async def _connected(place: Place) -> Stores:
    while True:
        with suppress(DagnatsError):
            bus = await connect(ConnectOptions(url=place.url))
            break
        await asyncio.sleep(0.1)

    async def provisioned() -> bool:
        with suppress(DagnatsError):
            await bus.api("CONSUMER.INFO.WORKFLOW_HISTORY.orchestrator")
            return True
        return False

    await eventually(provisioned)
    return Stores(bus)


async def _start(place: Place, stores: Stores) -> str:
    run_id = secrets.token_hex(16)
    payload = StartPayload(workflow_def=raw(DEFINITION), input=raw(1))
    event = Event(type=EventType.WORKFLOW_STARTED, run_id=run_id, payload=raw(payload))
    message = Outgoing(f"history.{run_id}", encode(event), f"{run_id}.workflow.started")
    while True:
        with suppress(DagnatsError):
            await stores.publisher.publish(message)
            return run_id
        place.revive()
        await asyncio.sleep(0.05)


async def _answered(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer of a server that may be dying: the last kill is not over when its runs are."""
    while True:
        with suppress(UnreachableError):
            return await ask()


@pytest.mark.timeout(150)
@pytest.mark.skipif(sys.platform != "linux", reason="finds the child through /proc")
@pytest.mark.parametrize("victim", ["server", "worker", "nats"])
async def test_killing_loses_nothing(place: Place, victim: str) -> None:
    """I1, I2 under F1..F3: ends as it should, each result once, no task left over."""
    chance = random.Random(victim)
    stores = await _connected(place)
    runs: list[str] = []
    for _ in range(KILLS):
        runs += [await _start(place, stores) for _ in range(RUNS // KILLS)]
        await asyncio.sleep(chance.uniform(0.3, 1.0))
        place.kill(victim)

    async def all_ended() -> bool:
        place.revive()
        with suppress(DagnatsError):
            found = await stores.runs.get_many(f"run.{run_id}" for run_id in runs)
            return len(found) == RUNS and all(
                is_terminal(entry.value.status) for entry in found.values()
            )
        return False

    await eventually(all_ended, 60)
    for run_id in runs:
        entry = await _answered(lambda run_id=run_id: stores.runs.get(f"run.{run_id}"))
        assert entry is not None
        assert entry.value.status == "completed", entry.value.error
        events = await _answered(lambda run_id=run_id: stores.history.read(run_id))
        counts = Counter(
            stored.event.step_id
            for stored in events
            if stored.event.type == EventType.STEP_COMPLETED
        )
        assert counts == {"a": 1, "b": 1, "c": 1}

    async def drained() -> bool:
        return (await stores.bus.api("STREAM.INFO.TASK_QUEUES"))["state"]["messages"] == 0

    await eventually(drained, 20)
    await stores.bus.close()

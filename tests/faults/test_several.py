"""Several servers on one NATS: the active one is stopped or killed under load, again and again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from dagnats.errors import DagnatsError
from dagnats.model.codec import encode, raw
from dagnats.model.event import EventType
from dagnats.model.records import EngineMember
from dagnats.model.run import is_terminal
from dagnats.model.times import MILLISECOND, format_time
from dagnats.runtime.lease import LEASE, PATIENCE_S
from dagnats.server.embedded import EmbeddedServer, free_port
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.engine.world import flow, step
from tests.runtime.test_engine import start

RETRY = {"max_attempts": 20, "initial_delay": 50 * MILLISECOND}
DEFINITION = flow(
    step("a", task="fault.step", retry=RETRY),
    step("nap", "a", type="sleep", config={"duration": 3000 * MILLISECOND}),
    step("b", "nap", task="fault.step", retry=RETRY),
    name="several",
)
TAKEOVER_S = PATIENCE_S + 3.0
"""A lease that stands still, a look every half second, loading, and a busy machine."""


class Servers:
    """Some servers and a worker, on one nats-server."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url, self.directory = url, directory
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a Python process."""
        environment = {
            **os.environ,
            "DAGNATS_NATS_URL": self.url,
            "DAGNATS_HTTP_ADDR": f"127.0.0.1:{free_port()}",
        }
        with (self.directory / "several.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments], env=environment, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def serve(self) -> subprocess.Popen[bytes]:
        """Start a server."""
        return self.start("-m", "dagnats", "serve")

    def stop(self) -> None:
        """End everything."""
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


@pytest.fixture
async def servers(nats_server: EmbeddedServer, tmp_path: Path) -> AsyncIterator[Servers]:
    made = Servers(nats_server.url, tmp_path)
    made.serve()
    yield made
    made.stop()


async def _active(stores: Stores, other_than: int = 0, within: float = 15.0) -> EngineMember:
    """The active engine, once it is another than the one with that pid."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with suppress(DagnatsError):
            member, _ = await stores.leases.latest(LEASE)
            if member is not None and member.epoch and member.pid != other_than:
                return member
        await asyncio.sleep(0.05)
    raise AssertionError("nobody took over")


@pytest.mark.timeout(150)
@pytest.mark.skipif(sys.platform != "linux", reason="knows the dead by /proc")
async def test_stopping_and_killing_the_active_one_loses_nothing(servers: Servers) -> None:
    """I1, I2 under F4, F7, F21: ends as it should, each result once, timers fire, no task left."""
    chance = random.Random(4)
    stores = Stores(await connect(ConnectOptions(url=servers.url)))
    first = await _active(stores)
    servers.start(str(Path(__file__).with_name("worker.py")), servers.url)
    servers.serve(), servers.serve()
    runs: list[str] = []

    async def load(count: int) -> None:
        for _ in range(count):
            runs.append(await start(stores, DEFINITION))
            await asyncio.sleep(chance.uniform(0.001, 0.01))

    async def standing_by() -> bool:
        return len(await stores.leases.keys("standby.*")) >= 2

    await load(30)
    await eventually(standing_by)
    # Due when nobody is active.
    runs.append(await _scheduled(stores, 2500 * MILLISECOND))
    # Stopped with work in its hands, for longer than anybody has patience.
    os.kill(first.pid, signal.SIGSTOP)
    began = time.monotonic()
    await load(30)
    second = await _active(stores, first.pid)
    assert time.monotonic() - began < TAKEOVER_S
    await load(30)
    # Back again: it must notice, and let the second one be.
    os.kill(first.pid, signal.SIGCONT)
    await load(30)
    assert (await _active(stores)).pid == second.pid
    # Killed: the process is gone for certain, so nobody waits.
    os.kill(second.pid, signal.SIGKILL)
    began = time.monotonic()
    third = await _active(stores, second.pid)
    assert time.monotonic() - began < 3.0
    servers.serve()
    await load(30)
    # Stopped for a moment only: it goes on.
    os.kill(third.pid, signal.SIGSTOP)
    await asyncio.sleep(0.5)
    os.kill(third.pid, signal.SIGCONT)
    await load(30)
    # Asked to go.
    os.kill(third.pid, signal.SIGTERM)
    await load(30)
    await _active(stores, third.pid)
    await _all_well(stores, runs)
    await stores.bus.close()


async def _scheduled(stores: Stores, delay_ns: int) -> str:
    definition = encode(raw(DEFINITION))
    await stores.publisher.publish(Outgoing("$KV.workflow_defs.several", definition))
    session = Session(stores.bus, stores)
    at = format_time(session.now() + delay_ns)
    return (await start_run(session, "several", at=at)).run_id


async def _all_well(stores: Stores, runs: list[str]) -> None:
    async def all_ended() -> bool:
        found = await stores.runs.get_many(f"run.{run_id}" for run_id in runs)
        return len(found) == len(runs) and all(
            is_terminal(entry.value.status) for entry in found.values()
        )

    await eventually(all_ended, 60)
    for run_id in runs:
        entry = await stores.runs.get(f"run.{run_id}")
        assert entry is not None
        assert entry.value.status == "completed", entry.value.error
        kinds = Counter(
            (stored.event.type, stored.event.step_id)
            for stored in await stores.history.read(run_id)
        )
        for step_id in ("a", "b"):
            assert kinds[EventType.STEP_COMPLETED, step_id] == 1
        assert kinds[EventType.SLEEP_COMPLETED, "nap"] == 1
        assert kinds[EventType.WORKFLOW_COMPLETED, ""] == 1
        assert kinds[EventType.WORKFLOW_STARTED, ""] == 1

    async def drained() -> bool:
        return (await stores.bus.api("STREAM.INFO.TASK_QUEUES"))["state"]["messages"] == 0

    await eventually(drained, 20)

"""Server, engine and worker as processes of their own, and a driver that starts and awaits runs."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks import meter
from dagnats.model.codec import encode, raw
from dagnats.model.event import Event, EventType, StartPayload
from dagnats.model.times import format_time
from dagnats.model.workflow import StepDef, WorkflowDef
from dagnats.server.embedded import EmbeddedServer, free_port
from dagnats.server.guard import kernel_guard
from dagnats.server.natsconf import NatsSettings
from dagnats.wire import msgids, subjects
from dagnats.wire.connection import Bus, ConnectOptions, connect
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores
from dagnats.wire.topology import provision

TASK = "bench.nothing"
BIG = "bench.big"
WORKER_CONCURRENCY = 1000

RUN_TIMEOUT = 120.0
"""Seconds without any run ending after which a measurement is given up."""

_DONE = f'"type":"{EventType.WORKFLOW_COMPLETED.value}"'.encode()
_FAILED = f'"type":"{EventType.WORKFLOW_FAILED.value}"'.encode()


def step(step_id: str, *depends_on: str) -> StepDef:
    """A step that does nothing."""
    return StepDef(id=step_id, task=TASK, depends_on=list(depends_on))


def chain(length: int) -> WorkflowDef:
    """Steps one after the other."""
    steps = [step("s0")] + [step(f"s{n}", f"s{n - 1}") for n in range(1, length)]
    return WorkflowDef(name=f"bench-chain-{length}", version="1", steps=steps)


def fan(width: int) -> WorkflowDef:
    """One step, then ``width`` at once, then one that joins them."""
    middle = [step(f"m{n}", "first") for n in range(width)]
    last = step("last", *(made.id for made in middle))
    return WorkflowDef(name=f"bench-fan-{width}", version="1", steps=[step("first"), *middle, last])


def layers(count: int, width: int) -> WorkflowDef:
    """Layers of ``width`` steps, each depending on two of the layer before."""
    steps: list[StepDef] = []
    for layer in range(count):
        for place in range(width):
            above = {f"l{layer - 1}x{place}", f"l{layer - 1}x{(place + 1) % width}"}
            steps.append(step(f"l{layer}x{place}", *(sorted(above) if layer else ())))
    return WorkflowDef(name=f"bench-layers-{count}x{width}", version="1", steps=steps)


class Rig:
    """What is measured, and the driver that measures it."""

    def __init__(self, bus: Bus, pids: dict[str, int]) -> None:
        self.bus = bus
        self.url = bus.options.url
        self.pids = pids
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.stores = Stores(bus)
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._listening = self.stores.listen("history.*", self._heard)

    async def start(self) -> None:
        """Listen for the ends of runs."""
        await self._listening.start()

    def _heard(self, subject: str, data: bytes) -> None:
        head = data[:200]
        if _DONE in head or _FAILED in head:
            waiting = self._waiting.pop(subject.removeprefix("history."), None)
            if waiting is not None and not waiting.done():
                if _FAILED in head:
                    waiting.set_exception(RuntimeError(f"a benchmark run failed: {data!r:.400}"))
                else:
                    waiting.set_result(None)

    def prepare(self, workflow: WorkflowDef, **start: Any) -> tuple[str, Outgoing]:
        """A new run's id and the message that starts it; ``start`` goes into its payload."""
        run_id = secrets.token_hex(16)
        event = Event(
            type=EventType.WORKFLOW_STARTED.value,
            run_id=run_id,
            timestamp=format_time(time.time_ns()),
            payload=raw(StartPayload(workflow_def=raw(workflow), **start)),
        )
        out = Outgoing(subjects.history(run_id), encode(event), msgids.event(run_id, event.type))
        return run_id, out

    async def run(self, workflow: WorkflowDef, **start: Any) -> float:
        """Start a run, wait for its end.

        Returns:
            Seconds from the start's publish to the completion event.
        """
        run_id, message = self.prepare(workflow, **start)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[run_id] = done
        began = time.perf_counter()
        await self.stores.publisher.publish(message)
        await asyncio.wait_for(done, RUN_TIMEOUT)
        return time.perf_counter() - began

    async def many(self, workflow: WorkflowDef, total: int, concurrency: int) -> list[float]:
        """Run ``total`` runs, ``concurrency`` at a time; the seconds each took."""
        took: list[float] = []
        left = iter(range(total))

        async def lane() -> None:
            for _ in left:
                took.append(await self.run(workflow))  # noqa: PERF401 - lanes share the list

        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, total)):
                group.create_task(lane())
        return took

    def restart(self, role: str) -> None:
        """Kill a process and start it anew."""
        self.children[role].kill()
        self.children[role].wait(20)
        self.children[role] = child = _start(role, self.bus.options.url)
        self.pids[role] = child.pid

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time of each process so far."""
        return {name: meter.cpu(pid) for name, pid in self.pids.items()}

    def rss(self) -> dict[str, float]:
        """Memory of each process in MiB."""
        return {name: round(meter.rss(pid), 1) for name, pid in self.pids.items()}


@asynccontextmanager
async def rig(sync: str) -> AsyncIterator[Rig]:
    """Start everything, and end it.

    Args:
        sync: the server's ``sync_interval``: ``always`` or a duration.
    """
    children: dict[str, subprocess.Popen[bytes]] = {}
    with tempfile.TemporaryDirectory(prefix="dagnats-bench-") as folder:
        port = free_port()
        server = EmbeddedServer(NatsSettings(data_dir=Path(folder), port=port, sync=sync))
        await server.start()
        bus = await connect(ConnectOptions(url=server.url, name="benchmark driver"))
        try:
            await provision(bus)
            pids = {"server": server.pid, "driver": os.getpid()}
            for role in ("engine", "worker"):
                children[role] = child = _start(role, server.url)
                pids[role] = child.pid
            made = Rig(bus, pids)
            made.children = children
            await made.start()
            await made.many(chain(3), 20, 5)  # everything is connected and warm
            yield made
        finally:
            for child in children.values():
                child.terminate()
            for child in children.values():
                child.wait(20)
            await bus.close()
            await server.stop()


def _start(role: str, url: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.roles", role, url]
    return subprocess.Popen(command, preexec_fn=kernel_guard())  # noqa: PLW1509 - no threads

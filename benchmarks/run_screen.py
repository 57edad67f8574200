"""The console's screen of a large run: opening it, and stepping through its past.

``python -m benchmarks.run_screen`` plays a run of 1 000 steps with some 3 000 events on a private
server and opens it in a headless terminal of 120x36. It may take 200 ms to open, and 15 ms (median)
and 40 ms (p95) for an event back or forward (``tui.md`` 4.8). On a busy machine look at the
processor times: they say how much of it is ours.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from benchmarks.meter import quantile
from dagnats.model.workflow import StepDef, WorkflowDef
from dagnats.runtime.engine import Engine
from dagnats.server.embedded import EmbeddedServer, free_port
from dagnats.server.natsconf import NatsSettings
from dagnats.services.contexts import ConnectSettings
from dagnats.services.run_watch import wait_run
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from dagnats.services.workflows import register_definition
from dagnats.tui.app import Console
from dagnats.tui.feed.feed import Feed
from dagnats.tui.run.screen import RunScreen
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.stores import Stores
from dagnats.wire.topology import provision
from dagnats.worker.worker import Worker

SIZE = (120, 36)
OPENINGS = 5
TRAVELS = 100


def definition(steps: int) -> WorkflowDef:
    """Steps that wait for two of the forty before them, the same every time."""
    chance = random.Random(3)
    names = [f"s{at:04d}" for at in range(steps)]
    made = [
        StepDef(
            id=name,
            task="quick",
            depends_on=sorted({names[chance.randrange(max(0, at - 40), at)] for _ in range(2)})
            if at
            else [],
        )
        for at, name in enumerate(names)
    ]
    return WorkflowDef(name="large", version="1", steps=made)


@asynccontextmanager
async def played(steps: int) -> AsyncIterator[tuple[str, str]]:
    """A server on which such a run has completed: its address, and the run."""
    with tempfile.TemporaryDirectory(prefix="dagnats-bench-") as folder:
        settings = NatsSettings(data_dir=Path(folder), port=free_port(), sync="2m")
        server = EmbeddedServer(settings)
        await server.start()
        bus = await connect(ConnectOptions(url=server.url))
        await provision(bus)
        session = Session(bus, Stores(bus))
        engine = Engine(session.stores)
        task = asyncio.create_task(engine.run())
        await engine.ready()
        worker = Worker(server.url)

        @worker.task("quick")
        async def quick(job: object) -> dict[str, int]:
            del job
            return {"ok": 1}

        async with worker:
            await register_definition(session, definition(steps))
            run_id = (await start_run(session, "large", b"{}")).run_id
            await wait_run(session, run_id, 300)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        yield server.url, run_id
        await bus.close()
        await server.stop()


async def opened(url: str, run_id: str) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds to the first picture, on the wall and of the processor, and per travel."""
    walls: list[float] = []
    works: list[float] = []
    travels: list[float] = []
    for number in range(OPENINGS + 1):
        app = Console(Feed(ConnectSettings(server=url)), "home")
        async with app.run_test(size=SIZE) as pilot:
            await until(lambda app=app: app.view is not None and app.view.loaded)
            wall, work = time.perf_counter(), time.process_time()
            app.go(f"run {run_id}")
            await until(lambda app=app: painted(app))
            if number:  # The first imports the module.
                walls.append(1000 * (time.perf_counter() - wall))
                works.append(1000 * (time.process_time() - work))
            screen = cast("RunScreen", app.view)
            await until(lambda screen=screen: screen.loaded)
            await pilot.pause()
            if number == OPENINGS:
                travels = travelled(screen)
    return walls, works, travels


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    while not condition():  # noqa: ASYNC110 - what is waited for sets no event
        await asyncio.sleep(0.001)


def painted(app: Console) -> bool:
    """Whether the picture of a run stands."""
    return isinstance(app.view, RunScreen) and len(app.view.picture.texts()) > 5


def travelled(screen: RunScreen) -> list[float]:
    """Milliseconds of processor time per event back and forward, the picture included."""
    chance, found = random.Random(5), list[float]()
    screen.travel(screen.state.total // 2)
    for _ in range(TRAVELS):
        began = time.process_time()
        screen.state.step(chance.choice((-1, 1)))
        screen.refill()
        found.append(1000 * (time.process_time() - began))
    return found


async def measure(steps: int) -> None:
    """Play, open, travel, print."""
    async with played(steps) as (url, run_id):
        walls, works, travels = await opened(url, run_id)
    for name, values in (
        (f"open a run of {steps} steps", walls),
        ("  of it processor time", works),
        ("an event back or on, processor", travels),
    ):
        p50, p95 = quantile(values, 0.5), quantile(values, 0.95)
        print(f"{name:<32} p50 {p50:7.1f} ms   p95 {p95:7.1f} ms   max {max(values):7.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000)
    asyncio.run(measure(parser.parse_args().steps))

"""The processes of the benchmark: ``python -m benchmarks.roles engine|worker URL``."""

from __future__ import annotations

import logging
import sys

import uvloop

from benchmarks.rig import BIG, TASK, WORKER_CONCURRENCY


async def engine(url: str) -> None:
    """An engine and nothing else."""
    from dagnats.runtime.engine import Engine
    from dagnats.wire.connection import ConnectOptions, connect
    from dagnats.wire.stores import Stores

    bus = await connect(ConnectOptions(url=url, name="benchmark engine"))
    await Engine(Stores(bus)).run()


def worker(url: str) -> None:
    """A worker whose handler does nothing."""
    from dagnats.worker import Worker

    made = Worker(url, name="benchmark", concurrency=WORKER_CONCURRENCY)

    @made.task(TASK)
    async def nothing() -> None:
        return None

    @made.task(BIG)
    async def big() -> str:
        return "x" * 4096

    made.run()


if __name__ == "__main__":
    role, address = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    if role == "engine":
        uvloop.run(engine(address))
    else:
        worker(address)

"""A store as a busy year leaves it: runs, their histories, dead letters and log records.

``python -m benchmarks.large_store FOLDER`` writes one and leaves it there; with ``serve`` on it the
command line and the console can be tried at size. The snapshots and events are like those that the
engine writes, created when they are written, and published in batches; no engine runs.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Raw, Struct

from dagnats.model.codec import encode, raw
from dagnats.model.event import Event, EventType
from dagnats.model.records import LogRecord
from dagnats.model.run import StepState, WorkflowRun
from dagnats.model.times import MILLISECOND, format_time
from dagnats.model.workflow import StepDef, WorkflowDef
from dagnats.server.embedded import EmbeddedServer, free_port
from dagnats.server.natsconf import NatsSettings
from dagnats.wire import subjects
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores
from dagnats.wire.topology import provision

BATCH = 2_000
STEPS = ("fetch", "work", "store")
WORKFLOW = "load"
SEED = 1
TOOK = 10 * MILLISECOND
LIVE_EVERY = 50
"""One run of so many still runs."""


class Size(Struct, frozen=True, kw_only=True):
    """How much there is.

    Args:
        runs: how many; the newest was created last.
        dead: how many of them failed and left a dead letter.
        events: entries of all histories together.
        logs: log records.
    """

    runs: int = 100_000
    dead: int = 10_000
    events: int = 1_000_000
    logs: int = 100_000

    @property
    def events_each(self) -> int:
        """Entries of one run's history."""
        return max(2, self.events // self.runs)


class Made(Struct, frozen=True):
    """What is in the store, for whoever checks what is read from it: ids, oldest first."""

    ids: list[str]
    failed: list[str]
    live: list[str]


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[EmbeddedServer]:
    """A nats-server on a store, syncing now and then: nothing here needs more."""
    made = EmbeddedServer(NatsSettings(data_dir=folder / "nats", port=free_port(), sync="2m"))
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def fill(url: str, size: Size) -> Made:
    """Write everything into the store behind ``url``."""
    bus = await connect(ConnectOptions(url=url))
    try:
        await provision(bus)
        stores = Stores(bus)
        steps = [StepDef(id=name, task=f"load.{name}") for name in STEPS]
        definition = WorkflowDef(name=WORKFLOW, version="1", steps=steps)
        await stores.definitions.put(WORKFLOW, definition)
        made = plan(size)
        for messages in _batches(_messages(stores, size, made)):
            await bus.publisher.publish_all(messages)
        return made
    finally:
        await bus.close()


def plan(size: Size) -> Made:
    """The runs there will be: the same for the same size."""
    drawn = random.Random(SEED)
    ids = [f"{drawn.getrandbits(128):032x}" for _ in range(size.runs)]
    stride = max(1, size.runs // size.dead) if size.dead else size.runs + 1
    failed = ids[::stride][: size.dead]
    others = set(failed)
    live = [run_id for run_id in ids[1::LIVE_EVERY] if run_id not in others]
    return Made(ids, failed, live)


def _messages(stores: Stores, size: Size, made: Made) -> Iterator[Outgoing]:
    failed, live = set(made.failed), set(made.live)
    for run_id in made.ids:
        created = time.time_ns()
        status = "failed" if run_id in failed else "running" if run_id in live else "completed"
        yield from _history(run_id, created, size.events_each, status)
        yield stores.runs.message(f"run.{run_id}", _snapshot(run_id, created, status))
        if status == "failed":
            yield _dead_letter(run_id)
    for number in range(size.logs):
        yield _log(time.time_ns(), made.ids[number % len(made.ids)])


def _snapshot(run_id: str, created: int, status: str) -> WorkflowRun:
    ends = {"completed": "completed", "failed": "failed", "running": "queued"}
    states = {
        name: StepState(status="completed", attempts=1, output=b'{"done":true}') for name in STEPS
    }
    states[STEPS[-1]] = StepState(
        status=ends[status], attempts=1, error="no such luck" if status == "failed" else ""
    )
    return WorkflowRun(
        run_id=run_id,
        workflow_id=WORKFLOW,
        status=status,
        steps=states,
        input=Raw(b'{"customer":"c-1","items":[1,2,3]}'),
        created_at=format_time(created),
        completed_at="" if status == "running" else format_time(created + TOOK),
    )


def _history(run_id: str, created: int, count: int, status: str) -> Iterator[Outgoing]:
    kinds = [EventType.WORKFLOW_STARTED.value]
    kinds += [EventType.STEP_STARTED.value, EventType.STEP_COMPLETED.value] * (count // 2)
    last = {"failed": EventType.WORKFLOW_FAILED, "running": EventType.STEP_QUEUED}
    kinds[count - 1 :] = [last.get(status, EventType.WORKFLOW_COMPLETED).value]
    for place, kind in enumerate(kinds):
        event = Event(
            type=kind,
            run_id=run_id,
            step_id="" if kind.startswith("workflow.") else STEPS[place % len(STEPS)],
            timestamp=format_time(created + place * TOOK // count),
            payload=raw({"attempt": 1}),
        )
        yield Outgoing(subjects.history(run_id), encode(event))


def _dead_letter(run_id: str) -> Outgoing:
    headers = {
        "Dagnats-Dlq-Run-Id": run_id,
        "Dagnats-Dlq-Step-Id": STEPS[-1],
        "Dagnats-Dlq-Task": f"load.{STEPS[-1]}",
        "Dagnats-Dlq-Error": "no such luck",
        "Dagnats-Dlq-Attempts": "1",
        "Dagnats-Dlq-Delivery-Count": "1",
        "Dagnats-Dlq-Consumer": "TASK_QUEUES",
        "Dagnats-Dlq-Task-Subject": subjects.task(f"load.{STEPS[-1]}", run_id, ""),
    }
    return Outgoing(f"dead.load.{STEPS[-1]}", b'{"input":{}}', headers=headers)


def _log(at: int, run_id: str) -> Outgoing:
    record = LogRecord(
        timestamp=format_time(at),
        severity="info",
        body="step completed",
        attributes={"run_id": run_id, "step": STEPS[0]},
        service_name="engine",
    )
    return Outgoing(subjects.log("engine", "info"), encode(record))


def _batches(messages: Iterator[Outgoing]) -> Iterator[list[Outgoing]]:
    batch: list[Outgoing] = []
    for message in messages:
        batch.append(message)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _main(folder: Path, size: Size) -> None:
    began = time.perf_counter()
    async with server(folder) as made:
        await fill(made.url, size)
    total = size.runs * (size.events_each + 1) + size.dead + size.logs
    print(f"{total:,} messages in {time.perf_counter() - began:.1f} s: {folder}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=Size().runs)
    given = parser.parse_args()
    share = given.runs / Size().runs
    asyncio.run(
        _main(
            given.folder,
            Size(
                runs=given.runs,
                dead=int(Size().dead * share),
                events=int(Size().events * share),
                logs=int(Size().logs * share),
            ),
        )
    )

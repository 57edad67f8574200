"""A session on a real server, with or without an engine and a worker behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from dagnats.model.codec import encode
from dagnats.model.times import format_time
from dagnats.model.workflow import WorkflowDef
from dagnats.runtime.engine import Engine
from dagnats.server.embedded import EmbeddedServer
from dagnats.services.session import Session
from dagnats.services.workflows import register_definition
from dagnats.wire.stores import Stores
from dagnats.worker.worker import Worker

Register = Callable[..., Awaitable[WorkflowDef]]


@pytest.fixture
async def session(stores: Stores) -> Session:
    return Session(stores.bus, stores, actor="tester")


@pytest.fixture
async def engine(stores: Stores) -> AsyncIterator[Engine]:
    engine = Engine(stores)
    task = asyncio.create_task(engine.run())
    await asyncio.wait_for(engine.ready(), 10)
    yield engine
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def worker(nats_server: EmbeddedServer, session: Session) -> AsyncIterator[Worker]:
    worker = Worker(nats_server.url)

    @worker.task("t")
    async def echo(job: dict) -> dict:
        return {"got": job}

    @worker.task("bad")
    async def bad(job: dict) -> dict:
        if job.get("healed"):
            return {"healed": True}
        raise ValueError("no such luck")

    async with worker:
        yield worker


def definition_of(name: str, *steps: dict[str, Any], **more: Any) -> WorkflowDef:
    plain = {"name": name, "version": "1", "steps": list(steps), **more}
    return msgspec.json.decode(encode(plain), type=WorkflowDef)


def step(step_id: str, *parents: str, task: str = "t", **more: Any) -> dict[str, Any]:
    return {"id": step_id, "task": task, "depends_on": list(parents), "type": "normal", **more}


@pytest.fixture
async def workflow(session: Session) -> Register:
    async def make(name: str = "w", *steps: dict[str, Any], **more: Any) -> WorkflowDef:
        definition = definition_of(name, *(steps or (step("a"), step("b", "a"))), **more)
        await register_definition(session, definition)
        return definition

    return make


async def put_run(session: Session, run_id: str, created: int, **more: Any) -> None:
    """A snapshot as any server may have written it."""
    plain = {
        "run_id": run_id,
        "workflow_id": "w",
        "status": "completed",
        "steps": {},
        "created_at": format_time(created),
        **more,
    }
    bucket = session.stores.runs
    await session.bus.publisher.publish(
        msgspec.structs.replace(_message(bucket, run_id), data=encode(plain))
    )


def _message(bucket: Any, run_id: str) -> Any:
    from dagnats.model.run import WorkflowRun

    return bucket.message(f"run.{run_id}", WorkflowRun(run_id=run_id))

"""Programs that use workflows: client, engine and worker together, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

import dagnats
from dagnats import (
    Client,
    Continue,
    NonRetryableError,
    Retry,
    RetryAfter,
    RunEndedError,
    SyncClient,
    TaskContext,
    Worker,
    Workflow,
)
from dagnats.errors import DagnatsError, NotFoundError, UnreachableError, UsageError
from dagnats.runtime.engine import Engine
from dagnats.server.embedded import free_port
from dagnats.wire.stores import Stores
from tests.worker.helpers import eventually


@dataclass
class Job:
    n: int


@pytest.fixture
async def url(stores: Stores) -> AsyncIterator[str]:
    """A server with an engine at work."""
    engine = Engine(stores)
    running = asyncio.create_task(engine.run())
    await engine.ready()
    yield stores.bus.options.url
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_workflow_from_registration_to_typed_result(url: str) -> None:
    wf = Workflow("sum")
    double = wf.task("double", "double")
    square = wf.task("square", "square")
    wf.task("add", "add", after=[double, square])
    worker = Worker(url)

    @worker.task("double")
    async def do_double(job: Job) -> int:
        return job.n * 2

    @worker.task("square")
    def do_square(job: Job) -> int:
        return job.n**2

    @worker.task("add")
    async def do_add(parts: dict[str, int]) -> Job:
        return Job(parts["double"] + parts["square"])

    async with worker, Client(url) as client:
        registered = await client.register(wf)
        assert (registered.name, registered.action, registered.steps) == ("sum", "created", 3)
        run = await client.start(wf, Job(5))
        assert await run.result(10, kind=Job) == Job(35)
        assert await run.status() == "completed"
        assert await client.run(run.id).result() == {"n": 35}
        types = [event.type async for event in run.events()]
    assert types[0] == "workflow.started"
    assert types[-1] == "workflow.completed"


async def test_retries_loops_and_attempts_reach_the_handler(url: str) -> None:
    wf = Workflow("w")
    first = wf.task("first", "first", retry=Retry(3, "fixed", initial_delay=0.01))
    wf.agent_loop("loop", "loop", after=first, max_iterations=5)
    worker = Worker(url)
    attempts: list[tuple[int, str]] = []

    @worker.task("first")
    async def do_first(ctx: TaskContext) -> int:
        attempts.append((ctx.attempt, ctx.idempotency_key.partition("/")[2]))
        if ctx.attempt == 1:
            raise ValueError("boom")
        if ctx.attempt == 2:
            raise RetryAfter(0.1)
        return 0

    @worker.task("loop")
    async def do_loop(ctx: TaskContext, n: int) -> int | Continue:
        return Continue(n + 10) if ctx.iteration < 3 else n

    async with worker, Client(url) as client:
        await client.register(wf)
        run = await client.start("w")
        assert await run.result(10) == 30
    assert attempts == [(1, "first"), (2, "first"), (3, "first")]


async def test_a_run_that_fails_raises_with_the_reason(url: str) -> None:
    wf = Workflow("w")
    wf.task("a", "a", retry=Retry(5, initial_delay=60))
    worker = Worker(url)

    @worker.task("a")
    async def fail() -> None:
        raise NonRetryableError("card declined")

    async with worker, Client(url) as client:
        await client.register(wf)
        run = await client.start("w")
        with pytest.raises(RunEndedError, match=r"ended failed: .*card declined"):
            await run.result(10)


async def test_a_cancelled_run_stops_its_handler(url: str) -> None:
    wf = Workflow("w")
    wf.task("a", "a")
    worker = Worker(url)
    entered, cancelled = asyncio.Event(), asyncio.Event()

    @worker.task("a")
    async def wait() -> None:
        entered.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with worker, Client(url) as client:
        await client.register(wf)
        run = await client.start("w")
        await asyncio.wait_for(entered.wait(), 10)
        await run.cancel()
        await asyncio.wait_for(cancelled.wait(), 10)
        with pytest.raises(RunEndedError, match="ended cancelled"):
            await run.result(10)


async def test_signals_and_approvals(url: str) -> None:
    wf = Workflow("w")
    asked = wf.task("asks", "asks")
    wf.approval("boss", "ask.boss", within="1h", after=asked)
    worker = Worker(url)

    @worker.task("asks")
    async def asks(ctx: TaskContext) -> str:
        return await ctx.wait_for_signal("colour", timeout=10, kind=str)

    async with worker, Client(url) as client:
        await client.register(wf)
        run = await client.start("w")
        await run.signal("colour", "red")

        async def approved() -> bool:
            try:
                await run.approve("boss", {"by": "me"})
            except NotFoundError:
                return False
            return True

        await eventually(approved)
        assert await run.result(10) == {"by": "me"}
        assert (await run.snapshot()).steps["asks"].output == b'"red"'


async def test_a_plain_program_needs_no_event_loop(url: str) -> None:
    wf = Workflow("w")
    wf.task("a", "echo")
    worker = Worker(url)

    @worker.task("echo")
    def echo(value: object) -> object:
        return value

    def program() -> list[object]:
        with SyncClient(url) as client:
            client.register(wf)
            run = client.start("w", {"n": 1})
            seen: list[object] = [run.result(10), run.status()]
            for event in run.events():
                seen.append(event.type)
                break
            later = client.start("w", at=datetime.now(UTC) + timedelta(hours=1))
            later.cancel()
            client.publish_event("order.paid", {"id": 1})
            with pytest.raises(NotFoundError):
                client.start("missing")
            return seen

    async with worker:
        seen = await asyncio.to_thread(program)
    assert seen == [{"n": 1}, "completed", "workflow.started"]


async def test_mistakes_are_named(url: str) -> None:
    with pytest.raises(UsageError, match="not connected"):
        await Client(url).start("w")
    with pytest.raises(UnreachableError):
        await Client(f"nats://127.0.0.1:{free_port()}").connect()
    with pytest.raises(UnreachableError):
        SyncClient(f"nats://127.0.0.1:{free_port()}")
    async with Client(url) as client:
        with pytest.raises(UsageError, match="no time zone"):
            await client.start("w", at=datetime(2030, 1, 1))  # noqa: DTZ001
        with pytest.raises(UsageError, match="type object"):
            await client.start("w", object())
        wf = Workflow("slow")
        wf.task("a", "nobody")
        await client.register(wf)
        run = await client.start(wf)
        with pytest.raises(UnreachableError, match="did not end within"):
            await run.result(timeout=0.2)


def test_the_public_names_are_these() -> None:
    assert dagnats.__all__ == [
        "Client",
        "Continue",
        "DagnatsError",
        "NonRetryableError",
        "Pause",
        "Rate",
        "Retry",
        "RetryAfter",
        "RunEndedError",
        "SkipIf",
        "SyncClient",
        "SyncTaskContext",
        "TaskCancelled",
        "TaskContext",
        "When",
        "Worker",
        "Workflow",
        "__version__",
    ]
    for name in dagnats.__all__:
        assert getattr(dagnats, name)
    assert issubclass(dagnats.RunEndedError, DagnatsError)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = dagnats.Nonsense  # pyright: ignore[reportAttributeAccessIssue]

"""Workflows with real handlers in memory: whatever a handler can do, time included."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dagnats import (
    Continue,
    NonRetryableError,
    Pause,
    Retry,
    RetryAfter,
    RunEndedError,
    SyncTaskContext,
    TaskContext,
    When,
    Worker,
    Workflow,
)
from dagnats.errors import ConflictError, InvalidError, NotFoundError, UsageError
from dagnats.testing import Sandbox, run_workflow


@dataclasses.dataclass
class Order:
    id: int
    items: list[str]


def seconds(box: Sandbox) -> float:
    return box.elapsed.total_seconds()


async def test_typed_handlers_async_and_plain_pass_values_on() -> None:
    worker = Worker()

    @worker.task("load")
    async def load(ctx: TaskContext, id: int) -> Order:
        assert (ctx.step_id, ctx.attempt, ctx.workflow) == ("load", 1, "orders")
        return Order(id, ["a", "b"])

    @worker.task("pack")
    def pack(order: Order) -> str:
        return f"{order.id}:{len(order.items)}"

    wf = Workflow("orders")
    wf.task("pack", "pack", after=wf.task("load", "load"))
    async with Sandbox(worker) as box:
        run = await box.start(wf, 7)
        assert await run.result(kind=str) == "7:2"
        assert run.outputs == {"load": {"id": 7, "items": ["a", "b"]}, "pack": "7:2"}
        assert await run.status() == "completed"
        assert seconds(box) == 0


async def test_retries_jump_the_clock_and_end_in_a_dead_letter() -> None:
    worker, seen = Worker(), []

    @worker.task("flaky")
    async def flaky(ctx: TaskContext) -> None:
        seen.append(ctx.attempt)
        raise ValueError("no")

    wf = Workflow("w", retry=Retry(2, initial_delay=3600))
    wf.task("a", "flaky")
    async with Sandbox(worker) as box:
        run = await box.start(wf, {"n": 1})
        with pytest.raises(RunEndedError, match="ended failed: no"):
            await run.result()
        assert seen == [1, 2, 3]
        # Exponential, at most an hour a time (FAIL-4).
        assert box.elapsed == timedelta(hours=2)
        (letter,) = run.dead_letters
        assert (letter.step_id, letter.error, letter.attempts) == ("a", "no", 3)
        assert letter.input == {"n": 1}
        assert [event.type for event in run.history].count("step.failed") == 3


async def test_errors_say_whether_to_try_again() -> None:
    worker, tries = Worker(), []

    @worker.task("later")
    def later() -> None:
        tries.append(1)
        raise RetryAfter(30) if len(tries) == 1 else NonRetryableError("never")

    wf = Workflow("w", retry=Retry(9))
    wf.task("a", "later")
    async with Sandbox(worker) as box:
        run = await box.start(wf)
        await run.end()
        assert (run.state.error, len(tries), seconds(box)) == ("never", 2, 30)


async def test_a_handler_that_sleeps_lets_time_pass_and_meets_its_timeout() -> None:
    worker = Worker()

    @worker.task("slow")
    async def slow(ctx: TaskContext) -> str:
        await ctx.sleep(3600)
        return "done"

    @worker.task("plain")
    def plain(ctx: SyncTaskContext) -> str:
        ctx.sleep(60)
        return "plain"

    @worker.task("bounded", timeout=5)
    async def bounded(ctx: TaskContext) -> None:
        await ctx.sleep(10)

    wf = Workflow("w")
    wf.task("a", "slow")
    wf.task("b", "plain")
    async with Sandbox(worker) as box:
        run = await box.start(wf)
        assert await run.result() == {"a": "done", "b": "plain"}
        assert seconds(box) == 3600
    hasty = Workflow("hasty")
    hasty.task("a", "slow", timeout="10s")
    async with Sandbox(worker) as box:
        run = await box.start(hasty)
        await run.end()
        assert run.state.error == "step timeout exceeded (10s)"
    strict = Workflow("strict")
    strict.task("a", "bounded")
    async with Sandbox(worker) as box:
        run = await box.start(strict)
        await run.end()
        assert run.state.error == "handler timed out after 5 s"


async def test_a_workflow_timeout_ends_the_run_and_tells_the_handler() -> None:
    worker, ended = Worker(), []

    @worker.task("slow")
    async def slow(ctx: TaskContext) -> None:
        try:
            await ctx.sleep(10_000)
        except asyncio.CancelledError:
            ended.append(ctx.cancelled)
            raise

    wf = Workflow("w", timeout="1m")
    wf.task("a", "slow")
    async with Sandbox(worker) as box:
        run = await box.start(wf)
        await run.end()
        await box.settle()
        assert run.state.error == "workflow timeout exceeded (1m0s)"
        assert ended == [True]
        assert box.now == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)


async def test_loops_pauses_checkpoints_and_streams() -> None:
    worker = Worker()

    @worker.task("think")
    async def think(ctx: TaskContext, n: int) -> Continue | int:
        ctx.stream(f"at {n}")
        return n if n == 3 else Continue(n + 1)

    @worker.task("nap")
    async def nap(ctx: TaskContext) -> Pause | str:
        if await ctx.load_checkpoint() is None:
            await ctx.checkpoint("been here")
            return ctx.pause(60)
        return await ctx.load_checkpoint(str)

    wf = Workflow("w")
    loop = wf.agent_loop("loop", "think", max_iterations=5, loop_delay=10)
    wf.task("nap", "nap", after=loop)
    async with Sandbox(worker) as box:
        run = await box.start(wf, 1)
        assert await run.result() == "been here"
        assert run.steps["loop"].iterations == 2
        assert box.link.streamed[run.id, "loop"] == [b"at 1", b"at 2", b"at 3"]
        assert seconds(box) == 80


async def test_signals_are_taken_once_and_waits_for_them_end() -> None:
    worker = Worker()

    @worker.task("listen")
    async def listen(ctx: TaskContext) -> list[Any]:
        first = await ctx.wait_for_signal("go", 60)
        try:
            await ctx.wait_for_signal("go", 60)
        except TimeoutError:
            return [first, "no second one"]
        return []

    wf = Workflow("w")
    wf.task("a", "listen")
    async with Sandbox(worker) as box:
        run = await box.start(wf)
        await run.reached("a")
        await run.signal("go", 5)
        assert await run.result() == [5, "no second one"]
        assert seconds(box) == 60
        with pytest.raises(ConflictError):
            await run.signal("go")


async def test_events_approvals_and_children() -> None:
    worker = Worker()

    @worker.task("echo")
    async def echo(value: Any) -> Any:
        return value

    kid = Workflow("kid")
    kid.task("k", "echo")
    wf = Workflow("w")
    wait = wf.wait_for_event("paid", "order.paid", When("id", "==", "input.id"), within="1h")
    ask = wf.approval("ask", "ask.me", within="1h", after=wait)
    wf.sub_workflow("sub", kid, after=ask)
    async with Sandbox(worker) as box:
        await box.register(kid)
        run = await box.start(wf, {"id": 7})
        await run.reached("paid")
        assert await box.publish_event("order.paid", {"id": 8}) == 0
        assert await box.publish_event("order.paid", {"id": 7}) == 1
        await run.approve("ask", {"by": "me"})
        assert await run.result() == {"by": "me"}
        assert run.child("sub").state.parent_run_id == run.id
        assert len(box.runs) == 2
        run = await box.start(wf, {"id": 9})
        await box.sleep("59m")
        assert run.steps["paid"].status == "running"
        await box.sleep("2m")
        assert run.outputs["paid"] == {"timeout": True}
        await run.reject("ask", "no")
        await run.end()
        assert run.state.status == "failed"


async def test_overrides_and_replays_by_hand() -> None:
    worker, broken = Worker(), True

    @worker.task("t")
    async def t() -> str:
        if broken:
            raise NonRetryableError("broken")
        return "mended"

    wf = Workflow("w")
    wf.task("a", "t")
    async with Sandbox(worker) as box:
        run = await box.start(wf)
        await run.end()
        broken = False
        await run.replay("a")
        assert await run.result() == "mended"
        with pytest.raises(ConflictError):
            await run.replay("a")
        broken = True
        asked = Workflow("asked")
        asked.approval("ok", "ask.me", within="1h")
        run = await box.start(asked)
        await run.override("ok", "complete", "I know better", {"yes": True})
        assert await run.result() == {"yes": True}


async def test_the_workers_concurrency_holds() -> None:
    worker, most, now = Worker(), 0, 0

    @worker.task("t", concurrency=2)
    async def t(ctx: TaskContext) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await ctx.sleep(1)
        now -= 1

    wf = Workflow("w")
    for index in range(5):
        wf.task(f"s{index}", "t")
    async with Sandbox(worker) as box:
        run = await box.start(wf)
        await run.end()
        assert (most, seconds(box)) == (2, 3)


async def test_a_test_that_would_wait_for_ever_says_for_what() -> None:
    wf = Workflow("w")
    wf.wait_for_event("e", "go", When("a", "==", "input.a"), within="1d")
    async with Sandbox() as box:
        run = await box.start(wf, {"a": 1})
        with pytest.raises(AssertionError, match="the moon is never reached: run-1 is completed"):
            await box.until(lambda: False, "the moon")
        assert run.state.status == "completed"  # Its wait has timed out meanwhile.
    missing = Workflow("m")
    missing.task("a", "nobody")
    async with Sandbox() as box:
        run = await box.start(missing)
        with pytest.raises(UsageError, match="no handler for task 'nobody'"):
            await run.end()
    patient = Workflow("p")
    patient.task("a", "nobody", queue_timeout="1m")
    async with Sandbox() as box:
        run = await box.start(patient)
        await run.end()
        assert run.state.error == "queue timeout exceeded (1m0s)"


async def test_mistakes_are_refused() -> None:
    wf = Workflow("w", input_schema={"type": "object"})
    wf.task("a", "t")
    async with Sandbox() as box:
        with pytest.raises(NotFoundError):
            await box.start("unknown")
        with pytest.raises(InvalidError, match="input validation"):
            await box.start(wf, 5)
        with pytest.raises(InvalidError):
            await box.publish_event("no good", {})
        with pytest.raises(UsageError):
            Sandbox(begin=datetime(2026, 1, 1))  # noqa: DTZ001
        run = await box.start(wf, {})
        with pytest.raises(NotFoundError):
            await run.reached("unknown")
        with pytest.raises(NotFoundError):
            run.child("a")
        await run.cancel()
        assert await run.status() == "cancelled"


def test_plain_tests_need_no_event_loop() -> None:
    worker, fake = Worker(), Worker()

    @worker.task("t")
    def t(n: int) -> int:
        return n + 1

    wf = Workflow("w")
    wf.task("a", "t")
    run = run_workflow(wf, 1, worker)
    assert (run.state.status, run.outputs) == ("completed", {"a": 2})

    @fake.task("t")
    async def other() -> str:
        return "fake"

    assert run_workflow(wf, 1, worker, fake).outputs == {"a": "fake"}

"""A worker over time: how much at once, how long, stopped, cancelled, cut off, killed."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from dagnats.model.run import WorkflowRun
from dagnats.server.embedded import EmbeddedServer
from dagnats.wire import subjects
from dagnats.wire.puller import Puller
from dagnats.worker import SyncTaskContext, TaskCancelled, TaskContext
from tests.worker.helpers import Engine, eventually, run_id


class Gate:
    """Counts who is inside, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.inside = self.most = self.total = 0

    def enter(self) -> None:
        with self._lock:
            self.inside += 1
            self.total += 1
            self.most = max(self.most, self.inside)

    def leave(self) -> None:
        with self._lock:
            self.inside -= 1


@pytest.mark.parametrize("plain", [False, True])
async def test_no_more_than_allowed_run_at_once(engine: Engine, plain: bool) -> None:
    worker = engine.worker(concurrency=10)
    gate = Gate()

    async def slow() -> None:
        gate.enter()
        await asyncio.sleep(0.02)
        gate.leave()

    def slow_plain() -> None:
        gate.enter()
        time.sleep(0.02)
        gate.leave()

    worker.task("t", concurrency=3)(slow_plain if plain else slow)
    async with worker:
        runs = [await engine.send("t") for _ in range(20)]
        for run in runs:
            await engine.wait(run)
    assert (gate.most, gate.total) == (3, 20)


async def test_the_worker_as_a_whole_has_a_limit(engine: Engine) -> None:
    worker = engine.worker(concurrency=4)
    gate = Gate()

    async def slow() -> None:
        gate.enter()
        await asyncio.sleep(0.02)
        gate.leave()

    for name in ("a", "b", "c"):
        worker.task(name)(slow)
    async with worker:
        runs = [await engine.send(name) for name in "abc" * 6]
        for run in runs:
            await engine.wait(run)
    assert (gate.most, gate.total) == (4, 18)


async def test_only_what_can_run_is_pulled(engine: Engine) -> None:
    worker = engine.worker()
    release = asyncio.Event()

    @worker.task("t", concurrency=2)
    async def handler() -> None:
        await release.wait()

    async with worker:
        runs = [await engine.send("t") for _ in range(5)]

        async def two_pulled() -> bool:
            info = await engine.consumer("workers-t")
            return (info["num_ack_pending"], info["num_pending"]) == (2, 3)

        await eventually(two_pulled)
        release.set()
        for run in runs:
            await engine.wait(run)


async def test_a_long_task_is_kept_by_heartbeats(engine: Engine) -> None:
    worker, other = engine.worker(), engine.worker()
    calls = 0

    @worker.task("t", ack_wait=1)
    @other.task("t", ack_wait=1)
    async def handler() -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(2.6)

    async with worker, other:
        run = await engine.send("t")
        await engine.wait(run)
        await engine.drained()
        assert calls == 1
        assert len(await engine.events(run)) == 2


async def test_an_attempt_that_takes_too_long_fails(engine: Engine) -> None:
    worker = engine.worker()
    told: list[str] = []

    @worker.task("async", timeout=0.1)
    async def handler() -> None:
        await asyncio.sleep(60)

    @worker.task("plain", timeout=0.1)
    def plain(ctx: SyncTaskContext) -> None:
        try:
            ctx.sleep(60)
        except TaskCancelled:
            told.append("plain")

    @worker.task("own")
    async def own() -> None:
        raise TimeoutError("mine")

    async with worker:
        for task in ("async", "plain"):
            failure = await engine.failure(await engine.send(task))
            assert failure.error == "handler timed out after 0.1 s"
            assert failure.failure_type == "retriable"
        assert (await engine.failure(await engine.send("own"))).error == "mine"
    assert told == ["plain"]


async def test_a_recalled_run_cancels_its_handlers(engine: Engine) -> None:
    worker = engine.worker()
    ended: list[str] = []

    @worker.task("async")
    async def handler(ctx: TaskContext) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(f"async {ctx.cancelled}")
            raise

    @worker.task("plain")
    def plain(ctx: SyncTaskContext) -> str:
        while not ctx.cancelled:
            time.sleep(0.005)
        ended.append("plain")
        ctx.raise_if_cancelled()
        return "never"

    @worker.task("waiting")
    def waiting(ctx: SyncTaskContext) -> None:
        ctx.wait_for_signal("never")

    async with worker:
        tasks = ("async", "plain", "waiting")
        runs = [await engine.send(task, dispatch_nonce="0123abcd") for task in tasks]
        for run in runs:
            await engine.wait(run, 1)
        for run in runs:
            await engine.stores.bus.publish(subjects.cancelled(run), b"ffff 0123")
        await engine.drained()

        async def counted() -> bool:
            entry = await engine.stores.worker_status.get(worker.worker_id)
            return entry is not None and entry.value.cancelled_tasks_skipped == 3

        await eventually(counted)
    assert sorted(ended) == ["async True", "plain"]
    for run in runs:
        assert [event.type for event in await engine.events(run)] == ["step.started"]


async def test_a_recall_of_one_dispatch_leaves_the_others(engine: Engine) -> None:
    worker = engine.worker()
    go = asyncio.Event()

    @worker.task("t")
    async def handler(ctx: TaskContext) -> str:
        await go.wait()
        return ctx.step_id

    async with worker:
        run = run_id()
        for step in ("a", "b"):
            await engine.send("t", run=run, step_id=step, dispatch_nonce=f"0{step}23")
        await engine.wait(run, 2)
        await engine.stores.bus.publish(subjects.cancelled(run), b"0a")
        await asyncio.sleep(0.05)
        go.set()
        *_, last = await engine.wait(run, 3)
        await engine.drained()
    assert (last.type, last.step_id) == ("step.completed", "b")
    assert len(await engine.events(run)) == 3


async def test_a_redelivered_task_of_a_cancelled_run_is_skipped(engine: Engine) -> None:
    cancelled, running = run_id(), run_id()
    for run, status in ((cancelled, "cancelled"), (running, "running")):
        snapshot = WorkflowRun(run_id=run, workflow_id="w", status=status)
        await engine.stores.runs.put(f"run.{run}", snapshot)
    first = engine.worker()
    first.task("t")(lambda: None)
    async with first:
        pass
    for run in (cancelled, running):
        await engine.send("t", run=run)
    # Delivered once to somebody who hands both back.
    puller = Puller(engine.stores.bus, "TASK_QUEUES", "workers-t")
    await puller.start()
    deliveries = await puller.take()
    while len(deliveries) < 2:
        deliveries += await puller.take()
    await puller.stop()
    for delivery in deliveries:
        delivery.nak()
    worker = engine.worker()
    worker.task("t")(lambda: None)
    async with worker:
        await engine.wait(running)
        await engine.drained()
    assert await engine.events(cancelled) == []


async def test_stopping_lets_running_tasks_end(engine: Engine) -> None:
    worker = engine.worker()
    entered = asyncio.Event()

    @worker.task("t")
    async def handler() -> str:
        entered.set()
        await asyncio.sleep(0.3)
        return "done"

    serving = asyncio.create_task(worker.serve())
    run = await engine.send("t")
    await asyncio.wait_for(entered.wait(), 5)
    worker.stop()
    await asyncio.wait_for(serving, 5)
    assert [event.type for event in await engine.events(run)] == ["step.started", "step.completed"]
    await engine.drained()


async def test_what_does_not_end_in_time_goes_back_at_once(engine: Engine) -> None:
    worker = engine.worker(grace=0.1)
    entered = Gate()

    @worker.task("async")
    async def handler() -> None:
        entered.enter()
        await asyncio.sleep(60)

    @worker.task("plain")
    def plain(ctx: SyncTaskContext) -> None:
        entered.enter()
        ctx.sleep(60)

    serving = asyncio.create_task(worker.serve())
    runs = [await engine.send(task) for task in ("async", "plain")]
    await eventually(lambda: entered.inside == 2)
    worker.stop()
    await asyncio.wait_for(serving, 5)
    successor = engine.worker()
    successor.task("async")(lambda: "again")
    successor.task("plain")(lambda: "again")
    async with successor:
        for run in runs:
            events = await engine.wait(run)
            assert events[-1].type == "step.completed"
            assert bytes(events[-1].payload) == b'"again"'
        await engine.drained()


async def test_a_cancelled_worker_hands_its_tasks_back(engine: Engine) -> None:
    worker = engine.worker()
    entered = asyncio.Event()

    @worker.task("t")
    async def handler() -> None:
        entered.set()
        await asyncio.sleep(60)

    serving = asyncio.create_task(worker.serve())
    run = await engine.send("t")
    await asyncio.wait_for(entered.wait(), 5)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    successor = engine.worker()
    successor.task("t")(lambda: "again")
    async with successor:
        await engine.wait(run)


async def test_work_goes_on_after_a_restart_of_nats(
    engine: Engine, nats_server: EmbeddedServer
) -> None:
    worker = engine.worker()
    entered, release = asyncio.Event(), asyncio.Event()
    calls = 0

    @worker.task("t", ack_wait=2)
    async def handler() -> int:
        nonlocal calls
        calls += 1
        entered.set()
        await release.wait()
        return calls

    async with worker:
        before = await engine.send("t")
        await asyncio.wait_for(entered.wait(), 5)
        os.kill(nats_server.pid, signal.SIGKILL)
        await eventually(lambda: not engine.stores.bus.nc.is_connected)
        release.set()  # The handler ends while there is nobody to tell.
        await eventually(lambda: engine.stores.bus.nc.is_connected)
        assert bytes((await engine.result(before, timeout=20)).payload) == b"1"
        after = await engine.send("t")
        assert (await engine.result(after, timeout=20)).type == "step.completed"
        await engine.drained()
    assert calls == 2
    assert [event.type for event in await engine.events(before)] == [
        "step.started",
        "step.completed",
    ]


async def test_a_task_whose_acknowledgement_was_lost_is_not_run_again(engine: Engine) -> None:
    worker = engine.worker()
    calls = 0

    @worker.task("t", ack_wait=1)
    async def handler() -> None:
        nonlocal calls
        calls += 1

    async with worker:
        run = await engine.send("t")
        await engine.wait(run)
        await engine.drained()
        # Make the consumer forget what was acknowledged: the message is gone from the queue,
        # so play the redelivery with a limits stream's sticky consumer instead.
        sticky = subjects.sticky("t", worker.worker_id, "a" * 32)
        await engine.stores.bus.nc.jetstream().publish(
            sticky, b'{"task_id":"%s.s","run_id":"%s","step_id":"s"}' % (b"a" * 32, b"a" * 32)
        )
        await engine.wait("a" * 32)
        names = [row["name"] for row in await engine.stores.consumers("STICKY_TASKS")]
        await engine.stores.bus.api(f"CONSUMER.RESET.STICKY_TASKS.{names[0]}", {"seq": 1})

        async def acknowledged_again() -> bool:
            info = await engine.consumer(names[0], "STICKY_TASKS")
            return info["num_pending"] == 0 and info["num_ack_pending"] == 0

        await eventually(acknowledged_again)
    assert calls == 2
    assert len(await engine.events("a" * 32)) == 2


async def test_a_deleted_consumer_is_made_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagnats.worker.serving.REFRESH_S", 0.1)
    worker = engine.worker()
    worker.task("t")(lambda: None)
    async with worker:
        await engine.wait(await engine.send("t"))
        await engine.stores.bus.api("CONSUMER.DELETE.TASK_QUEUES.workers-t")
        await engine.wait(await engine.send("t"), timeout=15)


async def test_checkpoints_outlive_the_attempt(engine: Engine) -> None:
    worker = engine.worker()

    @worker.task("async")
    async def handler(ctx: TaskContext) -> object:
        before = await ctx.load_checkpoint()
        await ctx.checkpoint({"seen": ctx.attempt})
        return before

    @worker.task("plain")
    def plain(ctx: SyncTaskContext) -> list[str]:
        raw = ctx.load_checkpoint(bytes)
        ctx.checkpoint(b"\xff\x00")
        return [repr(raw)]

    async with worker:
        run = await engine.send("async", step_id="m.map.3")
        assert bytes((await engine.result(run)).payload) == b""
        await engine.send("async", run=run, step_id="m.map.3", attempt=2)
        assert bytes((await engine.wait(run, 4))[-1].payload) == b'{"seen":1}'
        run = await engine.send("plain")
        await engine.result(run)
        await engine.send("plain", run=run, attempt=2)
        assert bytes((await engine.wait(run, 4))[-1].payload) == b"[\"b'\\\\xff\\\\x00'\"]"


async def test_a_signal_is_consumed_by_the_wait_that_takes_it(engine: Engine) -> None:
    worker = engine.worker()

    @worker.task("async")
    async def handler(ctx: TaskContext) -> list[object]:
        first = await ctx.wait_for_signal("go", timeout=5)
        try:
            await ctx.wait_for_signal("go", timeout=0.1)
        except TimeoutError as error:
            return [first, str(error)]
        return [first]

    @worker.task("plain")
    def plain(ctx: SyncTaskContext) -> object:
        ctx.send_signal(ctx.run_id, "echo", {"n": 1})
        return ctx.wait_for_signal("echo", timeout=5, kind=dict[str, int])

    async with worker:
        run = await engine.send("async")
        await engine.wait(run, 1)
        await engine.stores.signals.put(f"{run}.go", b'"sent"')
        expected = b'["sent","signal \'go\' timed out after 0.1 s"]'
        assert bytes((await engine.result(run)).payload) == expected
        early = run_id()
        await engine.stores.signals.put(f"{early}.go", b"1")
        await engine.send("async", run=early)
        assert bytes((await engine.result(early)).payload).startswith(b"[1,")
        assert bytes((await engine.result(await engine.send("plain"))).payload) == b'{"n":1}'


async def test_output_can_be_streamed(engine: Engine) -> None:
    worker = engine.worker()
    limit = engine.stores.bus.max_payload

    @worker.task("async")
    async def handler(ctx: TaskContext) -> None:
        ctx.stream("part")
        ctx.stream({"n": 1})

    @worker.task("plain")
    def plain(ctx: SyncTaskContext) -> None:
        ctx.stream(b"x" * (limit + 1))

    run = run_id()
    heard: list[bytes] = []
    listening = engine.stores.listen(subjects.stream(run, "s"), lambda _, data: heard.append(data))
    await listening.start()
    async with worker:
        await engine.send("async", run=run)
        await eventually(lambda: len(heard) == 2)
        failure = await engine.failure(await engine.send("plain"))
    await listening.stop()
    assert heard == [b"part", b'{"n":1}']
    assert failure.error_type == "dagnats.errors.TooLargeError"


async def test_a_handler_that_blocks_the_loop_is_named(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    worker = engine.worker()

    @worker.task("t")
    async def handler() -> None:
        time.sleep(1.6)  # noqa: ASYNC251

    with caplog.at_level(logging.WARNING, "dagnats.worker"):
        async with worker:
            await engine.wait(await engine.send("t"))
    blocked = [record.getMessage() for record in caplog.records if "blocked" in record.message]
    assert len(blocked) == 1
    assert "test_running.py" in blocked[0]
    assert "in handler" in blocked[0]


SCRIPT = """
import sys, time
from dagnats import Worker
worker = Worker(sys.argv[1])

@worker.task("t", ack_wait=1)
def handler(seconds: float) -> str:
    open(sys.argv[2], "a").write("x")
    time.sleep(seconds)
    return "done"

worker.run()
"""


async def _spawn(engine: Engine, folder: Path) -> tuple[asyncio.subprocess.Process, Path]:
    script, marks = folder / "worker_script.py", folder / "marks"
    script.write_text(SCRIPT)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), engine.url, str(marks), stderr=asyncio.subprocess.PIPE
    )
    return process, marks


async def test_a_killed_worker_s_task_is_done_by_another(engine: Engine, tmp_path: Path) -> None:
    process, marks = await _spawn(engine, tmp_path)
    run = await engine.send("t", 60)
    await eventually(marks.exists)
    process.kill()
    await process.communicate()
    worker = engine.worker()
    worker.task("t")(lambda: "again")
    async with worker:
        events = await engine.wait(run, 3)
        await engine.drained()
    assert [event.type for event in events] == ["step.started", "step.started", "step.completed"]
    assert {event.attempt_number for event in events[:2]} == {1}


async def test_sigterm_drains_and_a_second_one_ends_at_once(engine: Engine, tmp_path: Path) -> None:
    process, marks = await _spawn(engine, tmp_path)
    run = await engine.send("t", 0.5)
    await eventually(marks.exists)
    process.terminate()
    await process.communicate()
    assert process.returncode == 0
    assert [event.type for event in await engine.events(run)] == ["step.started", "step.completed"]

    process, _ = await _spawn(engine, tmp_path)
    stuck = await engine.send("t", 60)
    await engine.wait(stuck, 1)
    process.terminate()
    await asyncio.sleep(0.2)
    process.terminate()
    await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 130


async def test_run_ends_with_a_message_when_there_is_no_server(tmp_path: Path) -> None:
    script = tmp_path / "worker_script.py"
    script.write_text(SCRIPT)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), "nats://127.0.0.1:9", "-", stderr=asyncio.subprocess.PIPE
    )
    _, text = await process.communicate()
    assert process.returncode == 1
    assert text.decode().startswith("Error: cannot connect to NATS at nats://127.0.0.1:9")
    assert "Hint: run 'dagnats serve'" in text.decode()

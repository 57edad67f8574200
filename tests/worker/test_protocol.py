"""What a worker says on the wire (``wire.md`` 4.2, 6)."""

from __future__ import annotations

import json

import pytest

from dagnats.errors import ConflictError, NotFoundError, UnreachableError, UsageError
from dagnats.model.codec import encode
from dagnats.server.embedded import free_port
from dagnats.wire import subjects
from dagnats.wire.publisher import Outgoing
from dagnats.worker import Continue, NonRetryableError, Pause, RetryAfter, TaskContext, Worker
from tests.worker.helpers import Engine, eventually


async def test_a_result_completes_the_step(engine: Engine) -> None:
    worker = engine.worker()

    @worker.task("img.resize")
    async def resize(given: dict[str, int]) -> dict[str, int]:
        return {"twice": given["n"] * 2}

    async with worker:
        run = await engine.send("img.resize", {"n": 21})
        started, completed = await engine.wait(run)
        await engine.drained()
    assert started.type == "step.started"
    assert started.worker_id == worker.worker_id
    assert started.attempt_number == 1
    assert completed.type == "step.completed"
    assert completed.step_id == "s"
    assert bytes(completed.payload) == b'{"twice":42}'
    assert completed.worker_id == worker.worker_id
    assert completed.attempt_number == 0


async def test_a_retry_is_answered_with_its_number(engine: Engine) -> None:
    worker = engine.worker()
    seen: list[int] = []

    @worker.task("t")
    async def handler(ctx: TaskContext) -> None:
        seen.append(ctx.attempt)

    async with worker:
        run = await engine.send("t", attempt=3)
        started, completed = await engine.wait(run)
    assert (started.attempt_number, completed.attempt_number) == (3, 3)
    assert seen == [3]


async def test_message_ids_are_those_of_the_protocol(engine: Engine) -> None:
    worker = engine.worker()

    @worker.task("t")
    async def handler() -> int:
        return 1

    async with worker:
        run = await engine.send("t", attempt=2)
        await engine.wait(run)
        js = engine.stores.bus.nc.jetstream()
        last = await js.get_last_msg("WORKFLOW_HISTORY", subjects.history(run))
        assert last.seq is not None
        first = await js.get_msg("WORKFLOW_HISTORY", last.seq - 1)
    assert (first.headers or {})["Nats-Msg-Id"] == f"{run}.s.step.started.2"
    assert (last.headers or {})["Nats-Msg-Id"] == f"{run}.s.step.completed.2"


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ValueError("boom"), "retriable", "boom"),
        (NonRetryableError("never"), "non_retriable", "never"),
        (RetryAfter(1.5, "later"), "retry_after", "later"),
        (KeyError(), "retriable", "KeyError"),
        (KeyError("count"), "retriable", "KeyError: 'count'"),
    ],
)
async def test_an_exception_fails_the_attempt(
    engine: Engine, error: Exception, kind: str, text: str
) -> None:
    worker = engine.worker()

    @worker.task("t")
    async def handler() -> None:
        raise error

    async with worker:
        failure = await engine.failure(await engine.send("t"))
    assert (failure.error, failure.failure_type) == (text, kind)
    assert failure.error_type.endswith(type(error).__name__)
    assert "raise error" in failure.traceback
    assert failure.retry_after_ms == (1500 if kind == "retry_after" else 0)


async def test_continue_asks_for_the_next_iteration(engine: Engine) -> None:
    worker = engine.worker()

    @worker.task("loop")
    async def handler(ctx: TaskContext, n: int) -> int | Continue:
        return Continue(n + 1) if ctx.iteration < 1 else n

    async with worker:
        first = await engine.send("loop", 5)
        later = await engine.send("loop", 6, iteration=1, attempt=2)
        asked, done = await engine.result(first), await engine.result(later)
    assert (asked.type, bytes(asked.payload), asked.attempt_number) == ("step.continue", b"6", 0)
    assert (done.type, bytes(done.payload), done.attempt_number) == ("step.completed", b"6", 2)


async def test_a_pause_brings_the_same_task_again(engine: Engine) -> None:
    worker = engine.worker()
    calls = 0

    @worker.task("t")
    async def handler(ctx: TaskContext) -> int | Pause:
        nonlocal calls
        calls += 1
        if calls == 1:
            ctx.pause(0.05)
            return ctx.pause(0.1)
        return ctx.attempt

    async with worker:
        run = await engine.send("t")
        completed = await engine.result(run)
        await engine.drained()
    assert calls == 2
    assert bytes(completed.payload) == b"1"
    begun = [event for event in await engine.events(run) if event.type == "step.started"]
    assert [event.attempt_number for event in begun] == [1, 1]


async def test_the_consumer_is_the_one_all_workers_make(engine: Engine) -> None:
    worker = engine.worker()
    worker.task("img.resize")(lambda: None)
    worker.task("img.crop", group="gpu", ack_wait=7)(lambda: None)
    async with worker:
        plain = (await engine.consumer("workers-img-resize"))["config"]
        grouped = (await engine.consumer("workers-img-crop-gpu"))["config"]
        run = await engine.send("img.crop", group="gpu")
        await engine.wait(run)
    assert plain["durable_name"] == "workers-img-resize"
    assert plain["filter_subject"] == "task.img.resize.>"
    assert "filter_subjects" not in plain
    assert plain["ack_policy"] == "explicit"
    assert plain["deliver_policy"] == "all"
    assert plain["ack_wait"] == 300_000_000_000
    assert plain["max_deliver"] == -1
    assert grouped["filter_subject"] == "task.img.crop.gpu.>"
    assert grouped["ack_wait"] == 7_000_000_000


async def test_an_existing_consumer_is_adopted_as_it_is(engine: Engine) -> None:
    config = {
        "durable_name": "workers-t",
        "name": "workers-t",
        "filter_subject": "task.t.>",
        "ack_policy": "explicit",
        "ack_wait": 45_000_000_000,
    }
    body = {"stream_name": "TASK_QUEUES", "config": config}
    await engine.stores.bus.api("CONSUMER.CREATE.TASK_QUEUES.workers-t.task.t.>", body)
    worker = engine.worker()
    worker.task("t")(lambda: None)
    async with worker:
        await engine.wait(await engine.send("t"))
        assert (await engine.consumer("workers-t"))["config"]["ack_wait"] == 45_000_000_000


async def test_a_stray_ephemeral_consumer_is_removed(engine: Engine) -> None:
    config = {"filter_subject": "task.t.>", "ack_policy": "explicit", "name": "stray"}
    body = {"stream_name": "TASK_QUEUES", "config": config}
    await engine.stores.bus.api("CONSUMER.CREATE.TASK_QUEUES.stray.task.t.>", body)
    worker = engine.worker()
    worker.task("t")(lambda: None)
    async with worker:
        await engine.wait(await engine.send("t"))
        with pytest.raises(NotFoundError):
            await engine.consumer("stray")


async def test_a_consumer_of_another_task_type_is_an_error_not_a_theft(engine: Engine) -> None:
    first, second = engine.worker(), engine.worker()
    first.task("a.b")(lambda: None)
    second.task("a-b")(lambda: None)
    async with first:
        with pytest.raises(ConflictError, match=r"workers-a-b exists and filters task\.a\.b"):
            await second.serve()


async def test_overlapping_task_types_are_an_error(engine: Engine) -> None:
    first, second = engine.worker(), engine.worker()
    first.task("a")(lambda: None)
    second.task("a.b")(lambda: None)
    async with first:
        with pytest.raises(ConflictError, match=r"task 'a\.b'"):
            await second.serve()


def test_two_handlers_of_one_queue_are_refused() -> None:
    worker = Worker()
    worker.task("a.b")(lambda: None)
    with pytest.raises(UsageError, match="share the consumer workers-a-b"):
        worker.task("a-b")(lambda: None)


async def test_a_worker_without_handlers_or_server_says_so() -> None:
    with pytest.raises(UsageError, match="no handlers"):
        await Worker().serve()
    worker = Worker(f"nats://127.0.0.1:{free_port()}")
    worker.task("t")(lambda: None)
    with pytest.raises(UnreachableError):
        await worker.serve()


async def test_garbage_in_the_queue_is_dropped(engine: Engine) -> None:
    worker = engine.worker()

    @worker.task("t")
    async def handler() -> None: ...

    async with worker:
        for body in (b"", b"{", b"[]", b'{"run_id":""}', b'{"task_id":7}', b"\xff"):
            await engine.stores.publisher.publish(Outgoing("task.t.x", body))
        await engine.wait(await engine.send("t"))
        await engine.drained()


async def test_a_sticky_task_comes_to_its_worker(engine: Engine) -> None:
    worker = engine.worker()

    @worker.task("t")
    async def handler(n: int) -> int:
        return n

    async with worker:
        run = "ab" * 16
        body = json.dumps({"task_id": f"{run}.s", "run_id": run, "step_id": "s", "input": 7})
        subject = subjects.sticky("t", worker.worker_id, run)
        await engine.stores.publisher.publish(Outgoing(subject, body.encode()))
        assert bytes((await engine.result(run)).payload) == b"7"
        listed = await engine.stores.consumers("STICKY_TASKS")
        assert [row["config"]["filter_subject"] for row in listed] == [
            f"sticky.t.{worker.worker_id}.>"
        ]
    assert await engine.stores.consumers("STICKY_TASKS") == []


async def test_the_directory_knows_the_worker_while_it_serves(engine: Engine) -> None:
    worker = engine.worker(name="thumbs", concurrency=7)
    worker.task("a")(lambda: None)
    worker.task("b")(lambda: None)

    async def entry() -> object:
        return await engine.stores.workers.get(worker.worker_id)

    async with worker:
        await eventually(entry)
        found = await engine.stores.workers.get(worker.worker_id)
        assert found is not None
        assert found.value.task_types == ["a", "b"]
        assert (found.value.language, found.value.transport) == ("python", "nats")
        assert found.value.max_tasks == 7
        assert found.value.pid > 0
        assert found.value.metadata == {"name": "thumbs"}
    assert await entry() is None


async def test_a_trigger_envelope_can_be_unwrapped(engine: Engine) -> None:
    worker = engine.worker()

    @worker.task("t", unwrap_trigger=True)
    async def handler(value: object) -> object:
        return value

    envelope = {"trigger": "http", "source": "x", "workflow_id": "w", "data": {"n": 1}}
    async with worker:
        wrapped = await engine.result(await engine.send("t", envelope))
        plain = await engine.result(await engine.send("t", {"trigger": "", "data": 1}))
    assert bytes(wrapped.payload) == b'{"n":1}'
    assert bytes(plain.payload) == encode({"data": 1, "trigger": ""})


async def test_trace_context_is_passed_on(engine: Engine) -> None:
    worker = engine.worker()
    worker.task("t")(lambda: None)
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    async with worker:
        events = await engine.wait(await engine.send("t", traceparent=trace))
    # Both name the worker's own span, which belongs to the trace of the task.
    contexts = {event.trace_parent for event in events}
    assert len(events) == 2
    assert [context[:36] for context in contexts] == [trace[:36]]
    assert trace not in contexts

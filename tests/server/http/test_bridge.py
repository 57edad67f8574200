"""The worker bridge: tasks over HTTP, on a real server and engine."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from dagnats.model.times import SECOND
from dagnats.services.session import Session
from tests.conftest import eventually
from tests.server.http.client import Answer, Client, read_head
from tests.server.http.conftest import Serve
from tests.services.conftest import Register, step

pytestmark = pytest.mark.usefixtures("engine")

Task = dict[str, Any]


async def poll(api: Client, *types: str, wait_ms: int = 5000, **more: Any) -> list[Task]:
    body = {"task_types": list(types), "timeout_ms": wait_ms, **more}
    answer = await api.post("/v1/tasks/poll", body)
    assert answer.status == 200, answer.body
    return answer.json


async def say(api: Client, task: Task, action: str, **more: Any) -> Answer:
    return await api.post(f"/v1/tasks/{task['task_id']}/resolve", {"action": action, **more})


async def start(api: Client, name: str, given: Any = None) -> str:
    return (await api.post("/runs", {"workflow": name, "input": given})).json["run_id"]


async def status(api: Client, run_id: str, *wanted: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def there() -> bool:
        found.update((await api.get(f"/runs/{run_id}")).json)
        return found.get("status") in wanted

    await eventually(there)
    return found


async def outputs(api: Client, run_id: str) -> Any:
    await status(api, run_id, "completed")
    return (await api.get(f"/runs/{run_id}/outputs")).json["outputs"]


async def test_a_run_is_carried_by_http_alone(api: Client, workflow: Register) -> None:
    await workflow("w", step("a", task="x"), step("b", "a", task="y"))
    run_id = await start(api, "w", {"n": 1})
    [first] = await poll(api, "x", "y", worker_id="http-1")
    assert (first["run_id"], first["step_id"], first["attempt"]) == (run_id, "a", 1)
    assert first["input"] == {"n": 1}
    assert first["task_id"].startswith(f"{run_id}.a")
    assert first["task_type"] == "x"
    done = await say(api, first, "complete", output={"m": 2})
    assert (done.status, done.body) == (200, b"")
    [second] = await poll(api, "x", "y")
    assert second["input"] == {"m": 2}
    await say(api, second, "complete", output=[3])
    assert await outputs(api, run_id) == {"b": [3]}
    events = (await api.get(f"/runs/{run_id}/events?type=step.started")).json
    assert events[0]["worker_id"] == "http-1"


async def test_all_types_are_waited_for_at_once(api: Client, workflow: Register) -> None:
    await workflow("late", step("a", task="third"))
    began = time.monotonic()
    waiting = asyncio.create_task(poll(api, "first", "second", "third", wait_ms=20_000))
    await asyncio.sleep(0.2)
    await start(api, "late", {})
    [task] = await waiting
    assert task["task_type"] == "third"
    assert time.monotonic() - began < 3
    began = time.monotonic()
    assert await poll(api, "first", "second", wait_ms=300) == []
    assert 0.25 < time.monotonic() - began < 1.5


async def test_many_at_once_and_none_twice(api: Client, workflow: Register) -> None:
    await workflow("one", step("a", task="x"))
    many = {"workflow_id": "one", "inputs": [{"i": i} for i in range(60)]}
    ids = (await api.post("/runs/bulk", many)).json["run_ids"]
    seen: list[str] = []

    async def work() -> None:
        while tasks := await poll(api, "y", "x", max_tasks=7, wait_ms=700):
            assert len(tasks) <= 7
            seen.extend(task["run_id"] for task in tasks)
            for task in tasks:
                await say(api, task, "complete", output=task["input"])

    await asyncio.gather(*(work() for _ in range(6)))
    assert sorted(seen) == sorted(ids)
    await status(api, ids[-1], "completed")


async def test_failures_of_every_kind(api: Client, workflow: Register) -> None:
    retry = {"max_attempts": 1, "strategy": "fixed", "initial_delay": 1_000_000}
    await workflow("f", step("a", task="x", retry=retry))
    run_id = await start(api, "f", {})
    [task] = await poll(api, "x")
    await say(api, task, "checkpoint", data={"at": 7})
    await say(api, task, "fail", error="no luck")
    [again] = await poll(api, "x")
    assert (again["attempt"], again["checkpoint"]) == (2, {"at": 7})
    assert again["task_id"] != task["task_id"]
    # The first attempt is over: what its worker says now changes nothing.
    await say(api, task, "complete", output="late")
    await say(api, again, "fail", error="for good", failure_type="non_retriable")
    run = await status(api, run_id, "failed")
    assert run["steps"]["a"]["error"].endswith("for good")
    assert (await say(api, again, "fail", failure_type="sideways")).status == 400
    later = await start(api, "f", {})
    [task] = await poll(api, "x")
    await say(api, task, "fail", error="busy", failure_type="retry_after", retry_after_ms=150)
    [task] = await poll(api, "x")
    assert (task["run_id"], task["attempt"]) == (later, 2)
    await say(api, task, "complete")
    await status(api, later, "completed")


async def test_a_long_task_lives_as_long_as_its_heartbeats(
    serve: Serve, workflow: Register
) -> None:
    api = await serve(bridge_ack_wait=SECOND)
    await workflow("long", step("a", task="x"))
    run_id = await start(api, "long", {})
    [task] = await poll(api, "x")
    assert task["heartbeat_ms"] == 500
    for _ in range(12):  # far beyond the ack wait, and beyond any number of them
        assert (await say(api, task, "heartbeat")).status == 200
        assert await poll(api, "x", wait_ms=300) == []
    await say(api, task, "complete", output="at last")
    assert await outputs(api, run_id) == {"a": "at last"}


async def test_a_worker_that_died_loses_its_task_to_another(
    serve: Serve, workflow: Register
) -> None:
    api = await serve(bridge_ack_wait=SECOND)
    await workflow("w", step("a", task="x"))
    run_id = await start(api, "w", {})
    [lost] = await poll(api, "x")
    [task] = await poll(api, "x", wait_ms=5000)
    assert (task["run_id"], task["attempt"]) == (run_id, 1)
    await say(api, task, "complete", output="second")
    await say(api, lost, "complete", output="first")  # it was only slow
    assert await outputs(api, run_id) == {"a": "second"}


async def test_a_restart_loses_nothing_and_doubles_nothing(
    serve: Serve, workflow: Register
) -> None:
    """Two servers on one NATS stand for one before and one after its restart."""
    before, after = await serve(bridge_ack_wait=SECOND), await serve(bridge_ack_wait=SECOND)
    await workflow("w", step("a", task="x"), step("b", "a", task="y"))
    run_id = await start(before, "w", {})
    [task] = await poll(before, "x")
    assert (await say(after, task, "heartbeat")).status == 200
    for server in (after, before, after):  # an answer that got lost is asked for again
        assert (await say(server, task, "complete", output=1)).status == 200
    [follow] = await poll(after, "x", "y")
    assert follow["step_id"] == "b"
    assert await poll(before, "x", wait_ms=1500) == []  # its ack wait passes
    await status(after, run_id, "running")


async def test_a_result_without_its_acknowledgement_is_not_handed_out_again(
    serve: Serve, workflow: Register, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await serve(bridge_ack_wait=SECOND)
    await workflow("w", step("a", task="x"))
    run_id = await start(api, "w", {})
    [task] = await poll(api, "x")
    with monkeypatch.context() as patch:
        patch.setattr(session.bus, "publish_soon", lambda subject, data: None)
        await say(api, task, "complete", output=1)  # the server dies before it acknowledges
    await status(api, run_id, "completed")
    assert await poll(api, "x", wait_ms=2000) == []


async def test_cancelled_runs_are_not_handed_out(api: Client, workflow: Register) -> None:
    await workflow("w", step("a", task="x"))
    cancelled, wanted = await start(api, "w", {}), await start(api, "w", {})
    assert (await api.post(f"/runs/{cancelled}/cancel")).status == 200
    tasks = await poll(api, "x", max_tasks=5)
    assert [task["run_id"] for task in tasks] == [wanted]
    assert (await say(api, tasks[0], "heartbeat")).body == b""
    await api.post(f"/runs/{wanted}/cancel")
    assert (await say(api, tasks[0], "heartbeat")).json == {"cancelled": True}
    assert (await say(api, tasks[0], "complete", output=1)).status == 200
    assert await poll(api, "x", wait_ms=200) == []


async def test_a_pause_brings_the_task_back_with_its_checkpoint(
    api: Client, workflow: Register
) -> None:
    await workflow("w", step("a", task="x"))
    run_id = await start(api, "w", {})
    [task] = await poll(api, "x")
    assert (await say(api, task, "pause", duration_ms=0)).status == 400
    assert (await say(api, task, "pause", duration_ms=3_600_001)).status == 400
    await say(api, task, "pause", duration_ms=300, checkpoint={"page": 2})
    assert await poll(api, "x", wait_ms=100) == []
    [task] = await poll(api, "x")
    assert (task["attempt"], task["checkpoint"]) == (1, {"page": 2})
    await say(api, task, "complete")
    await status(api, run_id, "completed")


async def test_a_loop_goes_on(api: Client, workflow: Register) -> None:
    loop = {"id": "a", "task": "x", "type": "agent_loop", "depends_on": []}
    await workflow("l", loop | {"config": {"max_iterations": 5}})
    run_id = await start(api, "l", {"n": 0})
    for n in range(3):
        [task] = await poll(api, "x")
        assert (task.get("iteration", 0), task["input"]) == (n, {"n": n})
        for _ in range(2):
            await say(api, task, "continue", output={"n": n + 1})
    [task] = await poll(api, "x")
    await say(api, task, "complete", output="done")
    assert await outputs(api, run_id) == {"a": "done"}


async def test_signals_and_streams(serve: Serve, workflow: Register, session: Session) -> None:
    api = await serve(bridge_ack_wait=SECOND)
    await workflow("w", step("a", task="x"))
    run_id = await start(api, "w", {})
    [task] = await poll(api, "x")
    heard = await session.bus.nc.subscribe(f"stream.{run_id}.a")
    await say(api, task, "stream", data={"token": "hi"})
    assert (await heard.next_msg(timeout=5)).data == b'{"token": "hi"}'
    assert (await say(api, task, "wait_signal", name="go", timeout_ms=200)).status == 408
    waiting = asyncio.create_task(say(api, task, "wait_signal", name="go", timeout_ms=9000))
    assert await poll(api, "x", wait_ms=1500) == []  # waiting keeps the task alive
    assert (await say(api, task, "send_signal", run_id=run_id, name="go", data=[1])).status == 200
    answer = await waiting
    assert (answer.json, answer.headers["content-type"]) == ([1], "application/json")
    assert (await say(api, task, "send_signal", name="go")).status == 400
    assert (await say(api, task, "send_signal", run_id="nobody", name="go")).status == 404


async def test_a_worker_is_listed_while_it_is_connected(api: Client) -> None:
    async with api.raw() as (reader, writer):
        body = json.dumps({"worker_id": "w-1", "task_types": ["x"], "max_tasks": 0}).encode()
        writer.write(
            b"POST /v1/workers/connect HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        code, headers = await read_head(reader)
        assert (code, headers["cache-control"]) == (200, "no-cache")
        assert headers["content-type"].startswith("text/event-stream")
        [worker] = (await api.get("/workers")).json
        assert (worker["transport"], worker["language"], worker["max_tasks"]) == (
            "bridge",
            "http",
            1,
        )

    async def gone() -> bool:
        return (await api.get("/workers")).json == []

    await eventually(gone)


async def test_a_caller_that_left_keeps_no_task(api: Client, workflow: Register) -> None:
    await workflow("w", step("a", task="x"))
    body = json.dumps({"task_types": ["x"], "timeout_ms": 20_000}).encode()
    for _ in range(5):
        async with api.raw() as (_, writer):
            writer.write(
                b"POST /v1/tasks/poll HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body)
            )
            await asyncio.sleep(0.05)
    run_id = await start(api, "w", {})
    [task] = await poll(api, "x", wait_ms=4000)
    assert task["run_id"] == run_id


async def test_polls_that_make_no_sense(api: Client) -> None:
    cases: list[tuple[Any, str]] = [
        ({}, "task_types is required"),
        ({"task_types": [""]}, "task_types entries must not be empty"),
        ({"task_types": ["x" * 129]}, "task type exceeds 128 bytes"),
        ({"task_types": [".x"]}, "must not start or end with '.'"),
        ({"task_types": ["a..b"]}, "empty subject token"),
        ({"task_types": ["a*"]}, "illegal character '*'"),
        ({"task_types": ["a.>"]}, "illegal character '>'"),
        ({"task_types": ["a b"]}, "illegal character ' '"),
        ({"task_types": ["x"], "worker_id": "a b"}, "worker_id"),
    ]
    for body, text in cases:
        answer = await api.post("/v1/tasks/poll", body)
        assert answer.status == 400
        assert text in answer.json["detail"]


async def test_resolutions_that_make_no_sense(api: Client, workflow: Register) -> None:
    await workflow("w", step("a", task="x"))
    run_id = await start(api, "w", {})
    [task] = await poll(api, "x")
    assert (await say(api, task, "")).json["detail"] == "action is required"
    assert (await say(api, task, "explode")).status == 400
    assert (await say(api, task, "complete", surprise=1)).status == 400
    assert (await api.post(f"/v1/tasks/{task['task_id']}/resolve", b"{")).status == 400
    forged = task["task_id"][:-4] + "AAAA"
    for wrong in (forged, f"{run_id}.a", "x", "~", "a~!!", "a~" + "A" * 5000):
        answer = await api.post(f"/v1/tasks/{wrong}/resolve", {"action": "complete"})
        assert answer.status == 404, wrong
    huge = await say(api, task, "complete", output="x" * 8_386_000)
    assert huge.status == 413
    run = await status(api, run_id, "failed")
    assert "exceeds the server's limit" in run["steps"]["a"]["error"]


async def test_its_own_token(serve: Serve) -> None:
    api = await serve(api_token="a-token", bridge_token="b-token")
    for token, expected in (("", 401), ("a-token", 401), ("b-token", 200)):
        worker = Client(api.host, api.port, token)
        answer = await worker.post("/v1/tasks/poll", {"task_types": ["x"], "timeout_ms": 1})
        assert answer.status == expected
    assert (await Client(api.host, api.port, "b-token").get("/runs")).status == 401

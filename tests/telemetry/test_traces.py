"""Spans, log records and metrics from the start of a run to its end, on a real server."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from dagnats.model.codec import encode
from dagnats.model.event import Event
from dagnats.model.run import is_terminal
from dagnats.model.trigger import SubjectTrigger, TriggerDef
from dagnats.model.workflow import WorkflowDef
from dagnats.runtime.engine import Engine
from dagnats.runtime.telemetry import exporter
from dagnats.runtime.telemetry.exporter import Telemetry
from dagnats.runtime.triggers.service import TriggerService
from dagnats.server.embedded import EmbeddedServer
from dagnats.services.run_trace import SpanRow, run_trace, trees
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from dagnats.services.workflows import register_definition
from dagnats.telemetry import spans
from dagnats.telemetry.metrics import METRICS
from dagnats.telemetry.spans import TRACER
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores
from dagnats.worker.context import TaskContext
from dagnats.worker.worker import Worker
from tests.conftest import eventually

PARENT = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"


def definition(*steps: dict[str, Any], name: str = "w") -> WorkflowDef:
    plain = {"name": name, "version": "1", "steps": list(steps)}
    return msgspec.json.decode(encode(plain), type=WorkflowDef)


FLOW = definition(
    {"id": "a", "task": "t", "retry": {"max_attempts": 2, "initial_delay": 1_000_000}},
    {"id": "nap", "type": "sleep", "config": {"duration": 1_000_000}, "depends_on": ["a"]},
)


@pytest.fixture
async def session(stores: Stores) -> AsyncIterator[Session]:
    """A server's engine and telemetry."""
    session = Session(stores.bus, stores, actor="tester")
    telemetry = Telemetry(stores)
    telemetry.start()
    engine = Engine(stores)
    task = asyncio.create_task(engine.run())
    await asyncio.wait_for(engine.ready(), 10)
    await register_definition(session, FLOW)
    yield session
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await telemetry.stop()


@pytest.fixture
async def worker(nats_server: EmbeddedServer) -> AsyncIterator[Worker]:
    worker = Worker(nats_server.url)

    @worker.task("t")
    async def work(ctx: TaskContext) -> str:
        logging.getLogger("myapp").warning("at work", extra={"about": {"color": "blue"}})
        ctx.log.info("noted")
        if ctx.attempt == 1:
            raise ValueError("not yet")
        return "done"

    async with worker:
        yield worker


async def finished(session: Session, run_id: str) -> None:
    async def over() -> bool:
        entry = await session.stores.runs.get(f"run.{run_id}")
        return entry is not None and is_terminal(entry.value.status)

    await eventually(over)


async def traced(session: Session, run_id: str, names: set[str]) -> list[SpanRow]:
    rows: list[SpanRow] = []

    async def there() -> bool:
        rows[:] = await run_trace(session, run_id)
        return {row.name for row in rows} >= names

    await eventually(there)
    return rows


NAMES = {"workflow w", "enqueueTask t", "executeTask t", "sleep nap"}


async def test_a_retried_run_is_one_trace_from_start_to_end(
    session: Session, worker: Worker
) -> None:
    run_id = (await start_run(session, "w")).run_id
    await finished(session, run_id)
    rows = await traced(session, run_id, NAMES)
    assert {row.trace_id for row in rows} == {run_id}
    (branches,) = trees(rows).values()
    shape = [("  " * (len(b.last) - 1) + b.row.name, b.row.status) for b in branches]
    assert shape == [
        ("workflow w", "ok"),
        ("  enqueueTask t", "unset"),
        ("    executeTask t", "error"),
        ("  enqueueTask t", "unset"),
        ("    executeTask t", "unset"),
        ("  sleep nap", "ok"),
    ]
    first, second = (row for row in rows if row.name == "executeTask t")
    assert first.message == "not yet"
    assert first.service == "worker"
    assert first.attributes.items() >= {"run_id": run_id, "step_id": "a", "attempt": 1}.items()
    assert second.attributes["attempt"] == 2
    stored = await session.stores.history.read(run_id)
    of_worker = [s.event for s in stored if s.event.worker_id]
    assert {event.trace_parent[3:35] for event in of_worker} == {run_id}


@pytest.mark.parametrize("where", ["body", "header"])
async def test_the_trace_of_whoever_starts_the_run_goes_on(
    session: Session, worker: Worker, where: str
) -> None:
    run_id = "12" * 16
    payload = {"workflow_def": FLOW}
    event = Event(type="workflow.started", run_id=run_id, payload=msgspec.Raw(encode(payload)))
    headers = {"traceparent": PARENT} if where == "header" else {}
    event.trace_parent = PARENT if where == "body" else "nonsense"
    message = Outgoing(f"history.{run_id}", encode(event), f"{run_id}.start", headers)
    await session.stores.publisher.publish(message)
    rows = await traced(session, run_id, NAMES)
    assert {row.trace_id for row in rows} == {"ab" * 16}
    root = next(row for row in rows if row.name == "workflow w")
    assert root.parent_span_id == "cd" * 8


async def test_a_run_belongs_to_the_request_that_starts_it(
    session: Session, worker: Worker
) -> None:
    with TRACER.span("dagnats.api POST /runs", "server", PARENT):
        run_id = (await start_run(session, "w")).run_id
    rows = await traced(session, run_id, {*NAMES, "dagnats.api POST /runs"})
    (branches,) = trees(rows).values()
    assert [branch.row.name for branch in branches][:2] == ["dagnats.api POST /runs", "workflow w"]
    assert branches[0].row.parent_span_id == "cd" * 8
    stored = await session.stores.history.read(run_id)
    assert stored[0].event.trace_parent[3:35] == "ab" * 16


async def test_a_trigger_hands_on_the_trace_of_its_message(
    session: Session, worker: Worker
) -> None:
    trigger = TriggerDef(
        id="t", workflow_id="w", enabled=True, subject=SubjectTrigger(subject="event.x")
    )
    await session.stores.triggers.put("t", trigger)
    service = TriggerService(session.stores)
    await service.start()
    js = session.bus.nc.jetstream()
    await js.publish("event.x", b"{}", headers={"traceparent": PARENT})
    await js.publish("event.x", b"{}")
    rows: list[SpanRow] = []

    async def both() -> bool:
        rows.clear()
        for entry in await session.stores.runs.keys():
            rows.extend(await run_trace(session, entry.removeprefix("run.")))
        return [row.name for row in rows].count("workflow w") == 2

    await eventually(both)
    await service.stop()
    fires = [row for row in rows if row.name == "trigger.fire"]
    roots = [row for row in rows if row.name == "workflow w"]
    assert {row.parent_span_id for row in fires} == {"cd" * 8, ""}
    assert {row.parent_span_id for row in roots} == {row.span_id for row in fires}
    assert len({row.trace_id for row in rows}) == 2


async def test_a_run_that_is_not_sampled_costs_nothing(
    session: Session, worker: Worker, monkeypatch
) -> None:
    monkeypatch.setattr(spans.TRACER, "_tokens", 0.0)
    monkeypatch.setattr(spans, "TRACES_PER_SECOND", 0.0)
    run_id = (await start_run(session, "w")).run_id
    await finished(session, run_id)
    await asyncio.sleep(0.1)
    assert await run_trace(session, run_id) == []
    entry = await session.stores.runs.get(f"run.{run_id}")
    assert entry is not None
    assert entry.value.trace_parent == ""


async def telemetry(stores: Stores, subject: str) -> list[dict[str, Any]]:
    return [json.loads(body) async for _, _, body in stores.read_since("TELEMETRY", subject, 0)]


async def test_what_handlers_log_names_their_run_and_step(session: Session, worker: Worker) -> None:
    run_id = (await start_run(session, "w")).run_id
    await finished(session, run_id)
    found: list[dict[str, Any]] = []

    async def logged() -> bool:
        found[:] = await telemetry(session.stores, "telemetry.logs.worker.>")
        return {"at work", "noted"} <= {record["body"] for record in found}

    await eventually(logged)
    at_work = next(record for record in found if record["body"] == "at work")
    wanted = {"run_id": run_id, "step_id": "a", "task": "t", "color": "blue", "logger": "myapp"}
    assert at_work["attributes"].items() >= wanted.items()
    assert (at_work["severity"], at_work["traceId"]) == ("WARN", run_id)
    assert len(at_work["spanId"]) == 16
    failed = [record for record in found if "failed at attempt" in record["body"]]
    assert {record["attributes"]["run_id"] for record in failed} == {run_id}


async def test_metrics_are_counted_and_sent(session: Session, worker: Worker, monkeypatch) -> None:
    monkeypatch.setattr(exporter, "METRICS_S", 0.1)
    sent = Telemetry(session.stores, "probe")
    sent.start()

    def value(name: str, *labels: str) -> float:
        metric: Any = METRICS.counter(name, "")
        return metric.values.get(labels, 0)

    before = value("workflow.runs.completed", "w"), value("step.enqueue.count")
    retries = METRICS.counter("step.retries", "").values.get(("t",), 0)
    run_id = (await start_run(session, "w")).run_id
    await finished(session, run_id)
    assert value("workflow.runs.completed", "w") == before[0] + 1
    assert value("step.enqueue.count") == before[1] + 2
    assert METRICS.counter("step.retries", "").values[("t",)] == retries + 1
    assert METRICS.gauge("worker.tasks.active", "").values[("t",)] == 0
    found: dict[str, dict[str, Any]] = {}

    async def published() -> bool:
        for record in await telemetry(session.stores, "telemetry.metrics.probe.>"):
            found[record["name"]] = record
        done = found.get("workflow.runs.completed", {"data": {"DataPoints": []}})
        points = done["data"]["DataPoints"]
        return any(point["Value"] == before[0] + 1 for point in points)

    await eventually(published)
    await sent.stop()
    record = found["workflow.runs.completed"]
    assert record["serviceName"] == "probe"
    assert record["data"]["Temporality"] == "CumulativeTemporality"
    assert record["data"]["IsMonotonic"]
    attribute = {"Key": "workflow", "Value": {"Type": "STRING", "Value": "w"}}
    assert [attribute] in [point["Attributes"] for point in record["data"]["DataPoints"]]
    spread = found["step.duration_ms"]["data"]["DataPoints"][0]
    assert sum(spread["BucketCounts"]) == spread["Count"] > 0
    assert len(spread["BucketCounts"]) == len(spread["Bounds"]) + 1


async def test_a_span_on_the_wire_is_what_other_readers_take(
    session: Session, worker: Worker
) -> None:
    run_id = (await start_run(session, "w")).run_id
    await finished(session, run_id)
    await traced(session, run_id, NAMES)
    bodies = await telemetry(session.stores, f"telemetry.spans.*.{run_id}")
    known = {
        *("traceId", "spanId", "parentSpanId", "name", "kind", "attributes", "status"),
        *("startTimeUnixNano", "endTimeUnixNano"),
    }
    for body in bodies:
        assert body.keys() <= known
        assert body["startTimeUnixNano"].isdigit()
        assert body["kind"].startswith("SPAN_KIND_")
    execute = next(body for body in bodies if body["name"] == "executeTask t")
    assert len(execute["traceId"]) == 24
    assert {"key": "run_id", "value": {"stringValue": run_id}} in execute["attributes"]

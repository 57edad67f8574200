"""What the engine tells about itself: spans of the runs that are traced, and counts of everything.

A run belongs to the trace of whoever started it; one that nobody traces may be given a trace of its
own (see :class:`dagnats.telemetry.spans.Tracer`). Ids of spans follow from what they stand for, so
an engine that repeats work after a crash tells the same again.
"""

from __future__ import annotations

import hashlib
import re

from dagnats.engine.effects import BuryTask, Dispatch, Effect
from dagnats.engine.flow import Flow
from dagnats.engine.run import Run
from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.event import Event, EventType
from dagnats.model.run import StepState, WorkflowRun, is_terminal
from dagnats.model.spans import ERROR, OK, RUN_ID, STEP_ID, Span, Value
from dagnats.model.task import FailureType, StepFailedPayload
from dagnats.model.times import read_time
from dagnats.model.trigger import TriggerEnvelope, TriggerFire
from dagnats.model.workflow import TASK_TYPES, StepDef
from dagnats.runtime.triggers.firing import fire_message
from dagnats.telemetry.context import (
    TRACEPARENT,
    clean_traceparent,
    make_traceparent,
    span_id_of,
    trace_id_of,
)
from dagnats.telemetry.metrics import METRICS
from dagnats.telemetry.spans import TRACER
from dagnats.wire.publisher import Outgoing
from dagnats.wire.puller import Delivery
from dagnats.wire.subjects import is_key

MAX_TASK_SPANS = 500
"""Tasks of one run that are traced; the run of a large map is no longer readable anyway."""

_HEX32 = re.compile(r"(?!0{32})[0-9a-f]{32}")

_COMPLETED = METRICS.counter("workflow.runs.completed", "Runs that completed.", ("workflow",))
_FAILED = METRICS.counter("workflow.runs.failed", "Runs that failed.", ("workflow",))
_CANCELLED = METRICS.counter("workflow.runs.cancelled", "Runs that were cancelled.", ("workflow",))
_ENQUEUED = METRICS.counter("step.enqueue.count", "Tasks handed to workers.")
_PERMANENT = METRICS.counter("step.failure.non_retriable", "Failures that forbid a retry.")
_LATER = METRICS.counter("step.failure.retry_after", "Failures that name the time of the retry.")
_DEAD = METRICS.counter("dlq_entries_total", "Dead letters written.", ("reason", "workflow"))
_ACQUIRED = METRICS.counter("task.concurrency.acquired", "Slots of task types that were taken.")
_REJECTED = METRICS.counter("task.concurrency.rejected", "Tasks that had to wait for a slot.")
_SAVED = METRICS.histogram("snapshot.save.duration_ms", "How long storing a batch took.")

OWN_KINDS = frozenset({"cron", "manual", "subject", "webhook", "http"})
"""Kinds of triggers that servers fire, and record."""

_ENDED = {"completed": _COMPLETED, "cancelled": _CANCELLED}


def span_of_run(run_id: str) -> str:
    """The id of the span that stands for a run."""
    return _digest("run", run_id)


def _digest(*parts: object) -> str:
    return hashlib.sha256(".".join(map(str, parts)).encode()).hexdigest()[:16]


class Observer:
    """Watches one engine at work."""

    def __init__(self) -> None:
        self._tasks: dict[str, int] = {}
        self._slots = (0, 0)

    def arrives(self, event: Event, delivery: Delivery) -> None:
        """A run is about to begin: whose trace it belongs to, or that it is given one."""
        if event.type != EventType.WORKFLOW_STARTED:
            return
        header = delivery.header(TRACEPARENT) if delivery.headers else ""
        parent = clean_traceparent(header) or clean_traceparent(event.trace_parent)
        if not parent and TRACER.samples():
            run_id = event.run_id
            trace = run_id if _HEX32.fullmatch(run_id) else _digest(run_id) + _digest(0, run_id)
            parent = make_traceparent(trace, span_of_run(run_id))
        event.trace_parent = parent

    def applied(self, run: Run, event: Event, before: str) -> list[Outgoing]:
        """An event was applied to a run that had the status ``before``; what is to be recorded."""
        if event.type == EventType.STEP_FAILED:
            _count_failure(event)
        snapshot = run.snapshot
        records = [] if before else _fires(event)
        if snapshot.status != before and is_terminal(snapshot.status):
            self._ended(run)
        return records

    def _ended(self, run: Run) -> None:
        snapshot = run.snapshot
        _ENDED.get(snapshot.status, _FAILED).add(1, snapshot.workflow_id)
        self._tasks.pop(snapshot.run_id, None)
        if TRACER.follows(snapshot.trace_parent):
            _emit_run(run)

    def asked(self, effect: Effect) -> None:
        """The machine wants something done."""
        if isinstance(effect, Dispatch):
            _ENQUEUED.add()
            if TRACER.follows(effect.payload.traceparent):
                self._trace_task(effect)
        elif isinstance(effect, BuryTask):
            reason = "start" if effect.task == "workflow" else "step"
            _DEAD.add(1, reason, effect.payload.workflow_name)

    def saved(self, seconds: float, flow: Flow) -> None:
        """A batch was stored; what ``flow`` has counted meanwhile is taken over."""
        _SAVED.observe(seconds * 1000)
        before, self._slots = self._slots, (flow.acquired, flow.rejected)
        _ACQUIRED.add(flow.acquired - before[0])
        _REJECTED.add(flow.rejected - before[1])

    def _trace_task(self, effect: Dispatch) -> None:
        payload = effect.payload
        count = self._tasks[payload.run_id] = self._tasks.get(payload.run_id, 0) + 1
        if count > MAX_TASK_SPANS:
            payload.traceparent = payload.traceparent[:-2] + "00"
            return
        trace = trace_id_of(payload.traceparent)
        span_id = _digest("task", effect.msg_id)
        about: dict[str, Value] = {
            RUN_ID: payload.run_id,
            STEP_ID: payload.step_id,
            "task_name": effect.task,
            "workflow_name": payload.workflow_name,
            "attempt": payload.attempt or 1,
        }
        now = TRACER.now()
        TRACER.emit(
            Span(
                trace_id=trace,
                span_id=span_id,
                parent_id=span_of_run(payload.run_id),
                name=f"enqueueTask {effect.task}",
                kind="client",
                start_ns=now,
                end_ns=now,
                attributes=about,
            )
        )
        payload.traceparent = make_traceparent(trace, span_id)


def _fires(event: Event) -> list[Outgoing]:
    """The row of history of a trigger whose kind a worker contributed: it starts runs itself."""
    payload = bytes(event.payload)
    if b'"trigger"' not in payload[:64]:
        return []
    try:
        envelope = decode(payload, TriggerEnvelope)
    except InvalidError:
        return []
    if not envelope.trigger or envelope.trigger in OWN_KINDS or not is_key(envelope.source):
        return []
    fire = TriggerFire(
        trigger_id=envelope.source,
        workflow_id=envelope.workflow_id,
        run_id=event.run_id,
        source=envelope.trigger,
        fired_at=event.timestamp,
    )
    return [fire_message(fire, f"trigger.{envelope.source}.{event.run_id}")]


def _count_failure(event: Event) -> None:
    try:
        kind = decode(bytes(event.payload) or b"{}", StepFailedPayload).failure_type
    except InvalidError:
        return
    if kind == FailureType.NON_RETRIABLE:
        _PERMANENT.add()
    elif kind == FailureType.RETRY_AFTER:
        _LATER.add()


def _emit_run(run: Run) -> None:
    snapshot = run.snapshot
    TRACER.emit(_run_span(snapshot))
    for step_id, state in snapshot.steps.items():
        step = run.plan.steps.get(step_id)
        # Tasks have spans of their own, from their workers.
        if step is not None and step.type not in TASK_TYPES:
            span = _step_span(snapshot, step, state)
            if span is not None:
                TRACER.emit(span)


def _run_span(snapshot: WorkflowRun) -> Span:
    own, parent = span_of_run(snapshot.run_id), span_id_of(snapshot.trace_parent)
    began = read_time(snapshot.created_at) or 0
    about: dict[str, Value] = {
        RUN_ID: snapshot.run_id,
        "workflow_name": snapshot.workflow_id,
        "status": snapshot.status,
    }
    return Span(
        trace_id=trace_id_of(snapshot.trace_parent),
        span_id=own,
        parent_id="" if parent == own else parent,
        name=f"workflow {snapshot.workflow_id}",
        kind="server",
        start_ns=began,
        end_ns=read_time(snapshot.completed_at) or began,
        attributes=about,
        status=OK if snapshot.status == "completed" else ERROR,
        message=snapshot.error[:1000],
    )


def _step_span(snapshot: WorkflowRun, step: StepDef, state: StepState) -> Span | None:
    began = read_time(state.started_at) or read_time(state.queued_at)
    ended = read_time(state.finished_at)
    if began is None or ended is None:
        return None
    about: dict[str, Value] = {
        RUN_ID: snapshot.run_id,
        STEP_ID: step.id,
        "workflow_name": snapshot.workflow_id,
        "status": state.status,
    }
    return Span(
        trace_id=trace_id_of(snapshot.trace_parent),
        span_id=_digest("step", snapshot.run_id, step.id),
        parent_id=span_of_run(snapshot.run_id),
        name=f"{step.type} {step.id}",
        start_ns=began,
        end_ns=max(began, ended),
        attributes=about,
        status=ERROR if state.status == "failed" else OK,
        message=state.error[:1000],
    )

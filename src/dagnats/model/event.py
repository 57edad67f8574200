"""Events of a run's history (``wire.md`` 5)."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Raw

from dagnats.model.codec import ABSENT, Wire, always
from dagnats.model.times import ZERO_TIME


class EventType(StrEnum):
    """What happened. The last group is ours; other readers ignore what they do not know."""

    WORKFLOW_STARTED = "workflow.started"
    WORKFLOW_COMPLETED = "workflow.completed"
    WORKFLOW_FAILED = "workflow.failed"
    WORKFLOW_CANCELLED = "workflow.cancelled"
    WORKFLOW_SPAWN = "workflow.spawn"
    CHILD_COMPLETED = "workflow.child.completed"
    CHILD_FAILED = "workflow.child.failed"

    STEP_QUEUED = "step.queued"
    STEP_STARTED = "step.started"
    STEP_COMPLETED = "step.completed"
    STEP_FAILED = "step.failed"
    STEP_CONTINUE = "step.continue"
    STEP_CANCELLED = "step.cancelled"

    SLEEP_STARTED = "step.sleep.started"
    SLEEP_COMPLETED = "step.sleep.completed"
    WAIT_STARTED = "step.wait.started"
    WAIT_MATCHED = "step.wait.matched"
    WAIT_TIMEOUT = "step.wait.timeout"
    MAP_STARTED = "step.map.started"
    MAP_COMPLETED = "step.map.completed"
    MAP_INSTANCE_COMPLETED = "step.map.instance.completed"
    LOOP_ITERATION = "agent.loop.iteration"
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_GRANTED = "approval.granted"
    APPROVAL_REJECTED = "approval.rejected"
    APPROVAL_EXPIRED = "approval.expired"
    PLANNER_MATERIALIZED = "planner.materialized"
    COMPENSATE_STARTED = "compensate.started"
    COMPENSATE_STEP_COMPLETED = "compensate.step.completed"
    COMPENSATE_FAILED = "compensate.failed"
    COMPENSATE_COMPLETED = "compensate.completed"

    WORKFLOW_TIMEOUT = "workflow.timeout"
    """The run's deadline has passed (a timer's event)."""
    WORKFLOW_OVERFLOW = "workflow.overflow"
    """The run's snapshot is larger than a message of the server."""
    WORKFLOW_WAITING = "workflow.waiting"
    """No run slot is free: the run is pending until it is admitted, cancelled or ended by hand."""
    WORKFLOW_ADMITTED = "workflow.admitted"
    """A pending run was given its run slot."""
    WORKFLOW_REOPENED = "workflow.reopened"
    """A failed run goes on at a step: a dead letter was replayed."""
    STEP_DISPATCH = "step.dispatch"
    """A retry is due, or a slot or token is free: dispatch the step."""
    STEP_TIMEOUT = "step.timeout"
    """The attempt in flight has run, or waited in its queue, for too long (a timer's event)."""
    STEP_OVERRIDE = "step.override"
    """An operator completed, failed, skipped, retried or cancelled a step by hand."""


class Event(Wire):
    """One entry of a run's history, stored on ``history.{run_id}``."""

    type: str
    run_id: str
    step_id: str = ""
    timestamp: str = always(ZERO_TIME)
    payload: Raw = ABSENT
    trace_parent: str = ""
    trace_state: str = ""
    worker_id: str = ""
    attempt_number: int = 0


class SpawnPayload(Wire):
    """Payload of ``workflow.spawn``, on the parent's history."""

    child_run_id: str = always("")
    child_workflow: str = always("")
    detach: bool = always(False)
    input: Raw = ABSENT
    parent_step_id: str = always("")


class ChildPayload(Wire):
    """Payload of ``workflow.child.completed`` and ``.failed``, on the parent's history.

    ``output`` is ours: the outputs of the child's terminal steps.
    """

    child_run_id: str = always("")
    error: str = always("")
    parent_step_id: str = always("")
    output: Raw = ABSENT


class ApprovalRequest(Wire):
    """Payload of ``approval.requested``, and the message on the approval's own subject."""

    token: str = always("")
    run_id: str = always("")
    step_id: str = always("")
    subject: str = always("")
    description: str = ""
    metadata: dict[str, str] | None = None
    expires_at: str = always(ZERO_TIME)


class FailureContext(Wire):
    """Input of an ``on_failure`` step."""

    failed_step: str = always("")
    error: str = always("")


class CompensationContext(Wire):
    """Input of a ``compensate`` step."""

    original_step: str = always("")
    original_output: Raw = Raw(b"null")
    trigger_step: str = always("")
    trigger_error: str = always("")


class EndPayload(Wire):
    """Payload we add to terminal workflow events: why the run ended."""

    status: str = ""
    error: str = ""
    step_id: str = ""


class DispatchPayload(Wire):
    """Payload of ``step.dispatch``: what the dispatch had waited for; empty for a retry."""

    gate: str = ""


class StartPayload(Wire):
    """Payload of ``workflow.started``, first accepted shape (``wire.md`` 5.3).

    The keys after ``input`` are ours and optional.
    """

    workflow_def: Raw = ABSENT
    input: Raw = ABSENT
    parent_run_id: str = ""
    parent_step_id: str = ""
    root_run_id: str = ""
    depth: int = 0
    detached: bool = False
    origin_run_id: str = ""
    reuse: dict[str, Raw] = {}
    """Recorded outputs of steps that a rerun does not repeat."""


class ReopenPayload(Wire):
    """Payload of ``workflow.reopened``: which dead letter is replayed, and with what input."""

    dead_letter: int = 0
    input: Raw = ABSENT


class OverridePayload(Wire):
    """Payload of ``step.override``: what an operator did to a step, and why."""

    action: str = always("")
    """``complete``, ``fail``, ``skip``, ``retry`` or ``cancel``."""
    reason: str = always("")
    actor: str = ""
    output: Raw = ABSENT

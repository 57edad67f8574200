"""Tasks and what workers answer (``wire.md`` 6)."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Raw

from dagnats.model.codec import ABSENT, Wire, always


class FailureType(StrEnum):
    """What a failure means for retries; any other text counts as retriable."""

    RETRIABLE = "retriable"
    NON_RETRIABLE = "non_retriable"
    RETRY_AFTER = "retry_after"


class TaskPayload(Wire):
    """The message a worker receives. ``attempt`` is absent on the first dispatch."""

    task_id: str = always("")
    run_id: str = always("")
    step_id: str = always("")
    iteration: int = 0
    attempt: int = 0
    input: Raw = ABSENT
    metadata: dict[str, str] = {}
    required_capabilities: list[str] = []
    dispatch_nonce: str = ""
    workflow_name: str = ""
    traceparent: str = ""
    tracestate: str = ""


class StepFailedPayload(Wire):
    """Payload of ``step.failed``. The keys after ``retry_after_ms`` are ours."""

    error: str = always("")
    failure_type: str = ""
    retry_after_ms: int = 0
    error_type: str = ""
    traceback: str = ""

"""Runs as stored in ``workflow_runs`` (``wire.md`` 8)."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Raw, field

from dagnats.model.codec import ABSENT, Wire, always
from dagnats.model.times import ZERO_TIME
from dagnats.model.workflow import StepDef


class RunStatus(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    COMPENSATED = "compensated"
    COMPENSATE_FAILED = "compensate_failed"


class StepStatus(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    RECOVERED = "recovered"


TERMINAL_RUN = frozenset(
    {
        RunStatus.COMPLETED,
        RunStatus.FAILED,
        RunStatus.CANCELLED,
        RunStatus.COMPENSATED,
        RunStatus.COMPENSATE_FAILED,
    }
)
DONE_STEP = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.RECOVERED})
"""Step statuses that let dependents go on."""

ACTIVE_STEP = frozenset({StepStatus.QUEUED, StepStatus.RUNNING})


class MapInstance(Wire):
    """One item of a map step. ``attempts``, ``earlier`` and ``wake_at`` (a retry is due) are ours.

    ``earlier`` counts dispatches in earlier rounds of a map that was replayed as a whole.
    """

    status: str = always("pending")
    output: Raw = ABSENT
    error: str = ""
    attempts: int = 0
    earlier: int = 0
    wake_at: str = ""

    @property
    def dispatch(self) -> int:
        """Number of the dispatch in flight; results that name another are late and ignored."""
        return self.earlier + self.attempts

    def anew(self) -> MapInstance:
        """The item before another round."""
        return MapInstance(earlier=self.dispatch)


class StepState(Wire):
    """What is known of one step. The keys after ``dispatch_nonce`` are ours and optional."""

    status: str = always("pending")
    attempts: int = always(0)
    iterations: int = 0
    loop_started_at: str = always(ZERO_TIME)
    output: bytes = b""
    error: str = ""
    map_instances: list[MapInstance] = []
    wake_at: str = ""
    child_run_id: str = ""
    dispatch_nonce: str = ""
    dispatch: int = 0
    """Number of the dispatch in flight; results that name another are late and ignored."""
    queued_at: str = ""
    started_at: str = ""
    finished_at: str = ""
    worker_id: str = ""
    failure: str = ""
    """Kind of the last failure: retriable, non_retriable, retry_after, timeout, …"""
    input: Raw = ABSENT
    """The input of the current dispatch where the dependencies do not determine it."""


class WorkflowRun(Wire):
    """The snapshot of a run. The keys after ``completed_at`` are ours and optional."""

    run_id: str
    workflow_id: str = always("")
    status: str = always("pending")
    steps: dict[str, StepState] = field(
        default_factory=dict[str, StepState]
    )  # always written: null would break other readers
    input: Raw = ABSENT
    created_at: str = always(ZERO_TIME)
    dynamic_steps: list[StepDef] = []
    parent_run_id: str = ""
    root_run_id: str = ""
    parent_step_id: str = ""
    deadline: str = ""
    priority_offset: int = 0
    singleton_key: str = ""
    trace_parent: str = ""
    completed_at: str = ""
    error: str = ""
    failed_step: str = ""
    revision: str = ""
    """Content hash of the definition this run is pinned to (bucket ``workflow_revisions``)."""
    applied_seq: int = 0
    """Last sequence of WORKFLOW_HISTORY that this snapshot includes."""
    depth: int = 0
    origin_run_id: str = ""
    """The run this one was rerun or retried from."""
    completion_order: list[str] = []
    """Completed steps that have a compensator, in order of completion."""
    saga_step: str = ""
    """The failed step whose compensation is under way."""
    reopened: int = 0
    """How often a dead letter of this run was replayed."""
    spawned: list[str] = []
    """Children at work that a handler started through the control plane."""
    sticky_worker: str = ""
    """The worker that a sticky run is bound to."""


def is_terminal(status: str) -> bool:
    """Whether a run in this status accepts nothing more."""
    return status in TERMINAL_RUN

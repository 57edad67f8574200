"""Workflow definitions (``wire.md`` 7)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Raw, field

from dagnats.model.codec import ABSENT, Wire, always
from dagnats.model.times import Duration


class StepType(StrEnum):
    """What kind of work a step is."""

    NORMAL = "normal"
    AGENT_LOOP = "agent_loop"
    SUB_WORKFLOW = "sub_workflow"
    AGENT = "agent"
    MAP = "map"
    SLEEP = "sleep"
    WAIT_FOR_EVENT = "wait_for_event"
    APPROVAL = "approval"
    PLANNER = "planner"
    RESPOND = "respond"


TASK_TYPES = frozenset(
    {StepType.NORMAL, StepType.AGENT_LOOP, StepType.AGENT, StepType.MAP, StepType.PLANNER}
)
"""The step types that a worker executes, and which therefore need a ``task``."""


class RetryStrategy(StrEnum):
    """How the delay grows from one retry to the next."""

    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class RetryPolicy(Wire):
    """When and how often a failed step is tried again. ``max_attempts`` counts *retries*."""

    max_attempts: int = always(0)
    strategy: str = always("fixed")
    initial_delay: Duration = always(0)
    max_delay: Duration = always(0)
    multiplier: int | float = 0
    jitter: int | float = 0
    """Share of the delay (0..1) by which it is randomly shortened. Ours; Go ignores it."""


class SkipCondition(Wire):
    """Skip the step when ``outputs[step_id][field] op value``."""

    step_id: str = always("")
    field: str = always("")
    op: str = always("")
    value: Any = always(None)


class RateLimit(Wire):
    """A token bucket per task type: ``limit`` starts per ``period``."""

    limit: int = always(0)
    period: Duration = always(0)


class KeyedRateLimit(Wire):
    """A token bucket per task type and value found at ``key`` in the step input."""

    key: str = always("")
    limit: int = always(0)
    period: Duration = always(0)
    units: int = always(0)


class StepDef(Wire):
    """One step of a workflow."""

    id: str = always("")
    task: str = always("")
    depends_on: list[str] = []
    retries: int = 0
    timeout: Duration = always(0)
    type: str = always("normal")
    config: Raw = ABSENT
    skip_if: SkipCondition | None = None
    metadata: dict[str, str] = {}
    retry: RetryPolicy | None = None
    worker_group: str = ""
    on_failure: str = ""
    compensate: str = ""
    rate_limit: RateLimit | None = None
    keyed_rate_limit: KeyedRateLimit | None = None
    max_task_concurrency: int = 0
    singleton: bool = False
    required_capabilities: list[str] = []
    queue_timeout: Duration = 0
    """How long a dispatched task may wait for a worker. Ours; Go ignores it."""


class Concurrency(Wire):
    """How much of a workflow may run at once; 0 is unlimited."""

    max_runs: int = 0
    max_steps: int = 0


class PriorityConfig(Wire):
    """Head start in seconds for pending runs, looked up by the input value at ``key``."""

    key: str = always("")
    rules: dict[str, int] = field(default_factory=dict[str, int])  # always written
    default_offset: int = always(0)


class Match(Wire):
    """``event[left] op right``; ``right`` is ``input.path`` or ``step.id.output.path``."""

    left: str = always("")
    op: str = always("")
    right: str = always("")


class CancelOn(Wire):
    """Cancel the run when a matching event arrives within ``timeout`` (0: at any time)."""

    event: str = always("")
    match: Match = field(default_factory=Match)
    timeout: Duration = 0


class Singleton(Wire):
    """At most one active run per workflow, or per value at ``key``."""

    mode: str = always("")
    key: str = ""


class WorkflowDef(Wire):
    """A workflow definition, as stored in ``workflow_defs``."""

    name: str = always("")
    version: str = always("")
    steps: list[StepDef] = field(default_factory=list[StepDef])  # always written
    default_retry: RetryPolicy | None = None
    concurrency: Concurrency | None = None
    timeout: Duration = 0
    input_schema: Raw = ABSENT
    output_schema: Raw = ABSENT
    aux_steps: dict[str, bool] = {}
    idempotency_key: str = ""
    sticky: str = ""
    priority: PriorityConfig | None = None
    cancel_on: list[CancelOn] = []
    singleton: Singleton | None = None


class AgentLoopConfig(Wire):
    """Bounds of an ``agent_loop`` step."""

    max_iterations: int = always(0)
    max_duration: Duration = 0
    loop_delay: Duration = 0
    budget_warn_at: int = 0
    budget_force_at: int = 0


class MapConfig(Wire):
    """Bounds of a ``map`` step. ``max_concurrency`` is ours; 0 is unlimited."""

    max_items: int = always(0)
    max_concurrency: int = 0


class SleepConfig(Wire):
    """Exactly one of the three says when a ``sleep`` step wakes."""

    duration: Duration = 0
    cron: str = ""
    until_input_path: str = ""


class SubWorkflowConfig(Wire):
    """Which workflow a ``sub_workflow`` step starts, and whether it waits for it."""

    workflow: str = always("")
    detach: bool = False


class WaitForEventConfig(Wire):
    """What a ``wait_for_event`` step waits for."""

    event: str = always("")
    match: Match = field(default_factory=Match)
    timeout: Duration = always(0)


class ApprovalConfig(Wire):
    """Who is asked by an ``approval`` step, and for how long."""

    timeout: Duration = always(0)
    subject: str = always("")
    description: str = ""
    metadata: dict[str, str] = {}


class PlannerConfig(Wire):
    """Bounds on the plan a ``planner`` step may return."""

    max_steps: int = always(0)
    max_depth: int = 0
    allowed_tasks: list[str] = []


class RespondConfig(Wire):
    """The HTTP answer a ``respond`` step sends."""

    status: int = 0
    headers: dict[str, str] = {}
    body_from: str = ""
    content_type: str = ""


StepConfig = (
    AgentLoopConfig
    | MapConfig
    | SleepConfig
    | SubWorkflowConfig
    | WaitForEventConfig
    | ApprovalConfig
    | PlannerConfig
    | RespondConfig
)

CONFIG_OF: dict[str, type[StepConfig]] = {
    StepType.AGENT_LOOP: AgentLoopConfig,
    StepType.MAP: MapConfig,
    StepType.SLEEP: SleepConfig,
    StepType.SUB_WORKFLOW: SubWorkflowConfig,
    StepType.WAIT_FOR_EVENT: WaitForEventConfig,
    StepType.APPROVAL: ApprovalConfig,
    StepType.PLANNER: PlannerConfig,
    StepType.RESPOND: RespondConfig,
}
"""The shape of ``config`` per step type; other types ignore it."""

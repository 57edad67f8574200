"""Workflows written in Python: the same definitions as workflow files.

    wf = Workflow("thumbs", timeout="10m")
    fetch = wf.task("fetch", "http.get", timeout=30)
    resize = wf.task("resize", "img.resize", after=[fetch], retry=Retry(3, initial_delay=1))
    await client.register(wf)

Durations are seconds, ``timedelta`` or texts such as ``"1m30s"``. Steps are named by the objects
that :class:`Workflow` returns, or by their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

from msgspec import Raw, Struct

from dagnats.errors import UsageError
from dagnats.model.codec import ABSENT, encode, raw
from dagnats.model.problems import invalid
from dagnats.model.trigger import TriggerDef
from dagnats.model.validate import normalise, validate
from dagnats.model.workflow import (
    AgentLoopConfig,
    ApprovalConfig,
    CancelOn,
    Concurrency,
    MapConfig,
    PlannerConfig,
    PriorityConfig,
    RespondConfig,
    Singleton,
    SkipCondition,
    SleepConfig,
    StepDef,
    StepType,
    SubWorkflowConfig,
    WaitForEventConfig,
    WorkflowDef,
)
from dagnats.workflow_terms import (
    Retry,
    SkipIf,
    Span,
    Step,
    StepOptions,
    StepRef,
    When,
    nanoseconds,
)

MAX_ITEMS = 1000
"""How many items a map step takes unless told otherwise (``engine.md`` B-1)."""


class Workflow:
    """A workflow definition in the making.

    Args:
        name: of the workflow.
        version: free text.
        timeout: how long a run may take.
        retry: for steps that have none of their own.
        max_runs, max_steps: how many runs of it, and steps of a run, go on at once; 0 unlimited.
        input_schema, output_schema: JSON Schema.
        idempotency_key: dot path into the input; equal values name one run.
        sticky: ``soft`` or ``hard``: tasks of a run go to the worker that did the first.
        singleton: ``skip`` or ``cancel``: at most one run at a time.
        singleton_key: dot path: one run at a time for each value there.
    """

    def __init__(
        self,
        name: str,
        *,
        version: str = "1",
        timeout: Span = 0,
        retry: Retry | None = None,
        max_runs: int = 0,
        max_steps: int = 0,
        input_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
        idempotency_key: str = "",
        sticky: str = "",
        singleton: str = "",
        singleton_key: str = "",
    ) -> None:
        bounded = max_runs or max_steps
        self.triggers: list[TriggerDef] = []
        self._definition = WorkflowDef(
            name=name,
            version=version,
            timeout=nanoseconds(timeout, "timeout"),
            default_retry=retry.policy() if retry else None,
            concurrency=Concurrency(max_runs=max_runs, max_steps=max_steps) if bounded else None,
            input_schema=_schema(input_schema),
            output_schema=_schema(output_schema),
            idempotency_key=idempotency_key,
            sticky=sticky,
            singleton=Singleton(mode=singleton, key=singleton_key) if singleton else None,
        )

    @property
    def name(self) -> str:
        """The workflow's name."""
        return self._definition.name

    # -- steps -------------------------------------------------------------------------------------

    def task(self, step_id: str, task: str, **options: Unpack[StepOptions]) -> Step:
        """A step that a worker does."""
        return self._add(StepType.NORMAL, step_id, task, None, options)

    def agent(self, step_id: str, task: str, **options: Unpack[StepOptions]) -> Step:
        """A step that an agent does."""
        return self._add(StepType.AGENT, step_id, task, None, options)

    def agent_loop(
        self,
        step_id: str,
        task: str,
        *,
        max_iterations: int,
        max_duration: Span = 0,
        loop_delay: Span = 0,
        **options: Unpack[StepOptions],
    ) -> Step:
        """A step whose worker may ask for another iteration, within bounds."""
        config = AgentLoopConfig(
            max_iterations=max_iterations,
            max_duration=nanoseconds(max_duration, "max_duration"),
            loop_delay=nanoseconds(loop_delay, "loop_delay"),
        )
        return self._add(StepType.AGENT_LOOP, step_id, task, config, options)

    def map(
        self,
        step_id: str,
        task: str,
        *,
        max_items: int = MAX_ITEMS,
        parallel: int = 0,
        **options: Unpack[StepOptions],
    ) -> Step:
        """A task for each element of the array its one parent returns, ``parallel`` at a time."""
        config = MapConfig(max_items=max_items, max_concurrency=parallel)
        return self._add(StepType.MAP, step_id, task, config, options)

    def planner(
        self,
        step_id: str,
        task: str,
        *,
        max_steps: int,
        max_depth: int = 0,
        allowed_tasks: Sequence[str] = (),
        **options: Unpack[StepOptions],
    ) -> Step:
        """A task whose output is a plan of further steps."""
        config = PlannerConfig(
            max_steps=max_steps, max_depth=max_depth, allowed_tasks=list(allowed_tasks)
        )
        return self._add(StepType.PLANNER, step_id, task, config, options)

    def sub_workflow(
        self,
        step_id: str,
        workflow: str | Workflow,
        *,
        detach: bool = False,
        **options: Unpack[StepOptions],
    ) -> Step:
        """Run another workflow, and wait for it unless it is detached."""
        name = workflow.name if isinstance(workflow, Workflow) else workflow
        config = SubWorkflowConfig(workflow=name, detach=detach)
        # Go's builder names the child as the task as well (engine.md B-1).
        return self._add(StepType.SUB_WORKFLOW, step_id, name, config, options)

    def sleep(
        self,
        step_id: str,
        duration: Span = 0,
        *,
        cron: str = "",
        until: str = "",
        **options: Unpack[StepOptions],
    ) -> Step:
        """Wait for a duration, for the next time of a cron expression, or until the time that
        stands at the dot path ``until`` of the run's input.
        """
        config = SleepConfig(
            duration=nanoseconds(duration, "duration"), cron=cron, until_input_path=until
        )
        return self._add(StepType.SLEEP, step_id, "", config, options)

    def wait_for_event(
        self,
        step_id: str,
        event: str,
        match: When,
        *,
        within: Span,
        **options: Unpack[StepOptions],
    ) -> Step:
        """Wait for a matching event, ``within`` a bound; the event becomes the output."""
        config = WaitForEventConfig(
            event=event, match=match.match(), timeout=nanoseconds(within, "within")
        )
        return self._add(StepType.WAIT_FOR_EVENT, step_id, "", config, options)

    def approval(
        self,
        step_id: str,
        subject: str,
        *,
        within: Span,
        description: str = "",
        details: Mapping[str, str] | None = None,
        **options: Unpack[StepOptions],
    ) -> Step:
        """Ask for an approval on a subject and wait for the answer."""
        config = ApprovalConfig(
            timeout=nanoseconds(within, "within"),
            subject=subject,
            description=description,
            metadata=dict(details or {}),
        )
        return self._add(StepType.APPROVAL, step_id, "", config, options)

    def respond(
        self,
        step_id: str,
        *,
        status: int = 200,
        body_from: str = "",
        headers: Mapping[str, str] | None = None,
        content_type: str = "",
        **options: Unpack[StepOptions],
    ) -> Step:
        """Answer the HTTP request that started the run."""
        config = RespondConfig(
            status=status,
            headers=dict(headers or {}),
            body_from=body_from,
            content_type=content_type,
        )
        return self._add(StepType.RESPOND, step_id, "", config, options)

    # -- the workflow as a whole -------------------------------------------------------------------

    def priority(self, key: str, rules: Mapping[str, int], default: int = 0) -> None:
        """Head start in seconds for pending runs, by the text of the input's value at ``key``."""
        self._definition.priority = PriorityConfig(
            key=key, rules=dict(rules), default_offset=default
        )

    def cancel_on(self, event: str, match: When, *, within: Span = 0) -> None:
        """Cancel a run when a matching event arrives."""
        rule = CancelOn(event=event, match=match.match(), timeout=nanoseconds(within, "within"))
        self._definition.cancel_on.append(rule)

    def build(self) -> WorkflowDef:
        """The checked definition.

        Raises:
            InvalidError: naming every problem.
        """
        definition = normalise(self._definition)
        problems = validate(definition)
        if problems:
            raise invalid(problems, "invalid workflow: ")
        return definition

    def to_json(self) -> bytes:
        """The checked definition as JSON, as it stands in a workflow file.

        Raises:
            InvalidError: naming every problem.
        """
        return encode(self.build())

    def _add(
        self,
        kind: StepType,
        step_id: str,
        task: str,
        config: Struct | None,
        options: StepOptions,
    ) -> Step:
        unknown = options.keys() - StepOptions.__annotations__.keys()
        if unknown:
            known = ", ".join(StepOptions.__annotations__)
            raise UsageError(f"step {step_id!r}: no option {min(unknown)!r}", f"there are {known}")
        rate = options.get("rate_limit")
        retry, skip = options.get("retry"), options.get("skip_if")
        step = StepDef(
            id=step_id,
            task=task,
            type=kind.value,
            config=ABSENT if config is None else raw(config),
            depends_on=self._ids(options.get("after", ())),
            timeout=nanoseconds(options.get("timeout", 0), "timeout"),
            queue_timeout=nanoseconds(options.get("queue_timeout", 0), "queue_timeout"),
            retry=retry.policy() if retry else None,
            skip_if=self._skip(skip) if skip else None,
            on_failure=self._id(options.get("on_failure", "")),
            compensate=self._id(options.get("compensate", "")),
            metadata=dict(options.get("metadata", {})),
            worker_group=options.get("group", ""),
            rate_limit=rate.plain() if rate else None,
            keyed_rate_limit=rate.keyed() if rate else None,
            max_task_concurrency=options.get("max_concurrency", 0),
            required_capabilities=list(options.get("capabilities", ())),
        )
        self._definition.steps.append(step)
        return Step(self.name, step_id)

    def _skip(self, skip: SkipIf) -> SkipCondition:
        return SkipCondition(
            step_id=self._id(skip.step), field=skip.field, op=skip.op, value=skip.value
        )

    def _ids(self, steps: StepRef | Iterable[StepRef]) -> list[str]:
        if isinstance(steps, Step | str):
            return [self._id(steps)]
        return [self._id(step) for step in steps]

    def _id(self, step: StepRef) -> str:
        if isinstance(step, str):
            return step
        if step.workflow != self.name:
            raise UsageError(
                f"step {step.id!r} belongs to workflow {step.workflow!r}, not {self.name!r}",
                "name a step of this workflow",
            )
        return step.id


def _schema(schema: Mapping[str, Any] | None) -> Raw:
    return ABSENT if schema is None else raw(schema)

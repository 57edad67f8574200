"""The rules on workflow definitions, with the texts of ``wire.md`` 7.6; all are reported."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.conditions import SKIP_OPERATORS, WAIT_OPERATORS
from dagnats.model.cron import cron_problem
from dagnats.model.graph import topological
from dagnats.model.times import DAY, HOUR, format_duration
from dagnats.model.workflow import (
    CONFIG_OF,
    TASK_TYPES,
    AgentLoopConfig,
    ApprovalConfig,
    MapConfig,
    PlannerConfig,
    RespondConfig,
    RetryStrategy,
    SleepConfig,
    StepConfig,
    StepDef,
    StepType,
    SubWorkflowConfig,
    WaitForEventConfig,
    WorkflowDef,
)

MAX_ATTEMPTS = 100_000
MAX_NAME = 256
MAX_SLEEP = 365 * DAY
MAX_APPROVAL = 168 * HOUR
_KEY = re.compile(r"[-/_=.a-zA-Z0-9]+")
_TOKEN = re.compile(r"[^\s*>\x00-\x1f\x7f]+")


class Problem(Struct, frozen=True):
    """One broken rule: where, and what."""

    path: str
    text: str


def validate(definition: WorkflowDef) -> list[Problem]:
    """Every problem of a definition, in the order in which they would stop a reader."""
    if not definition.steps:
        return [Problem("steps", f'workflow "{definition.name}" has no steps')]
    problems = [Problem("name", text) for text in _name_problems(definition.name)]
    ids = _ids(definition)
    seen: set[str] = set()
    for index, step in enumerate(definition.steps):
        if step.id in seen:
            problems.append(Problem(f"steps[{index}].id", f'duplicate step ID "{step.id}"'))
        seen.add(step.id)
        problems += [Problem(f"steps[{index}]", text) for text in _step(step, definition, ids)]
    problems += [Problem("", text) for text in _aux(definition, ids)]
    problems += [Problem("", text) for text in _workflow(definition)]
    return problems + [Problem("steps", text) for text in _cycle(ids)]


def derive_aux(definition: WorkflowDef) -> dict[str, bool]:
    """The targets of ``on_failure`` and ``compensate``, which do not start by themselves."""
    targets = [step.on_failure for step in definition.steps if step.on_failure]
    targets += [step.compensate for step in definition.steps if step.compensate]
    return dict.fromkeys(sorted(targets), True)


def normalise(definition: WorkflowDef) -> WorkflowDef:
    """The definition as it is registered: ``aux_steps`` derived, whatever the client sent."""
    return msgspec.structs.replace(
        definition, aux_steps=derive_aux(definition), version=definition.version or "1"
    )


def step_id_problem(step_id: str) -> str:
    """Why a text cannot be a step id; ``""`` when it can. Ids are KV keys and subject tokens."""
    if not step_id:
        return "step ID must not be empty"
    if len(step_id) > MAX_NAME:
        return f'step ID "{step_id[:40]}…" has {len(step_id)} characters (max {MAX_NAME})'
    if not _is_key(step_id):
        return f'step ID "{step_id}" may only contain letters, digits and - / _ = .'
    if ".map." in step_id:
        return f'step ID "{step_id}" must not contain ".map."'
    return ""


def _is_key(text: str) -> bool:
    return bool(_KEY.fullmatch(text)) and text[0] != "." and text[-1] != "." and ".." not in text


def _is_subject(text: str) -> bool:
    return bool(_TOKEN.fullmatch(text)) and all(text.split(".")) and len(text) <= MAX_NAME


def _ids(definition: WorkflowDef) -> dict[str, StepDef]:
    return {step.id: step for step in definition.steps}


def _name_problems(name: str) -> Iterator[str]:
    if not name:
        yield "workflow name must not be empty"
    elif len(name) > MAX_NAME:
        yield f"workflow name has {len(name)} characters (max {MAX_NAME})"
    elif not _is_key(name):
        yield f'workflow name "{name}" may only contain letters, digits and - / _ = .'


def _step(step: StepDef, definition: WorkflowDef, ids: dict[str, StepDef]) -> Iterator[str]:
    if problem := step_id_problem(step.id):
        yield problem
    if step.type not in list(StepType):
        kinds = ", ".join(StepType)
        yield f'step "{step.id}" has unknown type "{step.type}" (valid: {kinds})'
        return
    if step.retries < 0:
        yield f'step "{step.id}" has negative Retries ({step.retries})'
    if step.timeout < 0 or step.queue_timeout < 0:
        yield f'step "{step.id}" has a negative timeout'
    for parent in step.depends_on:
        if parent not in ids:
            yield f'step "{step.id}" depends on non-existent step "{parent}"'
    yield from _routing(step)
    yield from _typed(step, ids)
    yield from _skip(step)
    yield from _limits(step)
    yield from _retry(f'step "{step.id}" Retry', step.retry)
    for what, target in (("OnFailure", step.on_failure), ("Compensate", step.compensate)):
        if target and target not in ids:
            yield f'step "{step.id}" {what} references "{target}" which does not exist'
    del definition


def _routing(step: StepDef) -> Iterator[str]:
    if step.type in TASK_TYPES and not step.task:
        yield f'step "{step.id}" of type {step.type} has no task'
    if step.task and not _is_subject(step.task):
        yield f'step "{step.id}": task "{step.task}" is not a clean subject token'
    if step.worker_group and not _is_subject(step.worker_group):
        yield f'step "{step.id}": worker_group "{step.worker_group}" is not a clean subject token'


def _typed(step: StepDef, ids: dict[str, StepDef]) -> Iterator[str]:
    """What the type of a step demands of its config."""
    kind = CONFIG_OF.get(step.type)
    if kind is None:
        return
    try:
        config = decode(bytes(step.config) or b"{}", kind)
    except InvalidError as error:
        yield f'step "{step.id}": invalid {step.type} config: {error.message}'
        return
    for problem in _config(step, config, ids):
        yield f'step "{step.id}"{problem}'


def _config(step: StepDef, config: StepConfig, ids: dict[str, StepDef]) -> Iterator[str]:
    if isinstance(config, AgentLoopConfig):
        if config.max_iterations <= 0:
            yield f" is AgentLoop but MaxIterations is {config.max_iterations} (must be > 0)"
    elif isinstance(config, MapConfig):
        yield from _map(step, config, ids)
    elif isinstance(config, SleepConfig):
        yield from _sleep(config)
    elif isinstance(config, ApprovalConfig):
        yield from _approval(config)
    elif isinstance(config, PlannerConfig):
        if not 1 <= config.max_steps <= 100:
            yield f": PlannerConfig.MaxSteps is {config.max_steps} (must be 1..100)"
        if not 0 <= config.max_depth <= 10:
            yield f": PlannerConfig.MaxDepth is {config.max_depth} (must be 0..10)"
    elif isinstance(config, WaitForEventConfig):
        yield from _wait(config, ids)
    else:
        yield from _small(config)


def _small(config: SubWorkflowConfig | RespondConfig) -> Iterator[str]:
    if isinstance(config, SubWorkflowConfig):
        if not config.workflow:
            yield ": sub-workflow config must have non-empty Workflow"
    elif config.status and not 100 <= config.status <= 599:
        yield f": respond status is {config.status} (must be 100..599)"


def _map(step: StepDef, config: MapConfig, ids: dict[str, StepDef]) -> Iterator[str]:
    if len(step.depends_on) != 1:
        yield f" is Map but has {len(step.depends_on)} dependencies (must have exactly one)"
    if config.max_items <= 0:
        yield f" is Map but MaxItems is {config.max_items} (must be > 0)"
    elif config.max_items > 10_000:
        yield f" is Map but MaxItems is {config.max_items} (must be <= 10000)"
    if config.max_concurrency < 0:
        yield f" is Map but max_concurrency is {config.max_concurrency} (must be >= 0)"
    for parent in step.depends_on:
        if parent in ids and ids[parent].type == StepType.MAP:
            yield f' is Map and depends on "{parent}" which is also Map (nesting not supported)'


def _sleep(config: SleepConfig) -> Iterator[str]:
    given = bool(config.duration) + bool(config.cron) + bool(config.until_input_path)
    if given != 1:
        yield (
            f": sleep config must set exactly one of duration, cron, until_input_path; got {given}"
        )
    elif config.cron and (problem := cron_problem(config.cron)):
        yield f": invalid sleep cron: {problem}"
    elif config.duration < 0:
        yield f": sleep duration must be positive, got {format_duration(config.duration)}"
    elif config.duration > MAX_SLEEP:
        yield f": sleep duration {format_duration(config.duration)} exceeds max 8760h0m0s"


def _approval(config: ApprovalConfig) -> Iterator[str]:
    if not config.subject:
        yield ": Approval.Subject must not be empty"
    elif not _is_subject(config.subject):
        yield f': Approval.Subject "{config.subject}" is not a clean subject'
    if config.timeout <= 0:
        yield ": Approval.Timeout must be positive"
    elif config.timeout > MAX_APPROVAL:
        yield f": Approval.Timeout {format_duration(config.timeout)} exceeds max 168h0m0s"


def _wait(config: WaitForEventConfig, ids: dict[str, StepDef]) -> Iterator[str]:
    if not config.event:
        yield ": WaitForEvent.Event must not be empty"
    elif not _is_subject(config.event):
        yield f': WaitForEvent.Event "{config.event}" is not a clean subject'
    for name in ("left", "op", "right"):
        if not getattr(config.match, name):
            yield f": WaitForEvent.Match.{name.capitalize()} must not be empty"
    if config.match.op and config.match.op not in WAIT_OPERATORS:
        known = ", ".join(WAIT_OPERATORS)
        yield f': WaitForEvent.Match.Op "{config.match.op}" is unknown (valid: {known})'
    if config.timeout <= 0:
        yield ": WaitForEvent.Timeout must be positive"
    right = config.match.right
    if right.startswith("step."):
        if len(right.split(".")) < 4:
            yield f': invalid step path "{right}" (expected step.{{id}}.output.{{field}})'
        elif not any(right.startswith(f"step.{step_id}.") for step_id in ids):
            yield f': Match.Right references step "{right.split(".")[1]}" which does not exist'
    elif right and not right.startswith("input."):
        yield f': Match.Right must start with step. or input., got "{right}"'


def _skip(step: StepDef) -> Iterator[str]:
    condition = step.skip_if
    if condition is None:
        return
    if condition.op not in SKIP_OPERATORS:
        yield f'step "{step.id}" SkipIf has invalid operator "{condition.op}"'
    if not condition.step_id:
        yield f'step "{step.id}" SkipIf has empty StepID'
    elif condition.step_id not in step.depends_on:
        yield f'step "{step.id}" SkipIf references "{condition.step_id}" which is not in DependsOn'


def _limits(step: StepDef) -> Iterator[str]:
    plain, keyed = step.rate_limit, step.keyed_rate_limit
    if plain is not None and keyed is not None:
        yield f'step "{step.id}": cannot set both rate_limit and keyed_rate_limit'
    if plain is not None:
        if plain.limit <= 0:
            yield f'step "{step.id}": rate limit must be positive'
        if plain.period <= 0:
            yield f'step "{step.id}": rate limit period must be positive'
    if keyed is not None:
        if not keyed.key:
            yield f'step "{step.id}": keyed rate limit key must not be empty'
        for name in ("limit", "period", "units"):
            if getattr(keyed, name) <= 0:
                label = "" if name == "limit" else f" {name}"
                yield f'step "{step.id}": keyed rate limit{label} must be positive'
    if not 0 <= step.max_task_concurrency <= 1000:
        yield f'step "{step.id}" MaxTaskConcurrency is {step.max_task_concurrency} (must be 0..1000)'  # noqa: E501


def _retry(label: str, policy: object) -> Iterator[str]:
    from dagnats.model.workflow import RetryPolicy

    if not isinstance(policy, RetryPolicy):
        return
    if not 0 <= policy.max_attempts <= MAX_ATTEMPTS:
        yield f"{label}.MaxAttempts is {policy.max_attempts} (max {MAX_ATTEMPTS})"
    if policy.strategy not in list(RetryStrategy):
        yield f'{label}.Strategy is unknown: "{policy.strategy}" (valid: fixed, linear, exponential)'  # noqa: E501
    if policy.initial_delay < 0 or policy.max_delay < 0 or policy.multiplier < 0:
        yield f"{label} has a negative delay or multiplier"


def _aux(definition: WorkflowDef, ids: dict[str, StepDef]) -> Iterator[str]:
    for step in definition.steps:
        for what, target in (("OnFailure", step.on_failure), ("Compensate", step.compensate)):
            if not target:
                continue
            if target == step.id:
                yield f'step "{step.id}" {what} references itself'
            elif target in ids and ids[target].depends_on:
                yield f'step "{step.id}" {what} target "{target}" must not have DependsOn'


def _workflow(definition: WorkflowDef) -> Iterator[str]:
    name = definition.name
    bounds = definition.concurrency
    if bounds and not 0 <= bounds.max_steps <= 1000:
        yield f'workflow "{name}" Concurrency.MaxSteps is {bounds.max_steps} (must be 0..1000)'
    if bounds and bounds.max_runs < 0:
        yield f'workflow "{name}" Concurrency.MaxRuns is {bounds.max_runs} (must be >= 0)'
    if definition.timeout < 0:
        yield f'workflow "{name}" has a negative timeout'
    yield from _retry(f'workflow "{name}" DefaultRetry', definition.default_retry)
    for step in definition.steps:
        if step.retries > MAX_ATTEMPTS:
            yield f'step "{step.id}" Retries is {step.retries} (max {MAX_ATTEMPTS})'
    key = definition.idempotency_key
    if key and (key[0] == "." or key[-1] == "."):
        yield f'idempotency_key "{key}": must not start or end with dot'
    elif ".." in key:
        yield f'idempotency_key "{key}": empty segment'
    yield from _sticky(definition)
    yield from _priority(definition)
    if len(definition.cancel_on) > 5:
        yield "cancel_on: max 5 entries"
    for index, rule in enumerate(definition.cancel_on):
        if not rule.event or not _is_subject(rule.event):
            yield f"cancel_on[{index}]: event must not be empty"
    if definition.singleton and definition.singleton.mode not in ("skip", "cancel"):
        yield "singleton: mode must be skip or cancel"


def _sticky(definition: WorkflowDef) -> Iterator[str]:
    name, sticky = definition.name, definition.sticky
    if sticky not in ("", "soft", "hard"):
        yield f'workflow "{name}": invalid sticky strategy "{sticky}"'
    if sticky == "hard" and definition.timeout <= 0:
        yield f'workflow "{name}": hard sticky requires a timeout to prevent permanent blocking'
    for step in definition.steps:
        if sticky and step.worker_group:
            yield (
                f'workflow "{name}": sticky is incompatible with per-step WorkerGroup '
                f'(step "{step.id}")'
            )


def _priority(definition: WorkflowDef) -> Iterator[str]:
    config = definition.priority
    if config is None:
        return
    if not config.key:
        yield "priority: key must not be empty"
    if not config.rules:
        yield "priority: rules must not be empty"
    if len(config.rules) > 20:
        yield "priority: max 20 rules"
    for offset in config.rules.values():
        if not -600 <= offset <= 600:
            yield f"priority: offset {offset} out of [-600, 600]"
    if not -600 <= config.default_offset <= 600:
        yield "priority: default_offset out of [-600, 600]"


def _cycle(ids: dict[str, StepDef]) -> Iterator[str]:
    parents = {
        step_id: [parent for parent in step.depends_on if parent in ids]
        for step_id, step in ids.items()
    }
    reachable = len(topological(parents))
    if reachable < len(parents):
        yield f"workflow contains a cycle ({reachable} of {len(parents)} steps reachable)"

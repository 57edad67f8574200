"""The rules that hold for a step of any type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dagnats.model.conditions import SKIP_OPERATORS
from dagnats.model.names import is_path, is_subject, step_id_problem
from dagnats.model.problems import quote
from dagnats.model.rules.bounds import MAX_COUNT, duration_problems
from dagnats.model.rules.configs import config_problems, nesting_problems
from dagnats.model.workflow import (
    TASK_TYPES,
    KeyedRateLimit,
    RateLimit,
    RetryPolicy,
    RetryStrategy,
    StepDef,
    StepType,
)

MAX_ATTEMPTS = 100_000
_TYPES = frozenset(StepType)
_STRATEGIES = frozenset(RetryStrategy)


def step_problems(step: StepDef, ids: Mapping[str, StepDef]) -> Iterator[str]:
    """What is wrong with one step, in the order in which it would stop another reader."""
    if problem := step_id_problem(step.id):
        yield problem
    if step.type not in _TYPES:
        kinds = ", ".join(StepType)
        yield f"step {quote(step.id)} has unknown type {quote(step.type)} (valid: {kinds})"
        return
    if step.retries < 0:
        yield f"step {quote(step.id)} has negative Retries ({step.retries})"
    for parent in step.depends_on:
        if parent not in ids:
            yield f"step {quote(step.id)} depends on non-existent step {quote(parent)}"
    yield from _task(step)
    yield from config_problems(step, ids)
    yield from _skip(step)
    yield from _limits(step)
    yield from _targets(step, ids)
    if not 0 <= step.max_task_concurrency <= 1000:
        count = step.max_task_concurrency
        yield f"step {quote(step.id)} MaxTaskConcurrency is {count} (must be 0..1000)"
    yield from nesting_problems(step, ids)
    yield from _timeouts(step)


def retry_problems(label: str, policy: RetryPolicy | None) -> Iterator[str]:
    """What is wrong with a retry policy.

    Args:
        label: whose it is, e.g. ``step "a" Retry``.
        policy: the policy, if there is one.
    """
    if policy is None:
        return
    if policy.max_attempts > MAX_ATTEMPTS:
        yield f"{label}.MaxAttempts is {policy.max_attempts} (max {MAX_ATTEMPTS})"
    elif policy.max_attempts < 0:
        yield f"{label}.MaxAttempts is {policy.max_attempts} (must be >= 0)"
    if policy.strategy not in _STRATEGIES:
        known = ", ".join(RetryStrategy)
        yield f"{label}.Strategy {quote(policy.strategy)} is unknown (valid: {known})"
    for name, value in (("InitialDelay", policy.initial_delay), ("MaxDelay", policy.max_delay)):
        yield from duration_problems(f"{label}.{name}", value)
    if policy.multiplier < 0:
        yield f"{label}.Multiplier is {policy.multiplier} (must be >= 0)"
    if not 0 <= policy.jitter <= 1:
        yield f"{label}.Jitter is {policy.jitter} (must be 0..1)"


def _task(step: StepDef) -> Iterator[str]:
    if step.type in TASK_TYPES and not step.task:
        yield f"step {quote(step.id)} of type {step.type} has no task"
    for what, text in (("task", step.task), ("worker_group", step.worker_group)):
        if text and not is_subject(text):
            yield f"step {quote(step.id)}: {what} {quote(text)} is not a clean subject token"


def _skip(step: StepDef) -> Iterator[str]:
    condition = step.skip_if
    if condition is None:
        return
    label = f"step {quote(step.id)} SkipIf"
    if condition.op not in SKIP_OPERATORS:
        yield f"{label} has invalid operator {quote(condition.op)}"
    if not condition.step_id:
        yield f"{label} has empty StepID"
    elif condition.step_id not in step.depends_on:
        yield f"{label} references {quote(condition.step_id)} which is not in DependsOn"
    if not condition.field:
        yield f"{label} has empty Field"


def _limits(step: StepDef) -> Iterator[str]:
    if step.rate_limit is None and step.keyed_rate_limit is None:
        return
    label = f"step {quote(step.id)}"
    if step.rate_limit is not None and step.keyed_rate_limit is not None:
        yield f"{label}: cannot set both RateLimit and KeyedRateLimit"
    if step.rate_limit is not None:
        yield from _limit(f"{label}: rate limit", step.rate_limit)
    keyed = step.keyed_rate_limit
    if keyed is None:
        return
    if not keyed.key:
        yield f"{label}: keyed rate limit key must not be empty"
    elif not is_path(keyed.key):
        yield f"{label}: keyed rate limit key {quote(keyed.key)} has an empty segment"
    yield from _limit(f"{label}: keyed rate limit", keyed)
    if keyed.units <= 0:
        yield f"{label}: keyed rate limit units must be positive"
    elif 0 < keyed.limit < keyed.units:
        yield f"{label}: keyed rate limit units {keyed.units} exceed the limit {keyed.limit}"


def _limit(label: str, limit: RateLimit | KeyedRateLimit) -> Iterator[str]:
    if limit.limit <= 0:
        yield f"{label} must be positive"
    elif limit.limit > MAX_COUNT:
        yield f"{label} is {limit.limit} (max {MAX_COUNT})"
    if limit.period <= 0:
        yield f"{label} period must be positive"
    else:
        yield from duration_problems(f"{label} period", limit.period)


def _targets(step: StepDef, ids: Mapping[str, StepDef]) -> Iterator[str]:
    for what, target in (("OnFailure", step.on_failure), ("Compensate", step.compensate)):
        if target and target not in ids:
            yield f"step {quote(step.id)} {what} references {quote(target)} which does not exist"


def _timeouts(step: StepDef) -> Iterator[str]:
    label = f"step {quote(step.id)}"
    yield from duration_problems(f"{label} Timeout", step.timeout)
    yield from duration_problems(f"{label} QueueTimeout", step.queue_timeout)
    yield from retry_problems(f"{label} Retry", step.retry)
    if step.retries > MAX_ATTEMPTS:
        yield f"{label} Retries is {step.retries} (max {MAX_ATTEMPTS})"

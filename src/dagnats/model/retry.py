"""Retry policies: which one is in force, and how long it waits (``engine.md`` 7.1)."""

from __future__ import annotations

from dagnats.model.times import HOUR, MILLISECOND, SECOND
from dagnats.model.workflow import RetryPolicy, RetryStrategy, StepDef, WorkflowDef

LEGACY_DELAY = 5 * SECOND
"""Fixed delay of the legacy ``retries`` count."""

DELAY_MIN, DELAY_MAX = MILLISECOND, HOUR
"""Bounds on any backoff (FAIL-4)."""


def policy_for(step: StepDef, definition: WorkflowDef) -> RetryPolicy | None:
    """The step's own policy, else the workflow's, else the legacy count, else none (FAIL-2)."""
    if step.retry is not None:
        return step.retry
    if definition.default_retry is not None:
        return definition.default_retry
    if step.retries > 0:
        return RetryPolicy(max_attempts=step.retries, initial_delay=LEGACY_DELAY)
    return None


def delay_ns(policy: RetryPolicy, retry: int, unit: float) -> int:
    """The wait before the ``retry``-th retry (1, 2, …).

    Args:
        policy: the policy in force.
        retry: which retry it is.
        unit: a number in 0..1 that spreads the delay when the policy has jitter.
    """
    delay = float(policy.initial_delay)
    if policy.strategy == RetryStrategy.LINEAR:
        delay *= retry
    elif policy.strategy == RetryStrategy.EXPONENTIAL:
        # 2**64 ns is far beyond the cap, so the exponent is bounded before it overflows.
        delay *= min(float(policy.multiplier or 1) ** min(retry - 1, 64), 2.0**64)
    if policy.max_delay > 0:
        delay = min(delay, float(policy.max_delay))
    delay *= 1 - min(max(float(policy.jitter), 0.0), 1.0) * unit
    return int(min(max(delay, DELAY_MIN), DELAY_MAX))

"""Retry policies: which one is in force, and how long it waits (``engine.md`` 7.1)."""

from __future__ import annotations

from dagnats.model.times import HOUR, MILLISECOND, SECOND
from dagnats.model.workflow import RetryPolicy, RetryStrategy, StepDef, WorkflowDef

DEFAULT_MULTIPLIER = 2.0
"""Growth of an exponential policy that names none. Go multiplies by zero then."""

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

    Returns:
        Nanoseconds, within ``DELAY_MIN`` and ``DELAY_MAX``.
    """
    if policy.initial_delay <= 0:
        return DELAY_MIN
    delay = float(policy.initial_delay)
    if policy.strategy == RetryStrategy.LINEAR:
        delay *= retry
    elif policy.strategy == RetryStrategy.EXPONENTIAL:
        delay *= _growth(policy.multiplier, retry)
    if policy.max_delay > 0:
        delay = min(delay, float(policy.max_delay))
    delay = min(delay, float(DELAY_MAX))
    delay *= 1 - min(max(float(policy.jitter), 0.0), 1.0) * unit
    return int(min(max(delay, DELAY_MIN), DELAY_MAX))


def _growth(multiplier: float, retry: int) -> float:
    try:
        return float(multiplier or DEFAULT_MULTIPLIER) ** (retry - 1)
    except OverflowError:
        return float("inf")

"""The terms a workflow is written in: durations, retries, rates, conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypedDict

from dagnats.errors import UsageError
from dagnats.model.times import parse_duration
from dagnats.model.workflow import KeyedRateLimit, Match, RateLimit, RetryPolicy

Span = float | timedelta | str
"""A duration: seconds, a ``timedelta``, or a text such as ``"30m"``."""


def nanoseconds(span: Span, what: str) -> int:
    """A duration in nanoseconds.

    Raises:
        UsageError: it is no duration, or negative.
    """
    hint = 'give seconds, a timedelta, or a text such as "1m30s"'
    try:
        if isinstance(span, str):
            number = parse_duration(span, days=True)
        else:
            plain = span.total_seconds() if isinstance(span, timedelta) else span
            number = round(plain * 1e9)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{what} is {span!r}", hint) from None
    if number < 0 or isinstance(span, bool):
        raise UsageError(f"{what} is {span!r}", hint)
    return number


class Step(NamedTuple):
    """A step of a workflow, to be named by later ones."""

    workflow: str
    id: str


StepRef = Step | str


class Retry(NamedTuple):
    """When and how often a failed step is tried again.

    Args:
        max_attempts: how many *re*tries; the step runs once more than that.
        strategy: ``fixed``, ``linear`` or ``exponential``.
        initial_delay: before the first retry.
        max_delay: longest delay; 0 for no bound but the engine's hour.
        multiplier: how the delay grows, for ``exponential``.
        jitter: share of the delay, 0 to 1, by which it is randomly shortened.
    """

    max_attempts: int
    strategy: str = "exponential"
    initial_delay: Span = 1.0
    max_delay: Span = 0.0
    multiplier: float = 2.0
    jitter: float = 0.0

    def policy(self) -> RetryPolicy:
        """As it stands in the definition."""
        return RetryPolicy(
            max_attempts=self.max_attempts,
            strategy=self.strategy,
            initial_delay=nanoseconds(self.initial_delay, "initial_delay"),
            max_delay=nanoseconds(self.max_delay, "max_delay"),
            multiplier=self.multiplier if self.strategy == "exponential" else 0,
            jitter=self.jitter,
        )


class Rate(NamedTuple):
    """At most ``limit`` starts per ``period``, counted for each value at ``key`` of the input.

    Args:
        limit: tokens per period.
        period: how long until they are all there again.
        key: dot path into the step's input; empty for one limit of the whole task type.
        units: tokens one start takes.
    """

    limit: int
    period: Span
    key: str = ""
    units: int = 1

    def plain(self) -> RateLimit | None:
        """As it stands in the definition, when it has no key."""
        if self.key:
            return None
        return RateLimit(limit=self.limit, period=nanoseconds(self.period, "period"))

    def keyed(self) -> KeyedRateLimit | None:
        """As it stands in the definition, when it has a key."""
        if not self.key:
            return None
        period = nanoseconds(self.period, "period")
        return KeyedRateLimit(key=self.key, limit=self.limit, period=period, units=self.units)


class SkipIf(NamedTuple):
    """Skip the step when ``field`` of a parent's output compares so with ``value``.

    Args:
        step: the parent.
        field: a top-level key of its output.
        op: ``==``, ``!=``, ``<``, ``<=``, ``>`` or ``>=``.
        value: what to compare with.
    """

    step: StepRef
    field: str
    op: str
    value: Any


class When(NamedTuple):
    """``event[left] op right``; ``right`` is ``input.path`` or ``step.id.output.path``."""

    left: str
    op: str
    right: str

    def match(self) -> Match:
        """As it stands in the definition."""
        return Match(left=self.left, op=self.op, right=self.right)


class StepOptions(TypedDict, total=False):
    """What every kind of step takes.

    ``after`` names the steps it waits for; ``queue_timeout`` bounds the wait for a worker,
    ``timeout`` an attempt; ``on_failure`` runs a step instead of failing the run, ``compensate``
    one that undoes this step when a later one fails.
    """

    after: StepRef | Iterable[StepRef]
    timeout: Span
    queue_timeout: Span
    retry: Retry
    skip_if: SkipIf
    on_failure: StepRef
    compensate: StepRef
    metadata: Mapping[str, str]
    group: str
    rate_limit: Rate
    max_concurrency: int
    capabilities: Sequence[str]

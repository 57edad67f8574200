"""``Nats-Msg-Id`` of everything published (``wire.md`` 3.3).

An id depends on the cause only, so that publishing the same thing twice, after a crash or a lost
acknowledgement, stores it once within the stream's duplicate window.
"""

from __future__ import annotations


def event(run: str, type: str, step: str = "", attempt: int = 0) -> str:  # noqa: A002
    """An event of a run's history; ``attempt`` 0 means that the event names none."""
    of = f"{run}.{step}.{type}" if step else f"{run}.{type}"
    return f"{of}.{attempt}" if attempt > 0 else of


def worker_continue(run: str, step: str, iteration: int, unix_ns: int) -> str:
    """``step.continue`` of a worker on NATS."""
    return f"{run}.{step}.continue.{iteration}.{unix_ns}"


def bridge_continue(run: str, step: str, unix_ns: int) -> str:
    """``step.continue`` of a worker behind the HTTP bridge."""
    return f"{run}.{step}.continue.bridge.{unix_ns}"


def cron_start(trigger: str, unix_s: int) -> str:
    """Start by a cron trigger: one for each trigger and minute, whoever fires it.

    Expressions with seconds, which are ours, fire more often; those are told apart by the second.
    """
    minute, second = divmod(unix_s, 60)
    return f"trigger.{trigger}.{minute}.{second}" if second else f"trigger.{trigger}.{minute}"


def manual_start(trigger: str, unix_ns: int) -> str:
    """Start by a trigger that somebody fired by hand."""
    return f"trigger.{trigger}.manual.{unix_ns}"


def trigger_fire(start: str) -> str:
    """The record of a fire whose start has the id ``start``."""
    return f"{start}.fire"


def http_start(trigger: str, key: str) -> str:
    """Start by an HTTP request that carried the idempotency key ``key``."""
    return f"http-idem-{trigger}-{key}"


def dispatch(run: str, step: str, number: int = 1) -> str:
    """A task. The first dispatch is named as in Go; later ones, ours, carry their number."""
    return f"{run}.{step}.queued" if number <= 1 else f"{run}.{step}.queued.{number}"


def sticky(run: str, step: str, number: int = 1) -> str:
    """A task for one particular worker."""
    return f"{run}.{step}.queued.sticky" if number <= 1 else f"{run}.{step}.queued.sticky.{number}"


def timer(run: str, name: str, attempt: int = 0) -> str:
    """A timer of a run."""
    return f"{run}.{name}.{attempt}" if attempt > 0 else f"{run}.{name}"


def scheduled(run: str) -> str:
    """The order to start a scheduled run."""
    return f"scheduled.{run}"


def dead(run: str, step: str, attempts: int) -> str:
    """The dead letter of a failed step."""
    return f"dlq:{run}:{step}:{attempts}"


def dead_history(stream_seq: int) -> str:
    """The dead letter of a history event that could not be applied."""
    return f"dlq:history:{stream_seq}"


def log(unix_ns: int, number: int) -> str:
    """A log record; ``number`` tells records of the same nanosecond apart."""
    return f"log.{unix_ns}.{number}"


def span(trace_id: str, span_id: str) -> str:
    """A span; ids in hex."""
    return f"{trace_id}.{span_id}"


def metric(name: str, unix_ns: int, number: int) -> str:
    """A metric at one time; ``number`` tells those of one moment apart."""
    return f"metric.{name}.{unix_ns}.{number}"

"""Subjects (``wire.md`` 3). Each function refuses what is not a clean token, so that no name can
widen a subscription or land in another's queue.
"""

from __future__ import annotations

import re

from dagnats.errors import InvalidError

_DOTTED = re.compile(r"[^\s*>.\x00-\x1f\x7f\ud800-\udfff]+(\.[^\s*>.\x00-\x1f\x7f\ud800-\udfff]+)*")
_KEY = re.compile(r"[-/_=.a-zA-Z0-9]+")
MAX_KEY = 512
"""Longest key, in characters: nats-server drops a client whose protocol line exceeds 4 KiB."""
_CLEAN: set[str] = set()
NO_RUN = "no-run"
"""Stands for the run id of spans that belong to no run."""


def _dotted(text: str, what: str) -> str:
    """``text`` if it consists of clean tokens; what was seen before is not looked at again."""
    if text in _CLEAN:
        return text
    if len(text) > 512 or not _DOTTED.fullmatch(text):
        raise InvalidError(f"{what} {text[:64]!r} cannot be part of a subject")
    if len(_CLEAN) < 10_000:
        _CLEAN.add(text)
    return text


def _token(text: str, what: str) -> str:
    if not text or "." in text or len(text) > 256 or not _DOTTED.fullmatch(text):
        raise InvalidError(f"{what} {text[:64]!r} cannot be a subject token")
    return text


def is_key(text: str) -> bool:
    """Whether a text may be the key of a bucket."""
    if len(text) > MAX_KEY:
        return False
    return bool(_KEY.fullmatch(text)) and text[0] != "." and text[-1] != "." and ".." not in text


def history(run_id: str) -> str:
    """Where the events of a run lie."""
    return f"history.{_token(run_id, 'run id')}"


def task(name: str, run_id: str, group: str = "") -> str:
    """The queue of a task type, or of one worker group of it."""
    middle = f"{_dotted(name, 'task')}.{_dotted(group, 'worker group')}" if group else name
    return f"task.{_dotted(middle, 'task')}.{_token(run_id, 'run id')}"


def task_filter(name: str, group: str = "") -> str:
    """Everything in the queue of a task type, or of one worker group of it."""
    suffix = f".{_dotted(group, 'worker group')}" if group else ""
    return f"task.{_dotted(name, 'task')}{suffix}.>"


def durable(name: str, group: str = "") -> str:
    """The consumer that all workers of a task type share (``wire.md`` 4.2)."""
    # Byte by byte, as the Go implementation does it: a letter of two bytes gives two underscores.
    raw = [part.replace(".", "-").encode(errors="replace") for part in (name, group)]
    parts = [re.sub(rb"[^A-Za-z0-9_-]", b"_", part).decode() for part in raw]
    return "workers-" + "-".join(part for part in parts if part)


def sticky(name: str, worker_id: str, run_id: str) -> str:
    """The queue of one worker for a run that is bound to it."""
    worker = _token(worker_id, "worker id")
    return f"sticky.{_dotted(name, 'task')}.{worker}.{_token(run_id, 'run id')}"


def dead(task_name: str, run_id: str, step_id: str) -> str:
    """Where the dead letter of a step goes."""
    return (
        f"dead.{_dotted(task_name, 'task')}.{_token(run_id, 'run id')}.{_dotted(step_id, 'step')}"
    )


def dead_history(event_type: str, run_id: str) -> str:
    """Where an event goes that could not be processed."""
    clean = [re.sub(r"[.*>\s\x00-\x1f\x7f]", "-", part)[:128] for part in (event_type, run_id)]
    return f"dead.orchestrator.{clean[0] or 'unknown'}.{clean[1] or 'unknown'}"


def timer_at(run_id: str, kind: str, step_id: str) -> str:
    """Where a timer waits. One step has one timer of a kind."""
    return f"sleep.at.{_token(run_id, 'run id')}.{_token(kind, 'timer')}.{_dotted(step_id, 'step')}"


def timer_fire(run_id: str) -> str:
    """Where a timer of a run arrives when it is due."""
    return f"sleep.fire.{_token(run_id, 'run id')}"


def cancelled(run_id: str) -> str:
    """Core subject on which workers hear that tasks of a run are no longer wanted."""
    return f"dagnats.cancelled.{_token(run_id, 'run id')}"


def http_response(run_id: str) -> str:
    """Core subject on which the answer of a ``respond`` step goes out."""
    return f"dagnats.http.response.{_token(run_id, 'run id')}"


def stream(run_id: str, step_id: str) -> str:
    """Core subject of what a running step streams."""
    return f"stream.{_token(run_id, 'run id')}.{_dotted(step_id, 'step')}"


def event(event_type: str) -> str:
    """Where users publish an event of a type."""
    return f"event.{_dotted(event_type, 'event type')}"


def scheduled(run_id: str) -> str:
    """Where a scheduled run is announced."""
    return f"scheduled.{_token(run_id, 'run id')}"


def sticky_filter(name: str, worker_id: str) -> str:
    """Everything in the private queue of one worker for a task type."""
    return f"sticky.{_dotted(name, 'task')}.{_token(worker_id, 'worker id')}.>"


def trigger_fire(trigger_id: str) -> str:
    """Where the fires of a trigger are recorded."""
    return f"trigger.fire.{_dotted(trigger_id, 'trigger id')}"


def log(service: str, severity: str) -> str:
    """Where a log record goes."""
    return f"telemetry.logs.{_token(service, 'service')}.{_token(severity.lower(), 'severity')}"


def debounce_at(trigger_id: str, key: str) -> str:
    """Where the end of a trigger's quiet period waits; one for each key."""
    return f"sleep.quiet.{_dotted(trigger_id, 'trigger id')}.{_token(key, 'debounce key')}"


def debounce_fire(trigger_id: str, key: str) -> str:
    """Where it arrives when it is due."""
    return f"sleep.debounce.{_dotted(trigger_id, 'trigger id')}.{_token(key, 'debounce key')}"


def span(service: str, run_id: str) -> str:
    """Where a span of a run goes, or one of no run."""
    return f"telemetry.spans.{_token(service, 'service')}.{_token(run_id or NO_RUN, 'run id')}"


def spans(run_id: str) -> str:
    """All spans of a run."""
    return f"telemetry.spans.*.{_token(run_id, 'run id')}"


def metric(service: str, name: str) -> str:
    """Where a metric goes."""
    return f"telemetry.metrics.{_token(service, 'service')}.{_dotted(name, 'metric')}"

"""Every subject there is (``wire.md`` 3.1).

Subjects and filters are plain concatenation, so a token that holds a wildcard, a dot or white
space would widen a subscription or reach somebody else's queue (trap 48). Each function here
refuses such tokens. Task types, worker groups, step ids, event types, trigger ids and timer
names may hold inner dots; everything else is one token.
"""

from __future__ import annotations

import re

from dagnats.errors import InvalidError

ALL_HISTORY = "history.>"
ALL_EVENTS = "event.>"
ALL_DEAD = "dead.>"
ALL_TIMER_FIRES = "sleep.fire.>"
ALL_SCHEDULED = "scheduled.*"
ALL_LOGS = "telemetry.logs.>"

MAX_NAME_BYTES = 255
"""Longest name in a subject. The server reads control lines of at most 4096 bytes."""

NO_TASK = "_"
"""Stands for the task in the dead letter of a step that has none (Go writes none, trap 35)."""

_UNCLEAN = r"\s.*>\x00-\x20\x7f-\x9f\ud800-\udfff"
_TOKEN = re.compile(rf"[^{_UNCLEAN}]+")
_NAME = re.compile(rf"[^{_UNCLEAN}]+(?:\.[^{_UNCLEAN}]+)*")
_PATTERN = re.compile(rf"(?:[^{_UNCLEAN}]+|\*)(?:\.(?:[^{_UNCLEAN}]+|\*))*(?:\.>)?|>")
_KEY = re.compile(r"[-/_=.a-zA-Z0-9]+")
_NOT_DURABLE = re.compile(rb"[^A-Za-z0-9_.-]")


def token(text: str, what: str = "name") -> str:
    """``text`` if it is one clean subject token.

    Raises:
        InvalidError: it is empty, too long, or holds a dot, wildcard, white space or control
            character.
    """
    return _checked(text, what, _TOKEN, "letters, digits, '-' and '_'")


def name(text: str, what: str = "name") -> str:
    """``text`` if it is one or more clean subject tokens with dots between them.

    Raises:
        InvalidError: as for :func:`token`, or the dots leave an empty token.
    """
    return _checked(text, what, _NAME, "letters, digits, '-', '_' and single inner dots")


def pattern(text: str, what: str = "subject") -> str:
    """``text`` if it is a subject filter: clean tokens, ``*``, and ``>`` at the end.

    Raises:
        InvalidError: it is not.
    """
    return _checked(text, what, _PATTERN, "clean tokens, '*' for one, '>' for the rest")


def _checked(text: str, what: str, rule: re.Pattern[str], allowed: str) -> str:
    if rule.fullmatch(text) is None:
        raise InvalidError(f"{what} {_shown(text)} cannot be part of a subject", f"use {allowed}")
    if len(text) > MAX_NAME_BYTES or len(text.encode()) > MAX_NAME_BYTES:
        raise InvalidError(
            f"{what} {_shown(text)} is longer than {MAX_NAME_BYTES} bytes", "shorten it"
        )
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= 64 else text[:61] + "...")


def valid_key(text: str) -> bool:
    """Whether ``text`` can be a key of a bucket (``wire.md`` 2)."""
    if _KEY.fullmatch(text) is None or len(text) > 4 * MAX_NAME_BYTES:
        return False
    return text[0] != "." and text[-1] != "." and ".." not in text


def key(text: str) -> str:
    """``text`` if it can be a key of a bucket.

    Raises:
        InvalidError: it cannot.
    """
    if not valid_key(text):
        raise InvalidError(
            f"{_shown(text)} cannot be a key",
            "use letters, digits and - / _ = with single inner dots",
        )
    return text


# -- subjects ------------------------------------------------------------------------------------


def history(run: str) -> str:
    """Where the events of a run lie."""
    return f"history.{token(run, 'run id')}"


def task(task: str, run: str, group: str = "") -> str:
    """Where a task waits for a worker, of a worker group if one is given."""
    return task_filter(task, group)[:-1] + token(run, "run id")


def task_filter(task: str, group: str = "") -> str:
    """What a worker for ``task``, in ``group`` if given, consumes."""
    queue = f"task.{name(task, 'task type')}"
    return f"{queue}.{name(group, 'worker group')}.>" if group else f"{queue}.>"


def durable(task: str, group: str = "") -> str:
    """The consumer that all workers for ``task`` in ``group`` share (``wire.md`` 4.2)."""
    return f"workers-{_sanitised(task)}" + (f"-{_sanitised(group)}" if group else "")


def _sanitised(text: str) -> str:
    return _NOT_DURABLE.sub(b"_", text.encode()).replace(b".", b"-").decode()


def sticky(task: str, worker: str, run: str) -> str:
    """Where a task waits for one particular worker."""
    return sticky_filter(task, worker)[:-1] + token(run, "run id")


def sticky_filter(task: str, worker: str) -> str:
    """What ``worker`` consumes of the sticky tasks."""
    return f"sticky.{name(task, 'task type')}.{token(worker, 'worker id')}.>"


def dead(task: str, run: str, step: str) -> str:
    """The dead letter of a failed step; ``task`` is empty for a step without one."""
    of = name(task, "task type") if task else NO_TASK
    return f"dead.{of}.{token(run, 'run id')}.{name(step, 'step id')}"


def dead_history(type: str, run: str) -> str:  # noqa: A002 - the word the wire uses
    """The dead letter of a history event that could not be applied (``wire.md`` 10.2)."""
    return f"dead.orchestrator.{_dashed(type) or 'unknown'}.{_dashed(run) or 'unknown'}"


def _dashed(text: str) -> str:
    return re.sub(rf"[{_UNCLEAN}]", "-", text)[:MAX_NAME_BYTES]


def event(type: str) -> str:  # noqa: A002 - the word the wire uses
    """Where events from outside of ``type`` are published."""
    return f"event.{name(type, 'event type')}"


def stream(run: str, step: str) -> str:
    """Where a running step streams its partial output (core NATS)."""
    return f"stream.{token(run, 'run id')}.{name(step, 'step id')}"


def http_response(run: str) -> str:
    """Where the ``respond`` step answers the HTTP trigger of a run (core NATS)."""
    return f"dagnats.http.response.{token(run, 'run id')}"


def trigger_fire(trigger: str) -> str:
    """Where the fires of a trigger are recorded."""
    return f"trigger.fire.{name(trigger, 'trigger id')}"


def scheduled(run: str) -> str:
    """The order to start a scheduled run."""
    return f"scheduled.{token(run, 'run id')}"


def timer_at(run: str, name: str) -> str:
    """Where a timer lies while it is pending. Ours: the message carries the schedule."""
    return f"sleep.at.{token(run, 'run id')}.{_timer_name(name)}"


def timer_fire(run: str, name: str) -> str:
    """Where NATS puts a timer that is due. Ours."""
    return f"sleep.fire.{token(run, 'run id')}.{_timer_name(name)}"


def _timer_name(text: str) -> str:
    return name(text, "timer name")


def log(service: str, severity: str) -> str:
    """Where log records of ``service`` go (``wire.md`` 11.2)."""
    return f"telemetry.logs.{token(service, 'service name')}.{token(severity.lower(), 'severity')}"


# -- the way back ----------------------------------------------------------------------------------


def run_of_history(subject: str) -> str:
    """The run whose history ``subject`` is."""
    return subject.removeprefix("history.")


def event_type(subject: str) -> str:
    """The type of the outside event published on ``subject``."""
    return subject.removeprefix("event.")


def parse_timer(subject: str) -> tuple[str, str]:
    """Run and timer name of a ``sleep.at`` or ``sleep.fire`` subject; empty if it is neither."""
    parts = subject.split(".", 3)
    if len(parts) < 4 or parts[0] != "sleep" or parts[1] not in ("at", "fire"):
        return "", ""
    return parts[2], parts[3]


def parse_log(subject: str) -> tuple[str, str]:
    """Service and severity of a log subject; empty if it is none."""
    parts = subject.split(".")
    if len(parts) != 4 or parts[:2] != ["telemetry", "logs"]:
        return "", ""
    return parts[2], parts[3]

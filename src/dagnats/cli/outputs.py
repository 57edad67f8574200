"""What commands print as JSON, where that is not what a service returns.

``docs/schema/output`` describes the output of every command; it is made from these types and those
of the services. What holds values of services is in ``reports.py``: this module is imported by
commands that need no server.
"""

from __future__ import annotations

from msgspec import Struct


class Output(Struct, kw_only=True, omit_defaults=True):
    """A document; what a field with a default says is left out while it says the default."""


class Validity(Output):
    """``workflow validate``: of what is not valid, why, and every problem where there are more."""

    valid: bool
    name: str = ""
    steps: int = 0
    error: str = ""
    problems: list[str] = []


class Ended(Output):
    """``run watch``, and ``run start --watch``: the last line, after one event a line."""

    run_id: str
    status: str


class Outputs(Output):
    """``run output``: text by step, left out while the run is not completed."""

    run_id: str
    status: str
    outputs: dict[str, str] | None = None


class Count(Output):
    """``run count``."""

    count: int


class CancelledRun(Output):
    """``run cancel``."""

    run_id: str
    cancelled: bool


class CancelledRuns(Output, kw_only=True):
    """``run cancel-all``: in a dry run ``cancelled`` are those that would be."""

    cancelled: list[str]
    skipped: list[str] = []
    total: int
    dry_run: bool


class TriggerMade(Output):
    """``trigger create``."""

    trigger_id: str


class TriggerChanged(Output):
    """``trigger update``, ``delete``, ``enable`` and ``disable``."""

    trigger_id: str
    action: str


class CronChecked(Output):
    """``trigger test``."""

    expression: str
    valid: bool
    error: str = ""
    timezone: str = ""
    next_times: list[str] | None = None


class ReplayedLetter(Output):
    """``dlq replay SEQ``."""

    sequence: int
    replayed: bool


class ReplayAction(Output):
    """``dlq watch``: one line each; ``attempt`` is how often the step was replayed by now."""

    action: str
    sequence: int
    task: str
    run_id: str
    attempt: int = 0


class ReplayTotals(Output):
    """``dlq watch``: the last line."""

    total_replayed: int
    total_exhausted: int


class Purged(Output):
    """``clean``."""

    streams_purged: int
    buckets_cleared: int
    errors: int


class DevLine(Output):
    """``dev``: one line each; ``time`` is in seconds since 1970."""

    event: str
    time: float
    text: str


class Script(Output):
    """``completion``."""

    shell: str
    script: str

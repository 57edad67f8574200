"""What a cron expression means, and what a trigger reacts to. Works offline."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Struct

from dagnats.errors import UsageError
from dagnats.model.cron import cron_problem, next_fires, zone, zone_problem
from dagnats.model.times import SECOND, format_time
from dagnats.model.trigger import TriggerDef

MAX_COUNT = 100
"""The most fire times that are shown (``cli-reference.txt``)."""


class CronTest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a cron expression means.

    Args:
        next_times: RFC 3339 with the zone's offset.
        labels: the same as ``2025-01-20 09:00 MST``.
        error: why it is not valid.
    """

    expression: str
    valid: bool = msgspec.field(default_factory=lambda: True)
    timezone: str = ""
    next_times: list[str] = []
    labels: list[str] = []
    error: str = ""


def explain_cron(expression: str, tz: str = "UTC", count: int = 5, now_ns: int = 0) -> CronTest:
    """What a cron expression means: whether it is valid, and when it fires next. Works offline.

    Args:
        expression: five fields, six with seconds, or a macro.
        tz: IANA zone.
        count: how many fire times, up to 100.
        now_ns: from when on; 0: now.

    Raises:
        UsageError: ``count`` is negative.
    """
    if count < 0:
        raise UsageError(f"--count must not be negative; got {count}")
    problem = zone_problem(tz) or cron_problem(expression)
    if problem:
        return CronTest(expression=expression, valid=False, error=problem)
    place = zone(tz)
    start = now_ns or int(datetime.now(tz=place).timestamp()) * SECOND
    fires = next_fires(expression, tz, start, min(count, MAX_COUNT))
    moments = [datetime.fromtimestamp(fire // SECOND, tz=place) for fire in fires]
    return CronTest(
        expression=expression,
        timezone=tz or "UTC",
        next_times=[moment.isoformat().replace("+00:00", "Z") for moment in moments],
        labels=[moment.strftime("%Y-%m-%d %H:%M %Z") for moment in moments],
    )


def config_text(trigger: TriggerDef) -> str:
    """What a trigger reacts to, in a word or two."""
    if trigger.cron is not None:
        return trigger.cron.expression
    if trigger.subject is not None:
        return trigger.subject.subject
    if trigger.webhook is not None:
        return trigger.webhook.path
    if trigger.http is not None:
        return f"{trigger.http.method} {trigger.http.path}"
    return trigger.external.kind if trigger.external is not None else ""


def next_fire(trigger: TriggerDef, now_ns: int) -> str:
    """When an enabled cron trigger fires next, RFC 3339; empty for all others."""
    cron = trigger.cron
    if cron is None or not trigger.enabled or cron_problem(cron.expression):
        return ""
    if zone_problem(cron.timezone):
        return ""
    fires = next_fires(cron.expression, cron.timezone, now_ns, 1)
    return format_time(fires[0]) if fires else ""

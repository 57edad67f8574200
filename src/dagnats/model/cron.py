"""Cron expressions, through croniter: five fields, names, steps, macros, optional seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dagnats.model.times import SECOND

MAX_LENGTH = 256
HORIZON_YEARS = 5
"""A time further away counts as never: ``0 0 30 2 *`` has none at all."""


def cron_problem(expression: str) -> str:
    """What is wrong with an expression; ``""`` when it is good."""
    from croniter import croniter

    fields = expression.split()
    if not expression.strip():
        return "cron expression must not be empty"
    if len(expression) > MAX_LENGTH:
        return f"cron expression has {len(expression)} characters (max {MAX_LENGTH})"
    if not expression.startswith("@") and len(fields) not in (5, 6):
        return (
            "dagnats cron expressions use 5 fields (minute hour day-of-month month day-of-week); "
            f"got {len(fields)}"
        )
    try:
        croniter(expression, datetime(2000, 1, 1, tzinfo=UTC))
    except (ValueError, KeyError) as error:
        return str(error)
    return ""


def zone_problem(name: str) -> str:
    """What is wrong with an IANA zone name; ``""`` (also for the empty name, UTC) when it is good."""
    try:
        zone(name)
    except (KeyError, ValueError, OSError):
        return f'"{name}" is not a valid timezone'
    return ""


def zone(name: str) -> ZoneInfo:
    """The zone of an IANA name; the empty name is UTC."""
    return ZoneInfo(name or "UTC")


def next_fires(expression: str, tz: str, after: int, count: int) -> list[int]:
    """The next ``count`` instants (ns since 1970) strictly after ``after``; fewer if there are fewer.

    Local times that a clock change skips fire at the next valid instant, repeated ones once.
    """
    from croniter import CroniterBadDateError, croniter

    place = zone(tz)
    start = datetime.fromtimestamp(after // SECOND, tz=place)
    limit = start + timedelta(days=366 * HORIZON_YEARS)
    walker = croniter(expression, start, max_years_between_matches=HORIZON_YEARS)
    fires: list[int] = []
    while len(fires) < count:
        try:
            moment = walker.get_next(datetime)
        except CroniterBadDateError:
            break
        if moment > limit:
            break
        instant = int(moment.timestamp()) * SECOND
        if instant > after and (not fires or instant > fires[-1]):
            fires.append(instant)
    return fires

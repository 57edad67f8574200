"""Cron expressions, through croniter: five fields, names, steps, macros, optional seconds first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from dagnats.model.times import SECOND

if TYPE_CHECKING:
    from croniter import croniter

MAX_LENGTH = 256
HORIZON_YEARS = 8
"""A gap longer than this counts as never; 29 February can be eight years away."""

LAST_YEAR = 9998
"""Nothing fires later, so that no date runs over its end in any zone."""

_ALPHABET = re.compile(r"[0-9A-Za-z*/,\-?# ]*")
_RANDOM = re.compile(r"(^|[ ,])[hr]($|[ ,/])", re.IGNORECASE)
_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_HOUR = 1
"""Index of the hour among the expanded fields."""


def cron_problem(expression: str) -> str:
    """What is wrong with an expression; ``""`` when it is good."""
    if not expression.strip():
        return "cron expression must not be empty"
    if len(expression) > MAX_LENGTH:
        return f"cron expression has {len(expression)} characters (max {MAX_LENGTH})"
    if expression.startswith("@"):
        known = expression in _MACROS
        return "" if known else f'unknown macro "{expression}" (valid: {", ".join(_MACROS)})'
    fields = len(expression.split())
    if fields not in (5, 6):
        return (
            "dagnats cron expressions use 5 fields (minute hour day-of-month month day-of-week), "
            f"or 6 with seconds first; got {fields}"
        )
    # `H` and `R` are croniter's hashed and random values: no two servers would agree on them.
    if not _ALPHABET.fullmatch(expression) or _RANDOM.search(expression):
        return f'"{expression}" is not a cron expression'
    try:
        _walker(expression, datetime(2000, 1, 1))  # noqa: DTZ001
    except (ValueError, KeyError) as error:
        return str(error)
    return ""


def zone_problem(name: str) -> str:
    """What is wrong with an IANA zone name; ``""`` when it is good. The empty name is UTC."""
    try:
        zone(name)
    except (KeyError, ValueError, OSError):
        return f'"{name[:64]}" is not a valid timezone'
    return ""


def zone(name: str) -> ZoneInfo:
    """The zone of an IANA name; the empty name is UTC."""
    return ZoneInfo(name or "UTC")


def next_fires(expression: str, tz: str, after: int, count: int) -> list[int]:
    """The next instants strictly after ``after``, in ns since 1970; fewer if there are fewer.

    A local time that a clock change skips fires at the first instant after the change, a repeated
    one fires the first time. Expressions for every hour (hour ``*``) follow real time instead:
    they would fall silent for the repeated hour.

    Args:
        expression: one that :func:`cron_problem` finds nothing wrong with.
        tz: IANA zone name, empty for UTC.
        after: nanoseconds since 1970.
        count: how many are wanted.
    """
    fires: list[int] = []
    for moment in _moments(expression, zone(tz), after):
        if len(fires) == count:
            break
        instant = int(moment.timestamp()) * SECOND
        if instant > after and (not fires or instant > fires[-1]):
            fires.append(instant)
    return fires


def _moments(expression: str, place: ZoneInfo, after: int) -> Iterator[datetime]:
    start = datetime.fromtimestamp(after // SECOND, tz=UTC)
    hourly = _walker(expression, datetime(2000, 1, 1)).expanded[_HOUR] == ["*"]  # noqa: DTZ001
    return _by_offset(expression, place, start) if hourly else _by_wall(expression, place, start)


def _walker(expression: str, start: datetime) -> croniter:
    from croniter import croniter

    return croniter(
        expression,
        start,
        second_at_beginning=True,
        max_years_between_matches=HORIZON_YEARS,
    )


def _matches(expression: str, start: datetime) -> Iterator[datetime]:
    """Matching times after ``start`` on a clock without zone."""
    from croniter import CroniterBadDateError

    walker = _walker(expression, start)
    while True:
        try:
            local: datetime = walker.get_next(datetime)
        except CroniterBadDateError:
            return
        if local.year > LAST_YEAR:
            return
        yield local


def _by_wall(expression: str, place: ZoneInfo, start: datetime) -> Iterator[datetime]:
    """Instants of the wall clock, each local time once."""
    local = start.astimezone(place).replace(tzinfo=None)
    for wall in _matches(expression, local):
        first = wall.replace(tzinfo=place).astimezone(UTC)
        second = wall.replace(tzinfo=place, fold=1).astimezone(UTC)
        # PEP 495: before a gap the two readings stand in reverse order, the change between them.
        yield first if first <= second else _change(place, second, first)


def _by_offset(expression: str, place: ZoneInfo, start: datetime) -> Iterator[datetime]:
    """Instants by real time: the wall clock of one offset until the offset changes."""
    offset = _offset(place, start)
    local = (start + offset).replace(tzinfo=None)
    while True:
        for wall in _matches(expression, local):
            moment = wall.replace(tzinfo=UTC) - offset
            if _offset(place, moment) != offset:
                start = _change(place, start, moment)
                break
            yield moment
            start = moment
        else:
            return
        offset = _offset(place, start)
        # One second back: the instant of the change may match itself.
        local = (start + offset - timedelta(seconds=1)).replace(tzinfo=None)


def _offset(place: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(place).utcoffset() or timedelta()


def _change(place: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first instant in ``(before, after]`` with another offset than ``before``."""
    offset = _offset(place, before)
    low, high = int(before.timestamp()), int(after.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(place, datetime.fromtimestamp(middle, tz=UTC)) == offset:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, tz=UTC)

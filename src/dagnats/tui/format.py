"""Numbers as the console shows them: short, right-alignable, with their unit (``tui.md`` 4.5)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

from dagnats.model.times import DAY, HOUR, MILLISECOND, MINUTE, SECOND
from dagnats.tui.theme import SPARKS

NONE = "—"
"""What is not there yet."""


def span(nanoseconds: int | None) -> str:
    """A duration in six characters at most: ``412ms``, ``8.6s``, ``7m12s``, ``1h32m``."""
    if nanoseconds is None:
        return NONE
    ns = max(nanoseconds, 0)
    if ns < SECOND:
        return f"{ns // MILLISECOND}ms"
    if ns < MINUTE:
        return f"{ns // (SECOND // 10) / 10:.1f}s"
    for big, unit, small, rest in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "m")):
        if ns >= big:
            return f"{ns // big}{unit}{ns % big // small:02d}{rest}"
    return f"{ns // MINUTE}m{ns % MINUTE // SECOND:02d}s"


def age(nanoseconds: int | None) -> str:
    """How long ago, coarser than :func:`span` below a minute so that it does not flicker."""
    if nanoseconds is None:
        return NONE
    if nanoseconds < MINUTE:
        return f"{max(nanoseconds, 0) // SECOND}s"
    return span(nanoseconds)


def count(number: int) -> str:
    """A whole number with thousands separated."""
    return f"{number:,}"


def short(number: float) -> str:
    """A number in at most five characters: ``842``, ``4.1k``, ``2.3M``."""
    for limit, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if abs(number) >= limit:
            value = number / limit
            return f"{value:.0f}{unit}" if value >= 100 else f"{value:.1f}{unit}"
    return f"{number:.0f}" if number == int(number) or number >= 100 else f"{number:.1f}"


def size(number: int) -> str:
    """Bytes: ``412 B``, ``1.2 KiB``."""
    if number < 1024:
        return f"{number} B"
    power = min(int(math.log(number, 1024)), 4)
    value, unit = number / 1024**power, ("", "KiB", "MiB", "GiB", "TiB")[power]
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def clock(nanoseconds: int | None, digits: int = 0) -> str:
    """UTC time of day, with ``digits`` of the second's fraction."""
    if nanoseconds is None:
        return NONE
    text = datetime.fromtimestamp(nanoseconds // SECOND, tz=UTC).strftime("%H:%M:%S")
    if digits:
        text += f".{nanoseconds % SECOND:09d}"[: digits + 1]
    return text


def date(nanoseconds: int | None) -> str:
    """UTC date and time of day to the second."""
    if nanoseconds is None:
        return NONE
    moment = datetime.fromtimestamp(nanoseconds // SECOND, tz=UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


def plural(number: int, word: str, words: str = "") -> str:
    """``1 run``, ``2 runs``, ``1,204 runs``."""
    return f"{number:,} {word if number == 1 else words or word + 's'}"


def spark(values: Sequence[float], width: int, ascii_only: bool = False) -> str:
    """A line of bars as high as the values, the newest at the right end.

    Args:
        values: oldest first; more than ``width`` are put together by their maximum.
        width: how many bars.
        ascii_only: draw with seven-bit characters.
    """
    if width <= 0:
        return ""
    bars = SPARKS[ascii_only]
    if len(values) > width:
        each = len(values) / width
        cuts = [round(at * each) for at in range(width + 1)]
        points = [max(values[a:b] or [0]) for a, b in pairwise(cuts)]
    else:
        points = [*([0.0] * (width - len(values))), *values]
    top = max(points, default=0)
    if top <= 0:
        return bars[0] * width
    last = len(bars) - 1
    return "".join(bars[min(last, round(value / top * last))] for value in points)


def bar(done: float, width: int, full: str, rest: str) -> tuple[str, str]:
    """The filled and the empty part of a bar; ``done`` is a share of 1."""
    filled = max(0, min(width, round(done * width)))
    if 0 < done < 1:
        filled = max(1, min(width - 1, filled))
    return full * filled, rest * (width - filled)

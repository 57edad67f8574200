"""How the value of a server key is read, whether it comes from YAML, the environment or a flag.

Each reader takes what YAML made of a value, or a text, and raises ``ValueError`` with the words
that follow ``nats_port: "x" ...`` in a message to the operator.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from dagnats.model.times import parse_duration

TEXT_LIMIT = 4096
"""Longest text value in characters; a PEM block fits."""

LIST_LIMIT = 64
"""Most entries any list may have before its own limit is looked at."""

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_OFF = ("", "0", "off", "disabled")
_SIZE = re.compile(r"(\d{1,19})\s*([kmgt]?i?b?)", re.IGNORECASE)
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_INT64_MAX = (1 << 63) - 1


def text(value: Any) -> str:
    """One line or block of text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("is no text")
    found = str(value).strip()
    if len(found) > TEXT_LIMIT:
        raise ValueError(f"is longer than {TEXT_LIMIT} characters")
    if any(ord(char) < 32 and char not in "\r\n\t" for char in found):
        raise ValueError("contains control characters")
    return found


def line(value: Any) -> str:
    """Text on one line."""
    found = text(value)
    if "\n" in found or "\r" in found:
        raise ValueError("has more than one line")
    return found


def flag(value: Any) -> bool:
    """A yes or no, as YAML's own or in one of the usual words."""
    if isinstance(value, bool):
        return value
    word = line(value).lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError("is neither true nor false")


def integer(low: int, high: int = _INT64_MAX) -> Callable[[Any], int]:
    """A reader of whole numbers within bounds, both allowed."""
    limits = f"from {low} to {high}" if high != _INT64_MAX else f"of at least {low}"

    def read(value: Any) -> int:
        found = line(value)
        if not re.fullmatch(r"[+-]?\d{1,19}", found) or not low <= int(found) <= high:
            raise ValueError(f"is not a whole number {limits}")
        return int(found)

    return read


def one_of(*allowed: Any) -> Callable[[Any], Any]:
    """A reader of one of a few values."""
    words = {str(choice).lower(): choice for choice in allowed}

    def read(value: Any) -> Any:
        found = line(value).lower()
        if found not in words:
            raise ValueError(f"is not one of {', '.join(words)}")
        return words[found]

    return read


port = integer(1, 65535)
"""A TCP port."""


def optional_port(value: Any) -> int:
    """A TCP port, or 0 for off."""
    return 0 if value is False or line(value).lower() in _OFF else port(value)


def size(value: Any) -> int:
    """Bytes: a number, or one with a unit such as ``10GiB``, ``512MB``, ``2g``.

    A unit with ``i`` counts by 1024, one with ``B`` alone by 1000, a bare letter by 1024.
    """
    match = _SIZE.fullmatch(line(value))
    if match is None or not 0 < (found := _bytes(*match.groups())) <= _INT64_MAX:
        raise ValueError("is not a size such as 1073741824 or 10GiB")
    return found


def _bytes(number: str, unit: str) -> int:
    unit = unit.lower()
    base = 1000 if unit.endswith("b") and "i" not in unit else 1024
    return int(number) * base ** _UNITS[unit.rstrip("b").rstrip("i")]


def retention(value: Any) -> int:
    """An age in ns such as ``30d``, ``12h``; 0, off and disabled mean for ever."""
    if value is False or line(value).lower() in _OFF:
        return 0
    found = _duration(line(value), days=True)
    if found < 0:
        raise ValueError("is negative")
    return found


def wait(value: Any) -> int:
    """A time to wait, in ns, from 1 s to 1 h."""
    found = _duration(line(value))
    if not 1_000_000_000 <= found <= 3_600_000_000_000:
        raise ValueError("is not a duration from 1s to 1h")
    return found


def sync(value: Any) -> str:
    """``always``, or an interval between 10 ms and an hour, kept as text for NATS."""
    found = line(value).lower()
    if found == "always":
        return found
    if not 10_000_000 <= _duration(found) <= 3_600_000_000_000:
        raise ValueError("is neither always nor an interval from 10ms to 1h")
    return found


def _duration(found: str, *, days: bool = False) -> int:
    try:
        return parse_duration(found, days=days)
    except ValueError:
        raise ValueError("is not a duration such as 30s, 2m or 12h") from None


def directory(value: Any) -> Path:
    """A path; ``~`` is the home directory, and what is relative counts from where we started."""
    found = line(value)
    if not found:
        raise ValueError("is no path")
    try:
        return Path(found).expanduser().absolute()
    except RuntimeError:
        raise ValueError("names a home directory that does not exist") from None


def address(value: Any) -> str:
    """``host:port`` or ``:port``; IPv6 in brackets. Kept as it was written."""
    found = line(value)
    split_address(found)
    return found


def split_address(found: str) -> tuple[str, int]:
    """Host (may be empty) and port of an address."""
    host, separator, number = found.rpartition(":")
    if not separator:
        raise ValueError("is not an address such as 127.0.0.1:8080 or :8080")
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif not re.fullmatch(r"[A-Za-z0-9._-]{0,253}", host):
        raise ValueError("is not an address such as 127.0.0.1:8080 or :8080")
    return host, port(number)


def urls(schemes: tuple[str, ...], most: int) -> Callable[[Any], tuple[str, ...]]:
    """A reader of addresses with a scheme: a YAML list, or a text with commas."""

    def read(value: Any) -> tuple[str, ...]:
        listed = isinstance(value, list)
        parts = cast("list[Any]", value) if listed else line(value).split(",")
        if len(parts) > max(most, LIST_LIMIT):
            raise ValueError(f"has more than {most} entries")
        found = tuple(_url(line(part), schemes) for part in parts if line(part))
        if len(found) > most:
            raise ValueError(f"has more than {most} entries")
        return found

    return read


def _url(found: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(found)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or " " in found:
        known = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"is not an address such as {schemes[0]}://host:port ({known})")
    return found


def url(*schemes: str) -> Callable[[Any], str]:
    """A reader of one or more addresses separated by commas, kept as one text."""
    many = urls(schemes, 10)
    return lambda value: ",".join(many(value))


def one_url(*schemes: str) -> Callable[[Any], str]:
    """A reader of one address, or of nothing."""
    many = urls(schemes, 1)
    return lambda value: "".join(many(value))


def file(value: Any) -> str:
    """The path of a file that can be read, or nothing."""
    found = line(value)
    if found and not Path(found).expanduser().is_file():
        raise ValueError("is not a file")
    return str(Path(found).expanduser().absolute()) if found else ""


def credentials(value: Any) -> str:
    """NATS credentials: the path of a file, or the content of one."""
    found = text(value)
    return found if is_inline(found) else file(found)


def is_inline(found: str) -> bool:
    """Whether credentials are the content itself and not a path."""
    return "-----BEGIN" in found

"""Arguments and what they hold: names, times, durations, JSON from the line, a file or a pipe."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from dagnats.errors import InvalidError, NotFoundError, UsageError
from dagnats.model.codec import parse_json
from dagnats.model.times import parse_duration, parse_time

MAX_BYTES = 8 * 1024 * 1024
"""The largest input that is read: what our server accepts as one message."""


def given(value: str, what: str) -> str:
    """``value``, which must not be empty.

    Raises:
        UsageError: it is.
    """
    if not value.strip():
        raise UsageError(f"{what} must not be empty")
    return value


def json_input(text: str, what: str = "input") -> bytes:
    """JSON from the command line, from ``@FILE``, or from standard input for ``-``.

    Raises:
        InvalidError: it is not JSON, or larger than 8 MiB.
        NotFoundError: there is no such file.
    """
    if text == "-":
        data = _bounded(sys.stdin.buffer.read(MAX_BYTES + 1) if sys.stdin else b"", what)
    elif text.startswith("@"):
        data = read_file(text[1:], what)
    else:
        data = text.encode()
    try:
        parse_json(data)
    except InvalidError as error:
        raise InvalidError(f"{what} is {error.message}", "quote it: '{\"key\": 1}'") from None
    return data


def read_file(path: str, what: str) -> bytes:
    """The bytes of a regular file.

    Raises:
        NotFoundError: there is no such file.
        InvalidError: it is no regular file, cannot be read, or is larger than 8 MiB.
    """
    try:
        # Opening a FIFO would wait for its writer.
        handle = os.open(Path(path).expanduser(), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(f"{what}: open {path}: no such file or directory") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidError(f"{what}: open {path}: {reason}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):  # Python opens no directory, even to ask.
        os.close(handle)
        raise InvalidError(f"{what}: {path} is not a regular file")
    with os.fdopen(handle, "rb") as file:
        return _bounded(file.read(MAX_BYTES + 1), f"{what} {path}")


def _bounded(data: bytes, what: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise InvalidError(f"{what} is larger than {MAX_BYTES} bytes")
    return data


def instant(text: str, option: str) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 option; ``None`` when it was not given.

    Raises:
        UsageError: it is no such time.
    """
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", "write it like 2025-01-15T09:00:00Z") from None


def duration(text: str, option: str, *, days: bool = False) -> int:
    """Nanoseconds of a duration option, which must be positive.

    Raises:
        UsageError: it is no duration, or not positive.
    """
    try:
        nanoseconds = parse_duration(text, days=days)
    except ValueError as error:
        raise UsageError(f"invalid {option}: {error}", "write it like 30s or 1h30m") from None
    if nanoseconds <= 0:
        raise UsageError(f"invalid {option}: {text} is not positive")
    return nanoseconds


def moment_or_age(text: str, option: str, now: int) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time, or of so long ago (``24h``, ``7d``).

    Raises:
        UsageError: it is neither.
    """
    try:
        parsed = parse_time(text)
    except ValueError:
        return now - duration(text, option, days=True)
    return parsed or 0


def json_lines(path: str) -> list[bytes]:
    """The JSON values of a JSONL file, one a line; blank lines are skipped.

    Raises:
        InvalidError: naming the first line that is not JSON.
    """
    values: list[bytes] = []
    for number, line in enumerate(read_file(path, "inputs").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            parse_json(line)
        except InvalidError as error:
            raise InvalidError(
                f"{path}, line {number}: {error.message}", "nothing was started"
            ) from None
        values.append(line.strip())
    return values


def whole(least: int, most: int | None = None) -> Callable[[str | int], int]:
    """A parser of whole numbers for an option, which names the value it refuses.

    Args:
        least: the smallest that is accepted.
        most: the largest; ``None``: any.
    """
    bounds = f"of {least} or more" if most is None else f"from {least} to {most}"

    def number(text: str | int) -> int:
        plain = str(text)
        digits = plain.removeprefix("-")
        value = int(plain) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None
        if value is None or value < least or (most is not None and value > most):
            raise typer.BadParameter(f"'{plain[:64]}' is not a whole number {bounds}")
        return value

    number.__name__ = "integer"
    return number

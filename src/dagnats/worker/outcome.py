"""What a handler's end means: a result, a failure, another iteration, a pause."""

from __future__ import annotations

import asyncio
import traceback
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from msgspec import Raw, Struct

from dagnats.errors import UsageError
from dagnats.model.codec import ABSENT
from dagnats.model.task import FailureType, StepFailedPayload
from dagnats.worker.values import InputError, OutputError, encode_output

MAX_ERROR = 4_000
"""Longest error text in a failure, in characters; the history is no place for a dump."""

_OURS = str(Path(__file__).parent)

MAX_TRACEBACK = 8_000
"""Longest traceback in a failure, in characters; its end is kept, where the cause stands."""

MIN_RETRY_AFTER_MS, MAX_RETRY_AFTER_MS = 100, 3_600_000
"""Bounds of the delay a worker may ask for (``wire.md`` 6.3)."""

MAX_PAUSE_S = 3_600.0
"""Longest pause, in seconds (``wire.md`` 13.2)."""


class NonRetryableError(Exception):
    """Raise it when trying again cannot help: the step fails at once, whatever its retry policy."""

    __module__ = "dagnats"  # Where users find it; failures name it so.


class RetryAfter(Exception):  # noqa: N818 - reads as what it asks for
    """Raise it to be tried again after a delay of your choice, within the step's retry budget.

    Args:
        delay: seconds, or a ``timedelta``; kept within 100 ms and one hour.
        message: why; becomes the recorded error.
    """

    __module__ = "dagnats"  # Where users find it; failures name it so.

    def __init__(self, delay: float | timedelta, message: str = "") -> None:
        self.delay_s = seconds(delay, "retry delay")
        super().__init__(message or f"retry after {self.delay_s:g} s")


class TaskCancelled(Exception):  # noqa: N818 - asyncio's and concurrent.futures' word for it
    """The task is no longer wanted: its run was cancelled, or has ended otherwise."""

    __module__ = "dagnats"  # Where users find it; failures name it so.


class Continue(Struct, frozen=True):
    """Return it from the handler of a loop step to ask for another iteration.

    Args:
        value: the next iteration's input; left out, the original input is given again.
    """

    value: Any = ABSENT


class Pause(Struct, frozen=True):
    """Return it to be given the same task again after ``delay`` (seconds or ``timedelta``).

    The step stays running and no retry is used up. The handler starts from the beginning:
    what it must remember belongs in a checkpoint.
    """

    delay: float | timedelta


class Completed(Struct, frozen=True):
    """The step is done, with this output."""

    output: Raw


class Continued(Struct, frozen=True):
    """The loop goes on, with this input if it is not absent."""

    output: Raw


class Paused(Struct, frozen=True):
    """The same task shall come again."""

    delay_ns: int


class Failed(Struct, frozen=True):
    """The attempt failed."""

    failure: StepFailedPayload


class Dropped(Struct, frozen=True):
    """Nobody wants to know any more."""


Outcome = Completed | Continued | Paused | Failed | Dropped


def of_result(value: Any) -> Outcome:
    """The outcome of a handler that returned ``value``."""
    try:
        match value:
            case Continue():
                return Continued(encode_output(value.value))
            case Pause():
                return Paused(int(_pause_seconds(value.delay) * 1e9))
            case _:
                return Completed(encode_output(value))
    except OutputError as error:
        return failed(str(error), FailureType.NON_RETRIABLE, error_type="OutputError")
    except UsageError as error:
        return failed(error.message, FailureType.NON_RETRIABLE, error_type="UsageError")


def of_error(error: BaseException, *, unwanted: bool) -> Outcome:
    """The outcome of a handler that raised.

    Args:
        error: what it raised; SystemExit and its like count as any other error.
        unwanted: the task was recalled while the handler ran.
    """
    if unwanted and isinstance(error, asyncio.CancelledError | TaskCancelled):
        return Dropped()
    if isinstance(error, RetryAfter):
        wanted = int(error.delay_s * 1000)
        delay = min(max(wanted, MIN_RETRY_AFTER_MS), MAX_RETRY_AFTER_MS)
        return Failed(_payload(error, FailureType.RETRY_AFTER, delay))
    permanent = isinstance(error, NonRetryableError | InputError)
    kind = FailureType.NON_RETRIABLE if permanent else FailureType.RETRIABLE
    return Failed(_payload(error, kind))


def failed(text: str, kind: FailureType, *, error_type: str) -> Failed:
    """A failure that no exception stands behind."""
    return Failed(StepFailedPayload(error=_bounded(text), failure_type=kind, error_type=error_type))


def seconds(value: float | timedelta, what: str) -> float:
    """A duration given as seconds or ``timedelta``, in seconds.

    Raises:
        UsageError: it is neither, or not a positive number.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < 1e9:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"{what} is {value!r}", "give a positive number of seconds or a timedelta")
    return float(number)


def _pause_seconds(delay: float | timedelta) -> float:
    length = seconds(delay, "pause")
    if length > MAX_PAUSE_S:
        raise UsageError(f"pause is {length:g} s", f"pause for at most {MAX_PAUSE_S:g} s")
    return length


def _payload(error: BaseException, kind: FailureType, retry_after_ms: int = 0) -> StepFailedPayload:
    return StepFailedPayload(
        error=_bounded(_text(error)),
        failure_type=kind,
        retry_after_ms=retry_after_ms,
        error_type=_type_name(error),
        traceback=_traceback(error),
    )


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"<{type(error).__name__} whose text cannot be shown>"
    if isinstance(error, KeyError) and text:  # It says the name of the key and nothing else.
        return f"{type(error).__name__}: {text}"
    return text or type(error).__name__


def _bounded(text: str) -> str:
    # A reader that meets a lone surrogate cannot decode the event.
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_ERROR else text[: MAX_ERROR - 1] + "…"


def _type_name(error: BaseException) -> str:
    kind = type(error)
    name = str(kind.__qualname__)[:200]
    return name if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{name}"


def _traceback(error: BaseException) -> str:
    try:
        frames = _from_the_handler_on(error.__traceback__)
        summary = traceback.TracebackException(type(error), error, frames, limit=-20)
        text = "".join(summary.format())
    except Exception:  # noqa: BLE001 - formatting calls the user's __str__ and __repr__
        return ""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_TRACEBACK else "…" + text[1 - MAX_TRACEBACK :]


def _from_the_handler_on(frames: TracebackType | None) -> TracebackType | None:
    """How the worker came to call the handler says nothing to who wrote it."""
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    return frames

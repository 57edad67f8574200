"""Errors as problem details (RFC 9457), with the codes and hints the command line shows too."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from msgspec import Struct
from starlette.responses import Response

from dagnats.errors import (
    AmbiguousError,
    ConflictError,
    DagnatsError,
    InvalidError,
    NotFoundError,
    RefusedError,
    TooLargeError,
    UnreachableError,
    UsageError,
)

MEDIA = "application/problem+json"

RETRY_AFTER_S = 1
"""What a client is told to wait that came at a bad moment."""

MAX_PROBLEMS = 100
"""How many broken rules one answer lists."""


class Problem(Struct, omit_defaults=True, frozen=True, kw_only=True):
    """What went wrong with a request.

    Args:
        type: kind of problem; ``about:blank`` says that the status tells it.
        title: the status in words.
        status: the HTTP status.
        detail: what is wrong with this request, with the offending value.
        code: stable name of the kind of error, the same as on the command line.
        hint: what to do about it.
        problems: every broken rule, where there are several.
    """

    type: str = msgspec.field(default_factory=lambda: "about:blank")
    title: str
    status: int
    detail: str = ""
    code: str = ""
    hint: str = ""
    problems: list[str] = []


class HttpError(DagnatsError):
    """An error that belongs to HTTP itself.

    Args:
        status: the HTTP status.
        message: what is wrong.
        hint: what to do.
        headers: further headers of the answer.
    """

    def __init__(
        self, status: int, message: str, hint: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.headers = headers or {}
        self.code = HTTPStatus(status).phrase.lower().replace(" ", "_")


_STATUS: tuple[tuple[type[DagnatsError], int], ...] = (
    (NotFoundError, 404),
    (AmbiguousError, 409),
    (ConflictError, 409),
    (RefusedError, 403),
    (TooLargeError, 413),
    (UnreachableError, 503),
    (UsageError, 400),
    (InvalidError, 400),
)


def status_of(error: DagnatsError) -> int:
    """The HTTP status of an error. A publish that nobody confirmed is worth another try: 503."""
    if isinstance(error, HttpError):
        return error.status
    if error.code == "publish":
        return 503
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def problem_response(error: DagnatsError, status: int = 0) -> Response:
    """The answer to a request that failed with ``error``.

    Args:
        error: what happened.
        status: another status than the error's own.
    """
    status = status or status_of(error)
    headers = dict(error.headers) if isinstance(error, HttpError) else {}
    if status in (429, 503):
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    listed = list(error.problems) if isinstance(error, InvalidError) else []
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=_text(error.message),
        code=error.code,
        hint=_text(error.hint),
        problems=[_text(text) for text in listed[:MAX_PROBLEMS]] if len(listed) > 1 else [],
    )
    return Response(msgspec.json.encode(problem), status, headers, MEDIA)


def _text(text: str) -> str:
    # What cannot be encoded came out of a request, and must not break the answer to it.
    return text.encode("utf-8", "backslashreplace").decode()

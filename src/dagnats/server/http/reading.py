"""Reading bodies: bounded in size, in time, and strict in form."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request

from dagnats.errors import InvalidError, TooLargeError
from dagnats.server.http.problems import HttpError

BODY_TIMEOUT_S = 15.0
"""How long a client may take to send its body, in seconds."""


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body.

    Args:
        request: where it comes from.
        limit: largest size in bytes.

    Raises:
        TooLargeError: there is more than ``limit``; the rest is not read.
        HttpError: see :func:`read_at_most`.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > limit:
        raise _too_large(limit)
    data = await read_at_most(request, limit + 1)
    if len(data) > limit:
        raise _too_large(limit)
    return data


async def read_at_most(request: Request, most: int) -> bytes:
    """The body, or its first ``most`` bytes if it is larger; the rest is not read.

    Raises:
        HttpError: it did not come in time, or the client went away.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size >= most:
                    break
    except TimeoutError:
        close = {"Connection": "close"}
        raise HttpError(
            408, f"the body did not arrive within {BODY_TIMEOUT_S:g} s", headers=close
        ) from None
    except ClientDisconnect:
        raise HttpError(400, "the client went away before the body was complete") from None
    return b"".join(parts)[:most]


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body is larger than {limit} bytes")


def decode_body(data: bytes, kind: Any) -> Any:
    """A JSON body as ``kind``.

    Raises:
        InvalidError: it is not JSON, or not of that shape; unknown keys are named.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidError(f"invalid body: {error}", "see /docs for its shape") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(f"invalid JSON: {error}") from None

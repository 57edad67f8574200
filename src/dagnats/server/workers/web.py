"""A web address as a step: the input is sent, the answer is the output (``engine.md`` CONF-6)."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import time
from urllib.parse import urlsplit

from msgspec import Raw

from dagnats import __version__
from dagnats.model.codec import ABSENT
from dagnats.services.documents import output_value
from dagnats.worker import NonRetryableError, RetryAfter
from dagnats.worker.context import SyncTaskContext

MAX_OUTPUT = 10 * 1024 * 1024
"""Largest answer, in bytes."""

MAX_ERROR = 500
"""How much of an error's answer becomes part of the step's error, in bytes."""

READ_S = 10.0
"""How long the other side may be silent between two parts of its answer, in seconds."""

READ = 64 * 1024

MAX_WAIT_S = 3600.0

_METADATA = (ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200"))
"""Addresses at which clouds tell a machine its secrets, besides the link-local ones."""


class AnswerError(Exception):
    """The answer was an error."""


class WebCall:
    """Sends a task to a web address.

    Args:
        url: ``http`` or ``https``.
        method: GET sends no body.
        timeout_s: how long a call may take, in seconds.
    """

    def __init__(self, url: str, method: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._method = method
        self._timeout_s = timeout_s

    def __call__(self, ctx: SyncTaskContext, input: Raw = ABSENT) -> object:  # noqa: A002
        """Call it; redirects are not followed.

        Raises:
            AnswerError, OSError: it did not work.
            RetryAfter: the other side asks to be left alone for a while.
            NonRetryableError: the address must not be called, or the answer is too large.
        """
        deadline = time.monotonic() + self._timeout_s
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=min(self._timeout_s, READ_S * 6))
        try:
            connection.connect()
            _check_peer(connection.sock)
            body = None if self._method == "GET" else bytes(input)
            connection.request(self._method, self._path, body, self._headers(ctx))
            return self._output(ctx, connection, deadline)
        except http.client.HTTPException as error:
            raise AnswerError(f"no HTTP answer: {type(error).__name__} {error}") from None
        finally:
            connection.close()

    def _output(
        self, ctx: SyncTaskContext, connection: http.client.HTTPConnection, deadline: float
    ) -> object:
        answer = connection.getresponse()
        limit = MAX_OUTPUT if 200 <= answer.status < 300 else MAX_ERROR
        data = bytearray()
        while part := answer.read1(READ):
            ctx.raise_if_cancelled()
            data += part
            if len(data) > limit:
                break
            if time.monotonic() > deadline:
                raise AnswerError(f"no whole answer within {self._timeout_s:g} s")
        if not 200 <= answer.status < 300:
            raise _error(answer, bytes(data))
        if len(data) > limit:
            raise NonRetryableError(f"the answer is larger than {limit} bytes")
        return output_value(bytes(data).strip())

    def _headers(self, ctx: SyncTaskContext) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"dagnats/{__version__}",
            "X-Dagnats-Run-Id": ctx.run_id,
            "X-Dagnats-Step-Id": ctx.step_id,
            "X-Dagnats-Attempt": str(ctx.attempt),
            "Idempotency-Key": ctx.idempotency_key,
        }


def _check_peer(connected: socket.socket) -> None:
    """Refuse addresses that only this machine can reach and that tell secrets.

    The connection is looked at, not the name: a name may change what it stands for.

    Raises:
        NonRetryableError: it is one of them.
    """
    address = ipaddress.ip_address(connected.getpeername()[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped.is_link_local or mapped in _METADATA:
        raise NonRetryableError(f"{mapped} is a link-local or metadata address")


def _error(answer: http.client.HTTPResponse, data: bytes) -> Exception:
    text = data[:MAX_ERROR].decode("utf-8", "replace").strip()
    message = f"HTTP {answer.status}: {text}" if text else f"HTTP {answer.status}"
    after = answer.headers.get("Retry-After", "")
    if answer.status in (429, 503) and after.isdigit() and 0 < int(after[:6]) <= MAX_WAIT_S:
        return RetryAfter(int(after), message)
    return AnswerError(message)

"""HTTP/1.1 connections that a slow or broken client cannot hold for ever."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.datastructures import Headers
from uvicorn.protocols.http.h11_impl import H11Protocol

from dagnats.server.http.gate import waits

HEAD_TIMEOUT_S = 10.0
"""How long a client may take to send the head of a request, in seconds."""

MAX_CONNECTIONS = 1000
"""Open connections at once; more are closed at once."""

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Protocol(H11Protocol):
    """uvicorn's, with a time limit for heads, a bound on connections, and half-closed clients."""

    _head_timer: asyncio.TimerHandle | None = None
    _unsent: int | None = None

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.write(_BUSY)
            transport.close()
            return
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request have come."""
        super().data_received(data)
        if self._in_request():
            self._unwatch_head()
        else:
            self._watch_head()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own signature
        """The client sends no more, or has left: nothing tells the two apart before we write.

        If its request is complete it still gets its answer; where that may take long, it has left.
        """
        if not self._in_request() or self.cycle.more_body:
            return False
        if waits(self.scope["path"], Headers(raw=self.headers)):
            return False
        self.cycle.keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._unwatch_head()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """Nothing was asked for a while: close, unless the client still reads its last answer."""
        left = self.transport.get_write_buffer_size()
        if not left:
            super().timeout_keep_alive_handler()
        elif self._unsent is None or left < self._unsent:
            self._unsent = left
            again = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
            self.timeout_keep_alive_task = again
        else:
            self.transport.abort()

    def _in_request(self) -> bool:
        # uvicorn sets the cycle with the first request only, whatever its annotation says.
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _watch_head(self) -> None:
        """Begin the time for the next head; bytes that trickle in do not begin it anew."""
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._too_slow)

    def _unwatch_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        self.transport.abort()  # Not close(): that would wait for a client that reads nothing.

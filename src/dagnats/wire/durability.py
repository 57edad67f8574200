"""How often a nats-server that is not ours puts what it acknowledged on disk.

It tells its system account, and whoever may ask its monitoring port; clients are not told.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import urlsplit

import msgspec

from dagnats.errors import UnreachableError
from dagnats.model.times import format_duration
from dagnats.wire.connection import Bus

MONITOR_PORT = 8222
"""Where nats-server listens for monitoring by convention."""

WAIT_S = 0.5
_LIMIT = 1024 * 1024


async def sync_mode(bus: Bus) -> str:
    """``always``, an interval such as ``2m0s``, or empty: the server does not say."""
    try:
        answer = await bus.request("$SYS.REQ.SERVER.PING.JSZ", b"", WAIT_S)
    except UnreachableError:
        answer = await _monitored(bus)
    try:
        told = msgspec.json.decode(answer)
        return _mode(told.get("data", told), bus)
    except (msgspec.MsgspecError, AttributeError, TypeError):
        return ""


def _mode(told: dict[str, Any], bus: Bus) -> str:
    server: str = told.get("server_id", "")
    if server != bus.server_id:
        return ""  # Somebody else's.
    config: dict[str, Any] = told.get("config", {})
    if config.get("sync_always"):
        return "always"
    return format_duration(config["sync_interval"]) if config.get("sync_interval") else ""


async def _monitored(bus: Bus) -> bytes:
    """What the monitoring port says, if there is one where it mostly is."""
    host = urlsplit(bus.connected_to).hostname
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_connection(host, MONITOR_PORT)
            try:
                writer.write(f"GET /jsz HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                answer = await reader.read(_LIMIT)
                while more := await reader.read(_LIMIT):
                    answer += more
                    if len(answer) > _LIMIT:
                        return b""
            finally:
                writer.close()
            return answer.partition(b"\r\n\r\n")[2]
    return b""

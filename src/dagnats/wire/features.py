"""What the connected nats-server can do, by the level of its JetStream API.

Measured against 2.10.26, 2.11.0, 2.12.2, 2.14.6 and 2.15.1.
"""

from __future__ import annotations

from msgspec import Struct

from dagnats.errors import RefusedError
from dagnats.wire.connection import Bus

_BATCHED_READS = 1
"""2.11: several messages with one direct get, and writes that depend on another subject."""

_SCHEDULES = 2
"""2.12: the server keeps a message until it is due."""

_RESET = 4
"""2.14: a consumer can be put back to what was acknowledged."""


class Features(Struct, frozen=True):
    """Level 0 is 2.10 and older, 1 is 2.11, 2 is 2.12, 4 is 2.14, 5 is 2.15."""

    level: int

    @property
    def schedules(self) -> bool:
        """Whether timers are scheduled messages; otherwise they wait in their consumer."""
        return self.level >= _SCHEDULES

    @property
    def reset(self) -> bool:
        """Whether consumers can be reset; otherwise they are made anew."""
        return self.level >= _RESET

    @staticmethod
    async def of(bus: Bus) -> Features:
        """The features of the connected server.

        Raises:
            RefusedError: it is too old.
        """
        if bus.api_level is None:
            bus.api_level = int((await bus.api("INFO")).get("api", {}).get("level", 0))
        level = bus.api_level
        if level < _BATCHED_READS:
            version = bus.nc.connected_server_version
            raise RefusedError(
                f"nats-server {version} is too old: dagnats needs 2.11 or newer",
                "upgrade it, or run 'dagnats serve' without nats_url to use the embedded one",
            )
        return Features(level)

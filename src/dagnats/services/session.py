"""One operator's connection: what every service function takes first."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from dagnats.services.contexts import ConnectSettings, resolve
from dagnats.wire.connection import Bus, connect, without_secrets
from dagnats.wire.stores import Stores


class Session:
    """A connection and the stores behind it.

    Args:
        bus: the connection.
        stores: the buckets and streams on it; made from ``bus`` if not given.
        actor: who acts, for the audit trail.
        warnings: what the user should be told about how the connection was found.
        clock: the time in ns since 1970; a recording is looked at as of when it was made.
    """

    def __init__(
        self,
        bus: Bus,
        stores: Stores | None = None,
        actor: str = "",
        warnings: tuple[str, ...] = (),
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.bus = bus
        self.stores = stores or Stores(bus)
        self.actor = actor or _default_actor()
        self.warnings = warnings
        self.clock = clock

    @property
    def url(self) -> str:
        """The address that was connected to, without passwords."""
        return without_secrets(self.bus.options.url)

    @property
    def server_version(self) -> str:
        """The version of the connected nats-server."""
        version = self.bus.nc.connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}"

    def now(self) -> int:
        """The time in ns since 1970: services have one clock."""
        return self.clock()


def _default_actor() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # A uid without a name, as in many containers.
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@asynccontextmanager
async def open_session(settings: ConnectSettings | None = None) -> AsyncGenerator[Session]:
    """Connect, hand out a session, and close it afterwards.

    Raises:
        UnreachableError: there is no server.
        NotFoundError, InvalidError: the settings name what does not exist or makes no sense.
    """
    resolved = resolve(settings or ConnectSettings())
    bus = await connect(resolved.options)
    try:
        yield Session(bus, warnings=resolved.warnings)
    finally:
        await bus.close()

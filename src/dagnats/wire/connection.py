"""One NATS connection, and the errors of connecting."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from dagnats.errors import DagnatsError, NotFoundError, UnreachableError

# nats-py loads aiohttp for websockets when it is there: 200 ms of start-up for nothing.
_BLOCKED = "aiohttp" not in sys.modules
if _BLOCKED:
    sys.modules["aiohttp"] = None  # pyright: ignore[reportArgumentType]

import nats.errors  # noqa: E402
from nats.aio.client import Client  # noqa: E402

if _BLOCKED:
    del sys.modules["aiohttp"]

NOT_FOUND = 404


class ConnectOptions(Struct, kw_only=True):
    """How to reach and log in to a server. ``timeout`` in seconds."""

    url: str = "nats://127.0.0.1:4222"
    creds: str = ""
    user: str = ""
    password: str = ""
    token: str = ""
    name: str = "dagnats"
    timeout: float = 2.0
    reconnect: bool = True


class Bus:
    """A connection and the JetStream API on it.

    Args:
        nc: the client.
    """

    def __init__(self, nc: Client) -> None:
        self.nc = nc
        self.on_reconnect: list[Callable[[], None]] = []
        self.on_disconnect: list[Callable[[], None]] = []

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, in bytes."""
        return self.nc.max_payload

    async def request(self, subject: str, data: bytes = b"", wait: float = 5.0) -> bytes:
        """Ask and wait for one answer.

        Raises:
            UnreachableError: nobody answered within ``wait`` seconds.
        """
        try:
            return (await self.nc.request(subject, data, timeout=wait)).data
        except (nats.errors.Error, TimeoutError) as error:
            raise UnreachableError(f"no answer on {subject}: {error or 'timed out'}") from None

    async def api(self, name: str, body: object = None, wait: float = 5.0) -> dict[str, Any]:
        """Call the JetStream API.

        Raises:
            NotFoundError: the stream, consumer or message does not exist.
            DagnatsError: the server refused.
        """
        data = b"" if body is None else msgspec.json.encode(body)
        answer = msgspec.json.decode(await self.request(f"$JS.API.{name}", data, wait))
        error = answer.get("error")
        if error is not None:
            text = f"{name}: {error.get('description', error)}"
            raise NotFoundError(text) if error.get("code") == NOT_FOUND else DagnatsError(text)
        return answer

    async def publish(
        self, subject: str, data: bytes, headers: dict[str, str] | None = None
    ) -> None:
        """Core publish: no acknowledgement, no storage."""
        await self.nc.publish(subject, data, headers=headers)

    async def close(self) -> None:
        """Flush and disconnect."""
        if not self.nc.is_closed:
            await self.nc.close()


async def connect(options: ConnectOptions) -> Bus:
    """Connect to a server.

    Raises:
        UnreachableError: there is no server, or it refused the credentials.
    """
    nc = Client()
    bus = Bus(nc)

    async def reconnected() -> None:
        for callback in list(bus.on_reconnect):
            callback()

    async def disconnected() -> None:
        for callback in list(bus.on_disconnect):
            callback()

    async def quiet(error: Exception) -> None:
        del error  # Every failure reaches its caller through the call that failed.

    try:
        await nc.connect(
            options.url,
            name=options.name,
            connect_timeout=options.timeout,  # pyright: ignore[reportArgumentType]
            allow_reconnect=options.reconnect,
            max_reconnect_attempts=1,
            reconnect_time_wait=0.1,  # pyright: ignore[reportArgumentType]
            reconnected_cb=reconnected,
            disconnected_cb=disconnected,
            error_cb=quiet,
            pending_size=64 * 1024 * 1024,
            **_login(options),
        )
    except (nats.errors.Error, OSError, TimeoutError, ValueError) as error:
        await nc.close()
        reason = f" ({error})" if "uthoriz" in str(error) else ""
        raise UnreachableError(
            f"cannot connect to NATS at {options.url}{reason}",
            "run 'dagnats serve' to start the server",
        ) from None
    if options.reconnect:
        # Only now: a first connection that is retried for ever would never say what is wrong.
        nc.options["max_reconnect_attempts"] = -1
    return bus


def _login(options: ConnectOptions) -> dict[str, Any]:
    given = {
        "user_credentials": options.creds,
        "user": options.user,
        "password": options.password,
        "token": options.token,
    }
    return {key: value for key, value in given.items() if value}

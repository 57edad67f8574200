"""One NATS connection, and the errors of connecting."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import sys
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from dagnats.errors import UnreachableError
from dagnats.wire import logins
from dagnats.wire.errors import ApiError, MissingError

# nats-py loads aiohttp for websockets when it is there: 200 ms of start-up for nothing.
_BLOCKED = "aiohttp" not in sys.modules
if _BLOCKED:
    sys.modules["aiohttp"] = None  # pyright: ignore[reportArgumentType]

import nats.errors  # noqa: E402

from dagnats.wire.lane import LaneClient  # noqa: E402
from dagnats.wire.publisher import Publisher  # noqa: E402

if _BLOCKED:
    del sys.modules["aiohttp"]

NOT_FOUND = 404

_REFUSED = re.compile(r'permissions violation for publish to "([^"]*)"')

TOLD = 10
"""Errors of a first connection that are kept, to say why it failed."""


class ConnectOptions(Struct, frozen=True, kw_only=True):
    """How to reach and log in to a server.

    Args:
        url: addresses, separated by commas; user and password may stand in them.
        creds: path of a credentials file.
        nkey_seed: path of a file with an nkey seed.
        tls_ca, tls_cert, tls_key: paths of PEM files.
        inbox_prefix: first tokens of reply subjects, where permissions demand others.
        name: what the server shows for this connection.
        timeout_s: how long connecting may take, in seconds.
        reconnect: whether a lost connection is made again.
    """

    url: str = "nats://127.0.0.1:4222"
    creds: str = ""
    user: str = ""
    password: str = ""
    token: str = ""
    nkey_seed: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    inbox_prefix: str = "_INBOX"
    name: str = "dagnats"
    timeout_s: float = 5.0
    reconnect: bool = True


_ALWAYS_ANSWERED = ("$JS.API.INFO", "$JS.API.STREAM.", "$JS.API.CONSUMER.")
"""Where a server with JetStream answers, whatever streams there are (unlike ``DIRECT.GET``)."""


class Bus:
    """A connection and the JetStream API on it.

    Args:
        nc: the client.
        options: how it connected.
    """

    def __init__(self, nc: LaneClient, options: ConnectOptions) -> None:
        self.nc = nc
        self.options = options
        self.publisher = Publisher(self)
        self.on_reconnect: list[Callable[[], None]] = []
        self.on_disconnect: list[Callable[[], None]] = []
        self.api_level: int | None = None
        """Of the server, once somebody asked; see :mod:`dagnats.wire.features`."""

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, in bytes."""
        return self.nc.max_payload

    @property
    def server_id(self) -> str:
        """The identity of the connected server."""
        info: dict[str, Any] = self.nc._server_info  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return str(info.get("server_id", ""))

    @property
    def connected_to(self) -> str:
        """The address of the server this connection has reached."""
        url = self.nc.connected_url
        return url.geturl() if url else ""

    @property
    def connected(self) -> bool:
        """Whether the connection stands right now."""
        return self.nc.is_connected

    async def request(self, subject: str, data: bytes = b"", wait: float = 5.0) -> bytes:
        """Ask and wait for one answer.

        Raises:
            UnreachableError: nobody answered within ``wait`` seconds.
        """
        try:
            return (await self.nc.request(subject, data, timeout=wait)).data
        except nats.errors.NoRespondersError:
            if subject.startswith(_ALWAYS_ANSWERED):
                raise UnreachableError(
                    f"NATS at {without_secrets(self.options.url)} has no JetStream",
                    "start it with JetStream (nats-server -js), or choose another with --server",
                ) from None
            raise UnreachableError(f"no answer on {subject}: nobody listens there") from None
        except (nats.errors.Error, TimeoutError) as error:
            raise UnreachableError(f"no answer on {subject}: {error or 'timed out'}") from None

    async def api(self, name: str, body: object = None, wait: float = 5.0) -> dict[str, Any]:
        """Call the JetStream API.

        Raises:
            MissingError: the stream, consumer or message does not exist.
            ApiError: the server refused.
        """
        data = b"" if body is None else msgspec.json.encode(body)
        answer = msgspec.json.decode(await self.request(f"$JS.API.{name}", data, wait))
        error = answer.get("error")
        if error is not None:
            text = f"{name}: {error.get('description', error)}"
            raise _missing(name, text) if error.get("code") == NOT_FOUND else ApiError(text)
        return answer

    async def publish(
        self, subject: str, data: bytes, headers: dict[str, str] | None = None
    ) -> None:
        """Core publish: no acknowledgement, no storage."""
        await self.nc.publish(subject, data, headers=headers)

    def publish_soon(self, subject: str, data: bytes) -> None:
        """Core publish without waiting, for acknowledgements: a lost one repeats the message."""
        with contextlib.suppress(nats.errors.Error):
            self.nc.send(b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(data), data))

    async def close(self) -> None:
        """Flush and disconnect."""
        if not self.nc.is_closed:
            # The server may be gone already: closed is closed.
            with contextlib.suppress(OSError):
                await self.nc.close()


async def connect(options: ConnectOptions) -> Bus:
    """Connect to a server.

    Raises:
        UnreachableError: there is no server, or it refused the credentials.
        InvalidError: a file of the login cannot be used.
    """
    context = _checked(options)
    nc = LaneClient()
    bus = Bus(nc, options)

    async def reconnected() -> None:
        bus.api_level = None  # It may be another server now.
        for callback in list(bus.on_reconnect):
            callback()

    async def disconnected() -> None:
        for callback in list(bus.on_disconnect):
            callback()

    told: list[str] = []

    async def quiet(error: Exception) -> None:
        # Every failure reaches its caller through the call that failed; these say why a first
        # connection does, and that a login may not publish.
        refused = _REFUSED.search(str(error))
        if refused:
            bus.publisher.refuse(refused[1])
        if len(told) < TOLD:
            told.append(str(error))
        if starting and len(servers) == 1 and isinstance(error, ssl.SSLError):
            limit.reschedule(0)  # Another try would end in the same way.

    servers, starting = options.url.split(","), True
    # Over TLS the client tries a server with a bad certificate for ever, and does not count.
    limit = asyncio.timeout((options.timeout_s + 0.5) * (len(servers) + 1))
    try:
        async with limit:
            await nc.connect(
                servers,
                name=options.name,
                inbox_prefix=options.inbox_prefix.encode(),
                connect_timeout=options.timeout_s,  # pyright: ignore[reportArgumentType]
                allow_reconnect=options.reconnect,
                max_reconnect_attempts=1,
                tls=context,
                reconnect_time_wait=0.1,  # pyright: ignore[reportArgumentType]
                reconnected_cb=reconnected,
                disconnected_cb=disconnected,
                error_cb=quiet,
                pending_size=64 * 1024 * 1024,
                **_login(options),
            )
            starting = False
    except (nats.errors.Error, OSError, TimeoutError, ValueError) as error:
        with contextlib.suppress(AssertionError):  # It may not have got as far as a connection.
            await nc.close()
        reason = _reason([str(error), *told])
        raise UnreachableError(
            f"cannot connect to NATS at {without_secrets(options.url)}{reason}",
            "run 'dagnats serve' to start the server",
        ) from None
    if options.reconnect:
        # Only now: a first connection that is retried for ever would never say what is wrong.
        nc.options["max_reconnect_attempts"] = -1
    return bus


def _checked(options: ConnectOptions) -> ssl.SSLContext | None:
    """The TLS settings; refuses files that cannot be used."""
    if options.creds:
        logins.check_creds(options.creds)
    if options.nkey_seed:
        logins.check_nkey(options.nkey_seed)
    return logins.tls_context(options.tls_ca, options.tls_cert, options.tls_key)


def _reason(texts: list[str]) -> str:
    """What is wrong with the login or the certificate, where that is known."""
    found = [text for text in texts if "uthoriz" in text or "certificate" in text.lower()]
    return f" ({found[0][:200]})" if found else ""


def _missing(call: str, text: str) -> MissingError:
    """What is not there, in the words of a person who looks at a server without our streams."""
    stream = call.removeprefix("STREAM.INFO.")
    if stream == call:
        return MissingError(text)
    kind, name = ("bucket", stream[3:]) if stream.startswith("KV_") else ("stream", stream)
    return MissingError(f"{kind} {name} is not provisioned", "run 'dagnats serve'")


def _login(options: ConnectOptions) -> dict[str, Any]:
    given = {
        "user_credentials": options.creds,
        "nkeys_seed": options.nkey_seed,
        "user": options.user,
        "password": options.password,
        "token": options.token,
    }
    return {key: value for key, value in given.items() if value}


def without_secrets(url: str) -> str:
    """An address without the user and password in it."""
    return re.sub(r"//[^@/,]*@", "//", url)

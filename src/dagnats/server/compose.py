"""The parts of a server, put together in the order in which they need each other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import msgspec

from dagnats.errors import DagnatsError, UnreachableError
from dagnats.model.codec import encode
from dagnats.model.records import ServerRecord
from dagnats.model.times import format_time
from dagnats.runtime.engine import Engine, EngineSettings, Transition
from dagnats.runtime.telemetry.exporter import Telemetry
from dagnats.server import ports, rooms
from dagnats.server.config import Loaded
from dagnats.server.datadir import DataDir
from dagnats.server.embedded import EmbeddedServer
from dagnats.server.natsconf import LOOPBACK, NatsSettings
from dagnats.server.progress import Listening, Progress
from dagnats.server.rooms import Context, Room
from dagnats.server.settings import Settings
from dagnats.server.values import is_inline
from dagnats.services import control
from dagnats.services.session import Session
from dagnats.services.status import SERVER_KEY
from dagnats.wire.connection import Bus, ConnectOptions, connect
from dagnats.wire.durability import sync_mode
from dagnats.wire.topology import provision

log = logging.getLogger("dagnats.server")
engine_log = logging.getLogger("dagnats.engine")

T = TypeVar("T")

QUORUM_S = 60.0
"""How long a cluster may take to agree on a leader (engine.md T-2)."""

_BAD = ("failed", "compensate_failed")
_VERBS = {"pending": "waits for a slot", "compensate_failed": "failed to compensate"}


class Server:
    """All of ``serve`` but the signals.

    Args:
        loaded: the configuration.
        progress: is told what happens.
        must_have_ports: a taken default port is an error as well.
    """

    def __init__(self, loaded: Loaded, progress: Progress, *, must_have_ports: bool) -> None:
        self._loaded = loaded
        self._settings = loaded.settings
        self._progress = progress
        self._must = must_have_ports
        self._context: Context | None = None
        self._engine: asyncio.Task[None] | None = None

    async def start(self, stack: AsyncExitStack) -> Listening:
        """Start everything; what has started is ended by ``stack``, also when this fails.

        Raises:
            DagnatsError: a part did not start.
        """
        self._progress.config(self._loaded.path)
        for warning in self._loaded.warnings:
            self._progress.warn(warning)
        http = self._http()
        options = await stack.enter_async_context(self._nats())
        bus = await stack.enter_async_context(self._connection(options))
        await self._provision(bus)
        session = Session(bus, actor="serve")
        await stack.enter_async_context(self._telemetry(session))
        if self._settings.paused:
            await control.pause(session)
            self._progress.step("dispatch is held; 'dagnats engine resume' lets it go on")
        await stack.enter_async_context(self._orchestrator(session))
        context = self._context = Context(self._settings, session, http, self._loaded.path)
        url = ""
        for make in rooms.ROOMS:
            room = await stack.enter_async_context(self._room(make(context)))
            url = url or room.url
        return await self._announce(context, url)

    def leave(self) -> None:
        """From now on we are not ready any more."""
        if self._context is not None:
            self._context.ready = False

    async def failure(self) -> None:
        """Wait until a part fails that the rest cannot be without.

        Raises:
            DagnatsError: the engine ended.
        """
        assert self._engine is not None
        await asyncio.wait({self._engine})
        error = None if self._engine.cancelled() else self._engine.exception()
        engine_log.error("engine ended", exc_info=error)
        raise DagnatsError(f"engine ended: {error or 'cancelled'}", "see the log; start it again")

    # --- ports --------------------------------------------------------------------------------

    def _http(self) -> tuple[str, int]:
        host, port = self._settings.http_bind
        return host, self._port("http_addr", host, port)

    def _port(self, name: str, host: str, port: int) -> int:
        choice = ports.choose(name, host, port, must=self._must or self._loaded.chosen(name))
        if choice.note:
            self._progress.warn(choice.note)
        return choice.port

    # --- nats ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def _nats(self) -> AsyncGenerator[ConnectOptions]:
        """Our own nats-server, or the way to somebody else's."""
        settings = self._settings
        if settings.nats_url:
            yield external(settings)
            return
        with DataDir(settings.data_dir) as data:
            server = EmbeddedServer(self._embedded(data))
            try:
                await server.start()
                self._progress.step("nats server started")
                yield ConnectOptions(url=server.url, name="dagnats-serve")
            finally:
                await server.stop()

    def _embedded(self, data: DataDir) -> NatsSettings:
        settings = self._settings
        for name in ("monitor_port", "nats_ws_port"):
            if number := getattr(settings, name):
                self._port(name, LOOPBACK, number)
        credentials = settings.leaf_credentials
        if is_inline(credentials):
            credentials = str(data.private_file("leaf.creds", credentials))
        return NatsSettings(
            data_dir=data.path,
            port=self._port("nats_port", LOOPBACK, settings.nats_port),
            sync=settings.sync,
            max_store_bytes=settings.max_store_bytes,
            max_memory_bytes=settings.max_memory_bytes,
            monitor_port=settings.monitor_port,
            ws_port=settings.nats_ws_port,
            ws_no_tls=settings.nats_ws_no_tls,
            leaf_remotes=settings.leaf_remotes,
            leaf_credentials=credentials,
            cluster_name=settings.nats_cluster_name,
            cluster_routes=settings.nats_cluster_routes,
            cluster_token=settings.nats_cluster_auth_token,
        )

    @asynccontextmanager
    async def _connection(self, options: ConnectOptions) -> AsyncGenerator[Bus]:
        try:
            bus = await connect(options)
        except UnreachableError as error:
            raise UnreachableError(error.message, "check nats_url and its credentials") from None
        self._progress.step("nats client connected")
        try:
            yield bus
        finally:
            self._progress.step("draining nats...")
            await bus.close()

    async def _provision(self, bus: Bus) -> None:
        settings = self._settings
        store = 0 if settings.nats_url else settings.max_store_bytes
        patience = QUORUM_S if settings.replicas > 1 else 0.0
        # What is there already is left alone, so beginning anew does no harm.
        for line in await _insist(lambda: provision(bus, store, settings.replicas), patience):
            log.warning("left as it is: %s", line)
        self._progress.step("streams and kv buckets ready")

    # --- what runs on it ----------------------------------------------------------------------

    @asynccontextmanager
    async def _telemetry(self, session: Session) -> AsyncGenerator[None]:
        telemetry = Telemetry(session.stores, endpoint=self._settings.otlp_endpoint)
        telemetry.start()
        self._progress.step("telemetry initialized")
        try:
            yield
        finally:
            await telemetry.stop()

    @asynccontextmanager
    async def _orchestrator(self, session: Session) -> AsyncGenerator[None]:
        settings = EngineSettings(
            runs_max_age=self._settings.runs_max_age,
            max_depth=self._settings.max_generation_depth,
        )
        engine = Engine(session.stores, settings, log_transition)
        task = self._engine = asyncio.create_task(engine.run(), name="engine")
        try:
            settled = asyncio.ensure_future(engine.settled())
            await asyncio.wait({settled, task}, return_when=asyncio.FIRST_COMPLETED)
            settled.cancel()
            if not task.done():
                self._progress.step(_begun(engine))
            yield
        finally:
            self._progress.step("stopping orchestrator...")
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})

    @asynccontextmanager
    async def _room(self, room: Room) -> AsyncGenerator[Room]:
        await room.start()
        self._progress.step(f"{room.name} started")
        try:
            yield room
        finally:
            self._progress.step(f"stopping {room.name}...")
            await room.stop()

    async def _announce(self, context: Context, url: str) -> Listening:
        settings, session = self._settings, context.session
        ours = not settings.nats_url
        sync = settings.sync if ours else await sync_mode(session.bus)
        if sync:
            record = ServerRecord(
                sync=sync, started_at=format_time(time.time_ns()), nats=session.url
            )
            await session.stores.engine_state.put(SERVER_KEY, encode(record))
        listening = Listening(
            nats=session.url,
            http=url,
            data_dir=str(settings.data_dir) if ours else "",
            sync=sync,
            config_file=str(self._loaded.path or ""),
        )
        context.ready = True
        log.info("server ready", extra={"about": msgspec.to_builtins(listening)})
        self._progress.banner(listening)
        return listening


def external(settings: Settings) -> ConnectOptions:
    """How to reach the NATS that the configuration names."""
    return ConnectOptions(
        url=settings.nats_url,
        creds=settings.nats_creds,
        user=settings.nats_user,
        password=settings.nats_password,
        token=settings.nats_token,
        nkey_seed=settings.nats_nkey,
        tls_ca=settings.nats_ca,
        tls_cert=settings.nats_cert,
        tls_key=settings.nats_key,
        name="dagnats-serve",
    )


def _begun(engine: Engine) -> str:
    if engine.holder is None:
        return "orchestrator started"
    return f"orchestrator stands by: active is {engine.holder.host} ({engine.holder.pid})"


async def _insist(work: Callable[[], Awaitable[T]], patience_s: float) -> T:
    """Repeat what nobody answers: a cluster elects a leader for everything it keeps."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return await work()
        except DagnatsError as error:
            if not patience_s:
                raise
            if time.monotonic() > deadline:
                raise DagnatsError(
                    f"the cluster found no quorum within {patience_s:.0f}s: {error.message}",
                    "check nats_cluster_routes and that the other servers run",
                ) from None
            await asyncio.sleep(0.5)


def log_transition(change: Transition) -> None:
    """One line in the log for every turn in the life of a run."""
    level = logging.ERROR if change.after in _BAD else logging.INFO
    about = {"run_id": change.run_id, "workflow": change.workflow}
    if change.error:
        about["error"] = change.error
    if change.trace_parent:
        about["traceparent"] = change.trace_parent
    engine_log.log(level, "run %s", _verb(change), extra={"about": about})


def _verb(change: Transition) -> str:
    if change.after == "running":
        return "reopened" if change.before in _BAD else "started"
    return _VERBS.get(change.after, change.after)

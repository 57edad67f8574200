"""The one place that follows the server. Screens read what it knows and never poll themselves.

Runs and dead letters are followed by sequence, so that what happened while the connection was gone
is read when it is back, and nothing is counted twice. Streams, queues and workers have no feed in
JetStream; they are looked at every two seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING

from dagnats.errors import DagnatsError, UnreachableError
from dagnats.model.times import MILLISECOND
from dagnats.model.workflow import WorkflowDef
from dagnats.services.contexts import ConnectSettings
from dagnats.services.run_live import run_changes, run_mark, runs_back, runs_of
from dagnats.services.run_rows import RunRow, row_of
from dagnats.services.session import Session, open_session
from dagnats.tui.feed.dead import KEEP as KEEP_DEAD
from dagnats.tui.feed.dead import DeadIndex
from dagnats.tui.feed.link import Link
from dagnats.tui.feed.pulse import Pulse
from dagnats.tui.feed.runs import RunIndex
from dagnats.tui.view import batched

if TYPE_CHECKING:
    from dagnats.services.health import Health

# What the first rows do not need is imported when it is: the console is there at once.

LOOK_S = 2.0
"""Seconds between two looks at what JetStream does not tell by itself."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
"""Seconds before a connection is tried again: at first, and at most."""

Opener = Callable[[], AbstractAsyncContextManager[Session]]

SHARE = 0.5
"""How much of the time reading back old runs may take, so that keys are answered meanwhile."""


class Feed:
    """Live data.

    Args:
        settings: where to connect.
        now: the clock, ns since 1970.
        recorded: opens a server that holds a recording, instead of connecting: nothing in it moves.

    Attributes:
        link: the connection.
        runs, dead, pulse: what is known of them.
        health: streams, queues, workers; ``None`` until it is known.
        flows: definitions by name; ``flows_read`` says whether they have been read.
        rate: events per second.
        version: grows with every change of anything.
        on_link, on_failure: called when the connection has changed, and when something of ours is
            broken.
    """

    def __init__(
        self,
        settings: ConnectSettings | None = None,
        now: Callable[[], int] = time.time_ns,
        *,
        recorded: Opener | None = None,
    ) -> None:
        self.settings = settings or ConnectSettings()
        self.now = now
        self.recorded = recorded is not None
        self._open: Opener = recorded or (lambda: open_session(self.settings))
        self.link = Link(since=now(), name=_named(self.settings))
        self.version = 0
        self._reset()
        self.on_link: Callable[[], None] = lambda: None
        self.on_failure: Callable[[BaseException], None] = lambda error: None
        self._session: Session | None = None
        self._stack = AsyncExitStack()
        self._up = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def _reset(self) -> None:
        """Know nothing."""
        self.runs = RunIndex()
        self.dead = DeadIndex()
        self.pulse = Pulse(self.now())
        self.health: Health | None = None
        self.flows: dict[str, WorkflowDef] = {}
        self.flows_read = False
        self.rate = 0.0
        self.seq = 0
        self._types: dict[str, dict[str, str]] = {}
        self._catching = False

    # For screens

    @property
    def session(self) -> Session:
        """The connection.

        Raises:
            UnreachableError: there is none now.
        """
        if self._session is None or not self.link.up:
            raise UnreachableError(f"not connected to {self.link.name or 'NATS'}", "wait, or :ctx")
        return self._session

    async def connected(self) -> Session:
        """The connection, waited for."""
        await self._up.wait()
        return self.session

    def types(self, workflow: str) -> dict[str, str]:
        """The types of a workflow's steps, by id."""
        return self._types.get(workflow, {})

    # Life

    def start(self) -> None:
        """Begin to connect and follow."""
        self._spawn(self._live())

    async def stop(self) -> None:
        """End everything and disconnect."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._up.clear()
        self._session = None
        await self._stack.aclose()

    async def switch(self, settings: ConnectSettings) -> None:
        """Leave this server, even one that does not answer, and go to another."""
        await self.stop()
        self.settings = settings
        self._stack = AsyncExitStack()
        self._reset()
        self.link.name = _named(settings)
        self._set("connecting")
        self.start()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.append(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.on_failure(error)

    async def _live(self) -> None:
        pause = FIRST_PAUSE_S
        while self._session is None:
            try:
                session = await self._stack.enter_async_context(self._open())
            except DagnatsError as error:
                self._set("offline", error.message)
                self.link.tries += 1
                await asyncio.sleep(pause)
                pause = min(pause * 1.6, LONGEST_PAUSE_S)
                continue
            session.clock = self.now
            self._session = session
        session = self._session
        session.bus.on_disconnect.append(self._lost)
        session.bus.on_reconnect.append(self._back)
        self.link.name = self.link.name or _without_scheme(session.url)
        self._set("recorded" if self.recorded else "live")
        self._up.set()
        for part in (self._follow_runs, self._follow_dead, self._look, self._follow_flows):
            self._spawn(self._kept(part))

    async def _kept(self, part: Callable[[], Awaitable[None]]) -> None:
        """Run a part; when it fails for want of a server, again once there is one."""
        while True:
            session = await self.connected()
            try:
                await part()
                return
            except DagnatsError as error:
                if session.bus.nc.is_connected:
                    self.link.error = error.message
                await asyncio.sleep(FIRST_PAUSE_S)

    def _lost(self) -> None:
        if self.link.state == "live":
            self._up.clear()
            self._set("offline", "the connection was lost")

    def _back(self) -> None:
        if self.link.state == "offline":
            self.link.away = self.now() - self.link.since
            self.link.missed = 0
            self._catching = True
            self._set("live")
            self._up.set()

    def _set(self, state: str, error: str = "") -> None:
        if state != self.link.state:
            self.link.since = self.now()
            self.link.tries = 0
        self.link.state, self.link.error = state, error
        self.link.heard = self.now() if state == "live" else self.link.heard
        self.version += 1
        self.on_link()

    def _heard(self) -> None:
        self.version += 1
        self.link.heard = self.now()

    # Runs

    async def _follow_runs(self) -> None:
        session = self.session
        if not self.flows_read:
            await self._read_flows()
        if not self.seq:
            self.seq = await run_mark(session)
            self._spawn(self._kept(self._read_back))
        async for batch in run_changes(session, self.seq):
            for change in batch.changes:
                if change.run is None:
                    self.runs.remove(change.run_id)
                else:
                    self._take(row_of(change.run, self.types(change.run.workflow_id)))
            self.seq = batch.seq
            if self._catching:
                self.link.missed += len(batch.changes)
            self._heard()

    def _take(self, row: RunRow) -> None:
        old = self.runs.put(row)
        if old is not row:
            self.pulse.changed(old, row)

    async def _read_back(self) -> None:
        """Every run there was at the start, the newest first, at a share of the time."""
        pages = runs_back(self.session)
        began = time.monotonic()
        async for page in pages:
            rows = [row_of(run, self.types(run.workflow_id)) for run in page]
            for row in self.runs.put_older(rows):
                self.pulse.changed(None, row)
            self._heard()
            took = time.monotonic() - began
            await asyncio.sleep(took * (1 - SHARE) / SHARE if len(self.runs) > 1_000 else 0)
            began = time.monotonic()
        self.runs.complete = True
        self._heard()

    # The rest

    async def _follow_dead(self) -> None:
        from dagnats.services.dlq import follow_dead

        session = self.session
        await self._read_dead()
        async for batch in batched(follow_dead(session, self.dead.last_seq)):
            self.dead.add(batch)
            self.dead.total += len(batch)
            self._heard()

    async def _read_dead(self) -> None:
        from dagnats.services.dlq import list_dead

        page = await list_dead(self.session, limit=KEEP_DEAD, newest=True)
        self.dead.replace(page.entries, page.total)
        self._heard()

    async def _look(self) -> None:
        while True:
            await self.look()
            if self.recorded:
                return
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look at streams, queues and workers now."""
        from dagnats.services.health import get_health

        before = self.health
        found = await get_health(self.session)
        if before is not None:
            seconds = max((found.at - before.at) / (1000 * MILLISECOND), 0.001)
            self.rate = max(0, found.events_seq - before.events_seq) / seconds
        self.health = found
        self.pulse.advance(self.now())
        self.pulse.queued(sum(queue.pending for queue in found.queues))
        if found.dead != self.dead.total and found.dead_seq <= self.dead.last_seq:
            await self._read_dead()  # Some were replayed or discarded.
        self._catching = False
        self._heard()

    async def _follow_flows(self) -> None:
        from dagnats.services.run_live import definition_changes

        async for _ in definition_changes(self.session):
            await self._read_flows()
            self._heard()

    async def _read_flows(self) -> None:
        from dagnats.services.workflows import list_workflows

        found = {flow.name: flow for flow in await list_workflows(self.session)}
        changed = {name for name, flow in found.items() if self.flows.get(name) != flow}
        self.flows, self.flows_read = found, True
        for name in changed:
            self._types[name] = {step.id: str(step.type) for step in found[name].steps}
        # What a run waits for shows in its definition: rows made without it are made anew.
        late = [row.run_id for row in self.runs.active.values() if row.workflow in changed]
        for run in await runs_of(self.session, late):
            self._take(row_of(run, self.types(run.workflow_id)))

    async def resync(self) -> None:
        """Forget what is known and read it again."""
        self.runs.clear()
        self.pulse = Pulse(self.now())
        await self.look()
        await self._read_dead()
        await self._read_back()


def _named(settings: ConnectSettings) -> str:
    """What the header calls a server before it has answered."""
    return settings.context or _without_scheme(settings.server)


def _without_scheme(url: str) -> str:
    return url.partition("://")[2] or url

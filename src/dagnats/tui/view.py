"""The base of every screen. :mod:`dagnats.tui.screens` tells how to write one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from textual.geometry import Size
from textual.widget import Widget

from dagnats.errors import DagnatsError
from dagnats.services.address import Address
from dagnats.services.session import Session
from dagnats.tui.actions import Action
from dagnats.tui.host import Host, host_of
from dagnats.tui.line import Line
from dagnats.tui.widgets.canvas import Canvas

T = TypeVar("T")

BATCH_S = 0.05
"""How long items of a followed stream are collected before they are handed on, in seconds."""

BATCH = 500
"""The most items handed on at once."""

WIDE, HUGE, SHORT = 100, 160, 29
"""Columns from which on two panes and three have room; rows below which there is little."""

AGAIN_S = 1.0
"""How long after a failure a stream is followed again, in seconds."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Something ``y`` can copy: the key after ``y``, what it is, and the text."""

    key: str
    what: str
    text: str


class View(Widget):
    """One screen: an address, some panes, and what keys do there.

    A view lives as long as it can be gone back to. While it is hidden it does nothing.

    Attributes:
        arrived: it is composed and has been given its address.
        mounting: what to wait for before it is composed.
        loaded: whether what was asked for is on the screen; ``--print`` and tests wait for it.
    """

    DEFAULT_CSS = "View { layout: vertical; height: 1fr; width: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes, markup=False)
        self.loaded = False
        self.arrived = False
        self.mounting: Awaitable[None] | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._streams: set[str] = set()

    @property
    def host(self) -> Host:
        """The application."""
        return host_of(self)

    def fit(self, size: Size) -> None:
        """Tell the style sheet how much room there is: ``-narrow``, ``-wide`` or ``-huge``.

        Args:
            size: of the terminal. Known before the view is laid out, so nothing jumps.
        """
        self.set_class(size.width < WIDE, "-narrow")
        self.set_class(size.width >= WIDE, "-wide")
        self.set_class(size.width >= HUGE, "-huge")
        self.set_class(size.height < SHORT, "-short")

    @property
    def is_wide(self) -> bool:
        """Whether there is room for two panes side by side."""
        return self.has_class("-wide")

    # What a screen overrides

    def navigate(self, address: Address) -> None:
        """Show what an address of this kind asks for; called each time the view is gone to."""

    def address(self) -> Address:
        """The address of what is shown now, filter and cursor included."""
        return Address(kind="home")

    def status(self) -> Line:
        """What stands at the right of the address: counts, or what is marked."""
        return Line()

    def flush(self) -> None:
        """Take over what changed in the feed; at most ten times a second, while visible."""

    def tick(self) -> None:
        """A second has passed: ages and durations have changed."""
        for pane in self.panes():
            pane.repaint()

    def actions(self) -> list[Action]:
        """What keys do anywhere in this view; the focused pane's own keys come before them."""
        return []

    def filter(self, text: str) -> None:
        """The text after ``/`` has changed."""

    def copies(self) -> list[Copy]:
        """What ``y`` offers here, besides the address and the command."""
        return []

    def command(self) -> str:
        """The command line that shows the same."""
        return ""

    def first_focus(self) -> Widget | None:
        """The pane that has the focus at first."""
        return next((pane for pane in self.panes() if pane.can_focus), None)

    # What a screen uses

    def panes(self) -> Iterable[Canvas]:
        """The panes that are displayed."""
        return [pane for pane in self.query(Canvas) if pane.is_on_screen]

    @property
    def is_whole(self) -> bool:
        """Whether its panes are there: while the application ends they go before it does."""
        return self.is_attached and bool(self.children)

    @property
    def is_current(self) -> bool:
        """Whether this is the screen that is shown."""
        return bool(self.display) and self.is_attached

    def changed(self) -> None:
        """The address, the counts or the keys have changed: repaint the frame around the view."""
        if self.is_current:
            self.host.refresh_chrome()

    def load(
        self,
        work: Callable[[Session], Awaitable[T]],
        then: Callable[[T], None],
        *,
        name: str = "load",
        delay: float = 0.0,
        failed: Callable[[DagnatsError], None] | None = None,
    ) -> None:
        """Read something from the server in the background.

        Args:
            work: reads it.
            then: takes it over, unless the view is gone.
            name: a load of the same name that is still under way is dropped.
            delay: seconds to wait first, for what follows the cursor.
            failed: takes an error; without it, the report line shows it.
        """
        self.spawn(name, self._loaded(work, then, delay, failed))

    async def _loaded(
        self,
        work: Callable[[Session], Awaitable[T]],
        then: Callable[[T], None],
        delay: float,
        failed: Callable[[DagnatsError], None] | None,
    ) -> None:
        if delay:
            await asyncio.sleep(delay)
        try:
            session = await self.host.feed.connected()
            found = await work(session)
        except DagnatsError as error:
            if not self.is_whole:
                return
            self.loaded = True
            if failed is not None:
                failed(error)
            else:
                self.host.report(error.message, "bad")
            return
        if self.is_whole:
            then(found)

    def follow(
        self,
        items: Callable[[Session], AsyncIterator[T]],
        then: Callable[[list[T]], None],
        *,
        name: str = "follow",
    ) -> None:
        """Follow a stream while the view lives; what arrives is handed on in batches.

        When the connection was lost, ``items`` is called again: let it begin behind the last
        sequence it saw, so that nothing is missed and nothing comes twice.

        Args:
            items: the stream, from where the view stands.
            then: takes over what arrived.
            name: a stream of the same name that is followed already is dropped.
        """
        self.spawn(name, self._followed(items, then))
        self._streams.add(name)

    async def _followed(
        self, items: Callable[[Session], AsyncIterator[T]], then: Callable[[list[T]], None]
    ) -> None:
        while True:
            session = await self.host.feed.connected()
            try:
                async for batch in batched(items(session)):
                    if not self.is_whole:
                        return
                    then(batch)
                return
            except DagnatsError:
                # The header shows that the connection is lost; when it is back we go on.
                await asyncio.sleep(AGAIN_S)

    @property
    def reading(self) -> bool:
        """Whether something is being read that comes to an end: the picture may still change."""
        return bool(self._tasks.keys() - self._streams)

    def spawn(self, name: str, work: Awaitable[None]) -> None:
        """Run something until it ends, the view is removed, or one of the same name is spawned."""
        self.stop(name)
        self._streams.discard(name)
        task = asyncio.ensure_future(work)
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._ended(name, done))

    def stop(self, name: str) -> None:
        """Drop what was spawned under a name."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            self.host.fail(error)

    def on_unmount(self) -> None:
        """Nothing outlives its view."""
        for name in list(self._tasks):
            self.stop(name)


async def batched(items: AsyncIterator[T]) -> AsyncIterator[list[T]]:
    """Items in batches: all that arrive within :data:`BATCH_S`, at most :data:`BATCH`."""
    queue: asyncio.Queue[T] = asyncio.Queue(maxsize=BATCH)

    async def pump() -> None:
        async for item in items:
            await queue.put(item)

    task = asyncio.ensure_future(pump())
    getter: asyncio.Future[T] | None = None
    try:
        while True:
            getter = asyncio.ensure_future(queue.get())
            await asyncio.wait({getter, task}, return_when=asyncio.FIRST_COMPLETED)
            if not getter.done():
                task.result()
                return
            batch = [getter.result()]
            await asyncio.sleep(BATCH_S)
            while not queue.empty():
                batch.append(queue.get_nowait())
            yield batch
    finally:
        waiting: list[asyncio.Future[Any]] = [task] if getter is None else [task, getter]
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

"""The console on a real server, driven by keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from dagnats.server.embedded import EmbeddedServer
from dagnats.services.contexts import ConnectSettings
from dagnats.services.session import Session
from dagnats.tui.app import Console
from dagnats.tui.feed.feed import Feed
from dagnats.tui.printing import rows_of
from dagnats.wire.stores import Stores
from tests.services.conftest import engine, worker, workflow

__all__ = ["engine", "worker", "workflow"]


class Driver:
    """A running console and the hands on its keyboard."""

    def __init__(self, app: Console, pilot: Pilot[Any]) -> None:
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Into the field that has the focus, all at once: key by key takes its time."""
        field = self.app.focused
        if isinstance(field, Input):
            field.insert_text_at_cursor(text)
            await self.pilot.pause()
        else:
            await self.pilot.press(*("space" if char == " " else char for char in text))

    async def until(self, condition: Callable[[], Any], timeout: float = 10.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "\n".join(self.screen())
            await self.pilot.pause()
            await asyncio.sleep(0.02)

    async def sees(self, text: str, timeout: float = 10.0) -> None:
        await self.until(lambda: any(text in row for row in self.screen()), timeout)

    async def loaded(self) -> None:
        await self.until(lambda: self.app.view is not None and self.app.view.loaded)

    def screen(self) -> list[str]:
        """What is on the screen, dialogs included, row by row."""
        size = self.app.size
        return [row.text.rstrip() for row in rows_of(self.app, size.width, size.height)]


Open = Callable[..., Any]


@pytest.fixture
async def session(stores: Stores) -> Session:
    return Session(stores.bus, stores, actor="tester")


@pytest.fixture
def console(nats_server: EmbeddedServer, stores: Stores) -> Open:
    """``async with console(":runs", size=(120, 36)) as ui`` is a console that shows an address."""

    @asynccontextmanager
    async def opened(
        address: str = "home", size: tuple[int, int] = (120, 36), **options: Any
    ) -> AsyncIterator[Driver]:
        feed = Feed(ConnectSettings(server=nats_server.url))
        app = Console(feed, address, **{"theme": "dagnats-dark", **options})
        async with app.run_test(size=size) as pilot:
            driver = Driver(app, pilot)
            await driver.loaded()
            yield driver

    return opened

"""``--watch`` on a list: the same picture again and again, until Ctrl+C."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dagnats.cli.execute import interruptible
from dagnats.cli.render.console import is_terminal, out
from dagnats.cli.state import current
from dagnats.errors import UsageError

T = TypeVar("T")
PERIOD_S = 2.0
ENTER, LEAVE, HOME = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l", "\x1b[H\x1b[J"


async def refreshing(
    fetch: Callable[[], Awaitable[T]], draw: Callable[[T], None], watch: bool
) -> None:
    """Fetch and draw once, or with ``watch`` until interrupted.

    On a terminal the alternate screen is used, and the last picture stays behind. In JSON every
    refresh is one document on a line; other formats for programs follow one another likewise.

    Raises:
        UsageError: a table was asked for, and there is no terminal to draw it on.
    """
    if not watch:
        draw(await fetch())
        return
    if not is_terminal() and current().human:
        raise UsageError("--watch needs a terminal", "leave it out, or add --json")
    await interruptible(_pictures(fetch, draw) if current().human else _documents(fetch, draw))


async def _documents(fetch: Callable[[], Awaitable[T]], draw: Callable[[T], None]) -> None:
    while True:
        if current().format == "yaml":
            out("---")
        draw(await fetch())
        await asyncio.sleep(PERIOD_S)


async def _pictures(fetch: Callable[[], Awaitable[T]], draw: Callable[[T], None]) -> None:
    latest = await fetch()
    out(ENTER, end="")
    try:
        while True:
            out(HOME, end="")
            draw(latest)
            await asyncio.sleep(PERIOD_S)
            latest = await fetch()
    finally:
        out(LEAVE, end="")
        draw(latest)

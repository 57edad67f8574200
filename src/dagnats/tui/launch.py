"""Starting the console in all its forms."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from dagnats.errors import UsageError
from dagnats.services.contexts import ConnectSettings
from dagnats.tui.app import Console
from dagnats.tui.driver import PromptDriver, prompt_escape
from dagnats.tui.feed.feed import Feed

RECORDED = "this is a recording"


class Launch(Struct, frozen=True, kw_only=True):
    """How the console was asked for.

    Args:
        settings: where to connect.
        address: the first screen.
        theme: empty: what suits the terminal.
        ascii_only: seven-bit glyphs.
        read_only: why nothing may be changed; empty: it may.
        replay: a recording to look at instead of a server.
        mouse: take the mouse; without it the terminal's own selection works.
        options: what reaches the same server from a shell.
        name: what the header calls the server; empty: its context or address.
    """

    settings: ConnectSettings
    address: str = "home"
    theme: str = ""
    ascii_only: bool = False
    read_only: str = ""
    replay: str = ""
    mouse: bool = True
    options: str = ""
    name: str = ""


def console(launch: Launch) -> Console:
    """The application, not running yet.

    Raises:
        NotFoundError, InvalidError: the recording is none.
    """
    if launch.replay:
        from dagnats.tui.replay import recorded_feed

        feed, read_only = recorded_feed(Path(launch.replay)), RECORDED
    else:
        feed, read_only = Feed(launch.settings), launch.read_only
        feed.link.name = launch.name or feed.link.name
    return Console(
        feed,
        launch.address,
        theme=launch.theme,
        ascii_only=launch.ascii_only,
        read_only=read_only,
        options=launch.options,
    )


def run(launch: Launch) -> int:
    """Take over the terminal until the user leaves.

    Raises:
        UsageError: there is no terminal that could be taken over.
    """
    if not _has_terminal():
        hint = "print a view instead: dagnats ui --print ':runs'"
        raise UsageError("the console needs a terminal", hint)
    prompt_escape()
    return asyncio.run(_run(launch))


def _has_terminal() -> bool:
    if "TEXTUAL_DRIVER" in os.environ:  # A browser is the terminal.
        return True
    both = sys.stdin.isatty() and sys.stdout.isatty()
    return both and os.environ.get("TERM") != "dumb"


def demo(launch: Launch) -> int:
    """Show a private server with traffic; nothing of it is left at the end.

    Raises:
        DagnatsError: it did not start.
    """
    from dagnats.demo.place import Place

    if not _has_terminal():
        raise UsageError("the console needs a terminal", "try 'dagnats demo' without one")
    with Place() as place:
        place.tell("Starting a private server with traffic …")
        place.serve()
        place.traffic()
        settings = ConnectSettings(server=place.url)
        options = f"-s {place.url}"
        private = msgspec.structs.replace(launch, settings=settings, options=options, name="demo")
        return run(private)


async def _run(launch: Launch) -> int:
    app = console(launch)
    if sys.platform != "win32" and "TEXTUAL_DRIVER" not in os.environ:
        app.driver_class = PromptDriver
        for number in (signal.SIGTERM, signal.SIGHUP):  # the window was closed: leave nothing
            asyncio.get_running_loop().add_signal_handler(number, app.action_leave)
    return await app.run_async(mouse=launch.mouse) or app.return_code or 0


async def show(launch: Launch, width: int, height: int, *, colours: bool) -> str:
    """A view as text."""
    from dagnats.tui.printing import printed

    return await printed(console(launch), width, height, colours=colours)

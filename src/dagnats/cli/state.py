"""What the shared options of one command line say."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagnats.services.session import Session

FORMATS = ("table", "wide", "json", "jsonl", "yaml", "name")


class State:
    """How to print, and where to connect.

    Attributes:
        format: one of :data:`FORMATS`.
        connect: arguments of ``ConnectSettings`` that were given.
        debug: whether an internal error shows its traceback.
    """

    def __init__(self) -> None:
        self.format = "table"
        self.connect: dict[str, str] = {}
        self.debug = bool(os.environ.get("DAGNATS_DEBUG"))

    @property
    def json(self) -> bool:
        """Whether standard output carries JSON and nothing else."""
        return self.format in ("json", "jsonl")

    @property
    def human(self) -> bool:
        """Whether a person reads standard output."""
        return self.format in ("table", "wide")


_current: ContextVar[State] = ContextVar("dagnats_cli_state")


def begin() -> State:
    """A fresh state for a new command line."""
    state = State()
    _current.set(state)
    return state


def current() -> State:
    """The state of the command line that runs."""
    return _current.get()


@asynccontextmanager
async def session() -> AsyncGenerator[Session]:
    """A connection as the shared options ask for it; its warnings go to standard error.

    Where ``--server`` names a stopped server's data directory or a recording, it is opened on a
    private server.

    Raises:
        UnreachableError: there is no server.
    """
    if offline():
        from dagnats.server.offline import open_store

        async with open_store(Path(current().connect["server"])) as opened:
            yield opened
        return
    import msgspec

    from dagnats.cli.render.console import warn
    from dagnats.services.contexts import ConnectSettings
    from dagnats.services.session import open_session

    settings = msgspec.convert(current().connect, ConnectSettings)
    async with open_session(settings) as opened:
        for warning in opened.warnings:
            warn(warning)
        yield opened


def offline() -> bool:
    """Whether ``--server`` names something on this machine instead of a server."""
    server = current().connect.get("server", "")
    return os.sep in server and "://" not in server and Path(server).exists()


def interactive() -> bool:
    """Whether there is a person at a terminal who can be asked."""
    return _is_terminal(sys.stdin) and _is_terminal(sys.stderr)


def _is_terminal(stream: object) -> bool:
    try:
        return bool(stream is not None and stream.isatty())  # type: ignore[attr-defined]
    except (AttributeError, ValueError):
        return False

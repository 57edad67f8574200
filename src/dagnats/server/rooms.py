"""What runs inside a server besides the engine: the HTTP API, triggers, configured workers.

``serve`` starts the rooms in the order of :data:`ROOMS` and stops them in reverse. A new room is a
new line here; ``serve`` itself does not change.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from dagnats.runtime.triggers.http import HttpTriggers
from dagnats.server.settings import Settings
from dagnats.services.session import Session


class Context:
    """What a room gets to know.

    Attributes:
        settings: the configuration.
        config_path: the file it comes from; rooms that reload their part of it watch this.
        session: the server's own connection.
        http_bind: host and port chosen for the HTTP API; a taken default was replaced already.
        ready: whether everything has started and nothing stops yet.
        triggers: answers requests below ``/hooks/`` and ``/api/``, once the triggers have started.
    """

    def __init__(
        self,
        settings: Settings,
        session: Session,
        http_bind: tuple[str, int],
        config_path: Path | None = None,
    ) -> None:
        self.settings = settings
        self.session = session
        self.http_bind = http_bind
        self.config_path = config_path
        self.ready = False
        self.triggers: HttpTriggers | None = None


class Room(Protocol):
    """A part of the server.

    Attributes:
        name: what is said when it starts and stops, e.g. ``trigger service``.
        url: where it listens; empty when it does not.
    """

    name: str
    url: str

    async def start(self) -> None:
        """Begin; return when it works. What it raises keeps the server from starting."""
        ...

    async def stop(self) -> None:
        """End in good order. Called once, and only after a start that succeeded."""
        ...


def _triggers(context: Context) -> Room:
    from dagnats.server.trigger_room import TriggerRoom

    return TriggerRoom(context)


def _reload(context: Context) -> Room:
    from dagnats.server.reload_room import ReloadRoom

    return ReloadRoom(context)


def _http(context: Context) -> Room:
    from dagnats.server.http.room import HttpRoom

    return HttpRoom(context)


def _micro(context: Context) -> Room:
    from dagnats.server.micro import MicroRoom

    return MicroRoom(context)


def _workers(context: Context) -> Room:
    from dagnats.server.workers.room import WorkersRoom

    return WorkersRoom(context)


ROOMS: tuple[Callable[[Context], Room], ...] = (
    *(_triggers, _reload, _micro, _workers),
    _http,  # the last to start and the first to stop: it calls the others
)
"""Makers of the rooms, in the order of their start."""

"""What screens and widgets may ask of the application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from textual.widget import Widget

from dagnats.services.address import Address
from dagnats.services.session import Session
from dagnats.tui.actions import Action
from dagnats.tui.theme import Look

if TYPE_CHECKING:
    from dagnats.tui.feed.feed import Feed
    from dagnats.tui.sheets.base import Sheet

T = TypeVar("T")
Undo = Callable[[], Awaitable[object]]


class Host(Protocol):
    """The application as its parts see it; :class:`dagnats.tui.app.Console` is the one there is.

    Attributes:
        look: theme and glyphs in force.
        feed: live data, shared by all screens.
        read_only: why nothing may be changed; empty when it may.
    """

    look: Look
    feed: Feed
    read_only: str

    @property
    def session(self) -> Session:
        """The connection.

        Raises:
            UnreachableError: there is none now.
        """
        ...

    def now(self) -> int:
        """The time, ns since 1970: recorded sessions and tests have their own."""
        ...

    def go(self, address: str | Address) -> None:
        """Show another screen, and remember this one."""
        ...

    def back(self) -> None:
        """Return to the screen before."""
        ...

    def report(self, text: str, role: str = "ok", undo: Undo | None = None) -> None:
        """Say in the report line what happened; ``undo`` makes ``u`` take it back for a while."""
        ...

    def blocked(self, action: Action) -> str:
        """Why an action cannot be done now; empty when it can."""
        ...

    def act(self, action: Action) -> None:
        """Do it, or say why not."""
        ...

    def act_by_id(self, action_id: str) -> None:
        """Do the action of that name, if it exists here: what a click on a link does."""
        ...

    def in_background(self, work: Awaitable[object], name: str = "") -> None:
        """Run something that reports its own end; an error of ours becomes a report."""
        ...

    async def ask(self, sheet: Sheet[T]) -> T | None:
        """Show a dialog and wait for its answer; ``None``: it was cancelled."""
        ...

    def copy(self, text: str, what: str) -> None:
        """Put text on the clipboard and report it."""
        ...

    def fail(self, error: BaseException) -> None:
        """Something of ours is broken: leave, and show the traceback."""
        ...

    def refresh_chrome(self) -> None:
        """Repaint header, address line and footer."""
        ...

    def extra_actions(self) -> Iterable[Action]:
        """Everything the palette offers beside what keys do here."""
        ...


def host_of(widget: Widget) -> Host:
    """The application a widget is part of."""
    return cast("Host", cast("Any", widget).app)

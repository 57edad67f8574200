"""Where the user has been: a list of places with a position in it, as in a browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagnats.services.address import Address
from dagnats.tui import screens
from dagnats.tui.sheets.base import Sheet
from dagnats.tui.view import View

if TYPE_CHECKING:
    from dagnats.tui.app import Console

KEEP = 50
"""Places that are remembered."""

VIEWS = 16
"""Views that are kept to be gone back to; older ones are made anew."""


@dataclass(slots=True)
class Place:
    """A view at an address."""

    address: Address
    view: View


class History:
    """Places, and the one that is shown."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._at = -1
        self._before: Place | None = None

    @property
    def current(self) -> Place | None:
        """What is shown."""
        return self._places[self._at] if self._at >= 0 else None

    @property
    def depth(self) -> int:
        """How many places can be gone back to."""
        return max(0, self._at)

    def push(self, place: Place) -> None:
        """Go to a new place; what was ahead is forgotten."""
        self._before = self.current
        del self._places[self._at + 1 :]
        self._places.append(place)
        del self._places[: max(0, len(self._places) - KEEP)]
        self._at = len(self._places) - 1

    def keep(self, address: Address) -> None:
        """Remember how the current place looks now."""
        if self.current is not None:
            self.current.address = address

    def step(self, by: int) -> Place | None:
        """Go back or forward; ``None`` if there is nothing there."""
        if not 0 <= self._at + by < len(self._places):
            return None
        self._before = self.current
        self._at += by
        return self.current

    def swap(self) -> Place | None:
        """The place that was shown last before this one."""
        return self._before


class Navigator:
    """Shows views by their address.

    Args:
        app: the application whose body they fill.
    """

    def __init__(self, app: Console) -> None:
        self._app = app
        self.history = History()

    @property
    def view(self) -> View | None:
        """The view that is shown."""
        return self.history.current.view if self.history.current else None

    @property
    def root(self) -> str:
        """The root screen that what is shown belongs to."""
        if self.history.current is None:
            return ""
        entry = screens.find(self.history.current.address.kind)
        return entry.root or entry.kind

    def go(self, wanted: Address) -> None:
        """Show another screen, and remember this one.

        Raises:
            NotFoundError: there is no such screen.
        """
        entry = screens.find(wanted.kind)
        self._remember()
        view = self._view_for(entry, wanted)
        self.history.push(Place(wanted, view))
        self._show(view, wanted)

    def step(self, by: int) -> None:
        """Go back or forward; back from the first place is home."""
        self._remember()
        place = self.history.step(by)
        if place is not None:
            if not place.view.is_attached:
                place.view = self._view_for(screens.find(place.address.kind), place.address)
            self._show(place.view, place.address)
        elif by < 0 and self.root != "home":
            self.go(Address(kind="home"))

    def forget(self) -> None:
        """Remove every view: what they show is of another server."""
        self.history = History()
        for view in self._app.query(View):
            view.remove()

    def swap(self) -> None:
        """Go to the place that was shown before this one."""
        place = self.history.swap()
        if place is not None:
            self.go(place.address)

    def _remember(self) -> None:
        if self.view is not None and self.view.arrived:
            self.history.keep(self.view.address())

    def _view_for(self, entry: screens.Entry, wanted: Address) -> View:
        """A view that shows this kind already, or a new one."""
        name = f"view-{entry.kind}"
        if entry.many:
            name += "-" + "-".join(wanted.ids).encode().hex()[:80]
        for view in self._app.query(View):
            if view.id == name:
                return view
        view = screens.make(entry)
        view.id = name
        view.display = False
        view.mounting = self._app.query_one("#body").mount(view)
        self._forget(view)
        return view

    def _forget(self, new: View) -> None:
        others = [view for view in self._app.query(View) if view not in (new, self.view)]
        for view in others[: max(0, len(others) + 2 - VIEWS)]:
            view.remove()

    def _show(self, view: View, address: Address) -> None:
        view.fit(self._app.size)
        for other in self._app.query(View):
            other.display = other is view
        self._app.pending = None
        self._app.call_next(self._arrive, view, address)

    async def _arrive(self, view: View, address: Address) -> None:
        if view.mounting is not None:
            await view.mounting
            view.mounting = None
        if view is not self.view or not view.is_attached:
            return
        view.arrived = True
        view.navigate(address)
        view.flush()
        screen = self._app.screen
        if not isinstance(screen, Sheet):
            screen.set_focus(view.first_focus(), scroll_visible=False)
        self._app.refresh_chrome()

"""Where the user has been: a list of places with a position in it, as in a browser."""

from __future__ import annotations

from dataclasses import dataclass

from dagnats.services.address import Address
from dagnats.tui.view import View

KEEP = 50
"""Places that are remembered."""


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

    def views(self) -> set[View]:
        """The views that can still be gone to."""
        return {place.view for place in self._places}

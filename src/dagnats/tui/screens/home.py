"""Home: is anything on fire, and what to do about it."""

from __future__ import annotations

from textual.app import ComposeResult

from dagnats.services.address import Address
from dagnats.tui.line import Line, line
from dagnats.tui.view import View
from dagnats.tui.widgets.text import Text


class Home(View):
    """The first screen."""

    def compose(self) -> ComposeResult:
        """One pane."""
        yield Text(self._lines)

    def address(self) -> Address:
        """There is one home."""
        return Address(kind="home")

    def flush(self) -> None:
        """Anything may have changed."""
        self.loaded = self.host.feed.runs.complete
        self.tick()

    def _lines(self, width: int) -> list[Line]:
        del width
        return [Line(), line(f"  {self.host.feed.runs.total} runs", "text bold")]

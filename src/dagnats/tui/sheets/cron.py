"""Trying a cron expression: what it means is shown as it is typed."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Input

from dagnats.model.times import read_time
from dagnats.services.cron_times import explain_cron
from dagnats.tui.actions import Action
from dagnats.tui.format import span
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.sheets.base import Fixed, Sheet

TIMES = 10
"""Fire times that are shown."""

EXAMPLES = "*/15 9-18 * * 1-5   0 3 * * *   @hourly   30 2 1 * *"


class CronTester(Sheet[None]):
    """An expression, a zone, and when that fires.

    Args:
        expression, zone: what stands there at first.
    """

    BINDINGS = [
        Binding("tab,down", "app.focus_next", show=False),
        Binding("shift+tab,up", "app.focus_previous", show=False),
    ]

    def __init__(self, expression: str = "", zone: str = "UTC") -> None:
        super().__init__("Try a cron expression")
        self._first = expression, zone or "UTC"

    def body(self) -> ComposeResult:
        """Two inputs, and what they mean."""
        yield Input(
            self._first[0],
            placeholder="minute hour day month weekday",
            id="cron",
            select_on_focus=False,
        )
        yield Input(
            self._first[1],
            placeholder="time zone, such as Europe/London",
            id="zone",
            select_on_focus=False,
        )
        yield Fixed(self._meaning, id="body")

    def on_mount(self) -> None:
        """Ready to type."""
        for box in self.query(Input):
            box.cursor_blink = False
        self.query_one("#body").styles.height = TIMES + 2
        self.query_one("#cron", Input).focus()

    def keys(self) -> list[Action]:
        """The other input."""
        return [
            Action(
                id="cron.zone",
                keys=("tab",),
                label="zone",
                title="Type the time zone",
                run=self.focus_next,
                group="Go",
            )
        ]

    def on_input_changed(self, event: Input.Changed) -> None:
        """What it means follows every key."""
        del event
        self.query_one("#body", Fixed).repaint()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes to the other input."""
        event.stop()
        self.focus_next()

    def _meaning(self, width: int) -> list[Line]:
        expression = self.query_one("#cron", Input).value.strip()
        zone = self.query_one("#zone", Input).value.strip() or "UTC"
        if not expression:
            return [Line(), line("For example:", "muted"), *wrapped(EXAMPLES, width, "text")]
        now = self.host.now()
        test = explain_cron(expression, zone, TIMES, now)
        if not test.valid:
            return [Line(), *wrapped(test.error, width, "bad", 4)]
        times = zip(test.next_times, test.labels, strict=False)
        return [Line(), *(_fire(at, label, now) for at, label in times)]


def _fire(at: str, label: str, now: int) -> Line:
    moment = read_time(at) or now
    return Line().gap(2).add(label, "text", width=26).gap().add(f"in {span(moment - now)}", "muted")

"""Home: is anything on fire, and what to do about it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from dagnats.model.times import SECOND
from dagnats.services.address import Address
from dagnats.services.run_rows import RunRow
from dagnats.tui.actions import Action
from dagnats.tui.feed.runs import RunIndex
from dagnats.tui.format import age, clock, span
from dagnats.tui.home.attention import Attention, attention, headline, longer_than_usual
from dagnats.tui.home.panels import pulse_lines, store_lines
from dagnats.tui.line import Line, line
from dagnats.tui.view import Copy, View
from dagnats.tui.widgets.table import Column, Table
from dagnats.tui.widgets.text import Make, Text

FAILURES, ACTIVE = 30, 30
"""Rows of the two lists of runs at most."""

PACE_NS = SECOND // 2
"""A summary that changes faster than this cannot be read."""


class Home(View):
    """The first screen: a sentence, what needs somebody, the last hour, and the newest runs."""

    DEFAULT_CSS = """
    Home #headline { height: 3; }
    Home #attention { height: 5; }
    Home #pulse { height: 8; }
    Home #below { height: 1fr; }
    Home #failures-title { height: 1; }
    Home #active-title { height: 2; }
    Home #store { width: 36%; max-width: 60; margin: 0 0 0 1; }
    Home #failures { height: 2fr; }
    Home #active { height: 3fr; }
    Home.-narrow #store { display: none; }
    Home.-short #headline { height: 2; }
    Home.-short #attention { height: 5; }
    Home.-short #pulse { height: 6; }
    Home.-short #active-title, Home.-short #active { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._items: list[Attention] = []
        self._flushed = 0

    def compose(self) -> ComposeResult:
        """Headline, attention, pulse; below them runs at the left and the store at the right."""
        self.attention = Table(
            self._attention_columns(), lambda item: item.key, heading=False, id="attention"
        )
        self.failures = Table(self._run_columns("ended"), _run_id, heading=False, id="failures")
        self.active = Table(self._run_columns("active"), _run_id, heading=False, id="active")
        for table in (self.attention, self.failures, self.active):
            table.quiet = True
        self.attention.eager = True
        self.attention.empty = self._calm
        self.failures.empty = lambda width: [line("Nothing has failed.", "muted")]
        self.active.empty = lambda width: [line("Nothing is running.", "muted")]
        fixed: dict[str, Make] = {
            "headline": self._headline,
            "pulse": self._pulse,
            "failures-title": lambda width: [_title("NEWEST FAILURES")],
            "active-title": lambda width: [Line(), _title(self._active_title())],
        }
        self.texts = {name: Text(make, focusable=False, id=name) for name, make in fixed.items()}
        self.texts["store"] = Text(self._store, ground="surface", focusable=False, id="store")
        yield self.texts["headline"]
        yield self.attention
        yield self.texts["pulse"]
        with Horizontal(id="below"):
            with Vertical():
                yield self.texts["failures-title"]
                yield self.failures
                yield self.texts["active-title"]
                yield self.active
            yield self.texts["store"]

    def _attention_columns(self) -> list[Column[Attention]]:
        look = self.host.look
        return [
            Column(title="", cell=lambda item: look.status(item.status), width=1, gap=1),
            Column(title="", cell=self._what, width=18),
            Column(title="", cell=lambda item: (item.where, "text"), width=20, flex=2),
            Column(title="", cell=lambda item: (item.detail, "muted"), width=16, flex=5, drop=2),
            Column(title="", cell=self._since, width=6, right=True, drop=1, gap=1),
        ]

    def _what(self, item: Attention) -> tuple[str, str]:
        role = self.host.look.status(item.status)[1]
        return item.what, f"{role} bold" if item.severity == 3 else role

    def _since(self, item: Attention) -> tuple[str, str]:
        return (age(self.host.now() - item.since) if item.since else ""), "muted"

    def _run_columns(self, kind: str) -> list[Column[RunRow]]:
        look, ended = self.host.look, kind == "ended"
        return [
            Column(title="", cell=lambda row: look.status(row.state), width=1, gap=1),
            Column(title="", cell=lambda row: (row.run_id[:8], "accent"), width=8),
            Column(title="", cell=lambda row: (row.workflow, "text"), width=14, flex=1),
            Column(title="", cell=lambda row: (row.step, "muted"), width=10, flex=1),
            Column(title="", cell=self._error if ended else self._usual, width=14, flex=4, drop=2),
            Column(title="", cell=self._ago if ended else self._takes, width=6, right=True, gap=1),
        ]

    def _error(self, row: RunRow) -> tuple[str, str]:
        return row.error, "muted"

    def _usual(self, row: RunRow) -> tuple[str, str]:
        usual, taken = self.host.feed.pulse.usual(row.workflow), row.duration(self.host.now())
        if not usual or not taken:
            return "", "muted"
        late = row.state == "running" and taken > 2 * usual
        times = f"{self.host.look.glyph('up')} {taken / usual:.1f}× " if late else ""
        return f"{times}usually {span(usual)}", "warn" if late else "muted"

    def _ago(self, row: RunRow) -> tuple[str, str]:
        return age(self.host.now() - row.ended_ns), "muted"

    def _takes(self, row: RunRow) -> tuple[str, str]:
        return span(row.duration(self.host.now())), "text"

    # Lines

    def _headline(self, width: int) -> list[Line]:
        status, lead, rest = headline(self._items, self.host.feed)
        glyph, role = self.host.look.status(status)
        row = Line().gap(2).add(f"{glyph} {lead}", f"{role} bold").gap()
        now = Line().add(f"as of {clock(self.host.now())}Z ", "faint")
        room = width - row.width - (now.width + 2 if width >= 100 else 1)
        row.add(rest, "text", most=max(10, room))
        if width >= 100:
            row.right(now, width)
        rows = [] if "-short" in self.classes else [Line()]
        return [*rows, row, _attention_title(len(self._items), width)]

    def _calm(self, width: int) -> list[Line]:
        del width
        if not self.host.feed.link.up:
            return [line(self.host.feed.link.error or "connecting…", "muted")]
        if not self.host.feed.runs.total and self.host.feed.runs.complete:
            return [
                line("No run yet. Start one:", "text"),
                line("dagnats run start WORKFLOW '{}'   or   dagnats ui --demo", "accent"),
            ]
        return [line("Nothing needs you.", "muted")]

    def _pulse(self, width: int) -> list[Line]:
        rows = pulse_lines(self.host.feed, self.host.look, width)
        return rows if "-short" in self.classes else [Line(), *rows]

    def _active_title(self) -> str:
        slow = longer_than_usual(self.host.feed, self.host.now())
        return "RUNNING LONGER THAN USUAL" if slow else "UNDER WAY"

    def _store(self, width: int) -> list[Line]:
        return store_lines(self.host.feed, self.host.look, width)

    # The view

    def address(self) -> Address:
        """There is one home."""
        return Address(kind="home")

    def command(self) -> str:
        """The health of the system."""
        return "dagnats status --detail"

    def flush(self) -> None:
        """Take over what changed."""
        feed, now = self.host.feed, self.host.now()
        if self.loaded and not feed.recorded and now - self._flushed < PACE_NS:
            return
        self._flushed = now
        feed.pulse.advance(now)
        self._items = attention(feed)
        self.attention.show(self._items)
        newest = feed.pulse.newest_failures(FAILURES)
        self.failures.show([row for row in newest if _still(feed.runs, row)])
        self.active.show(self._under_way(now))
        self.loaded = feed.runs.complete and (feed.health is not None)
        for pane in self.texts.values():
            pane.repaint()

    def _under_way(self, now: int) -> list[RunRow]:
        slow = [row for row, _ in longer_than_usual(self.host.feed, now)]
        if slow:
            return slow[:ACTIVE]
        rows = [row for row in self.host.feed.runs.active.values() if row.state != "queued"]
        return sorted(rows, key=lambda row: (row.created_ns, row.run_id))[:ACTIVE]

    def tick(self) -> None:
        """Minutes pass."""
        self.flush()

    def actions(self) -> list[Action]:
        """Explain what is under the cursor, and lead to the runs."""
        return [
            Action(
                id="home.quiet",
                keys=("w",),
                label="why?",
                title="What the thing under the cursor is about",
                run=self._explain,
            ),
        ]

    def _explain(self) -> None:
        item = self.attention.current if self.attention.has_focus else None
        row = self._row
        if item is not None:
            self.host.report(f"{item.where}: {item.what}. {item.detail}", "text")
        elif row is not None:
            self.host.go(f"run {row.run_id}")

    @property
    def _row(self) -> RunRow | None:
        for table in (self.failures, self.active):
            if table.has_focus:
                return table.current
        return None

    def on_table_opened(self, event: Table.Opened) -> None:
        """Go to the thing."""
        if event.table is self.attention:
            if self.attention.current is not None:
                self.host.go(self.attention.current.address)
        elif event.table.current is not None:
            self.host.go(f"run {event.table.current.run_id}")

    def copies(self) -> list[Copy]:
        """What is under the cursor."""
        item, row = self.attention.current, self._row
        if row is not None:
            return [Copy("y", "run id", row.run_id), Copy("e", "error", row.error)]
        if item is not None:
            return [Copy("y", "text", f"{item.where}: {item.what}. {item.detail}")]
        return []

    def first_focus(self) -> Widget | None:
        """What needs somebody."""
        return self.attention


def _run_id(row: RunRow) -> str:
    return row.run_id


def _still(runs: RunIndex, row: RunRow) -> bool:
    """Whether a run is as it was when it failed: it was not replayed since."""
    now = runs.get(row.run_id)
    return now is not None and now.status == row.status


def _title(text: str) -> Line:
    return Line().gap(2).add(text, "muted bold")


def _attention_title(number: int, width: int) -> Line:
    row = Line().gap(2).add("ATTENTION", "muted bold").gap(2)
    row.add(str(number) if number else "", "text")
    return row.right(Line().add("worst first ", "faint"), width) if number else row

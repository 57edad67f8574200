"""All runs, live: filtered as one types, marked, and steered one by one or many at a time."""

from __future__ import annotations

import shlex

import msgspec
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from dagnats.errors import DagnatsError
from dagnats.services.address import Address, format_address
from dagnats.services.run_filter import run_filter
from dagnats.services.run_query import RunView, get_run
from dagnats.services.run_rows import RunRow
from dagnats.tui.actions import Action
from dagnats.tui.format import age, bar, count, plural, span
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.runs.facets import strip
from dagnats.tui.runs.keys import run_list_actions
from dagnats.tui.runs.listing import Listing
from dagnats.tui.runs.peek import peek_lines
from dagnats.tui.view import Copy, View
from dagnats.tui.widgets.table import Column, Table
from dagnats.tui.widgets.text import Text

PEEK_S = 0.08
"""How long the cursor rests before the run under it is read, in seconds."""

BAR = 10
"""Cells of the progress bar."""


class Runs(View):
    """The list of runs, with the one under the cursor at its side.

    Attributes:
        table: the list.
        row: the run under the cursor.
    """

    DEFAULT_CSS = """
    Runs #list { width: 1fr; }
    Runs #strip, Runs #hint { height: 1; }
    Runs #peek { width: 32%; max-width: 64; display: none; }
    Runs.-wide #peek { display: block; }
    Runs.-wide.-away #peek { display: none; }
    Runs.-narrow.-over #peek { display: block; width: 1fr; max-width: 100%; }
    Runs.-narrow.-over #list { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._address = Address(kind="runs")
        self._listing: Listing | None = None
        self._seen: tuple[str, RunView] | None = None
        self._asked = ""

    def compose(self) -> ComposeResult:
        """The counts, the list, what is under the cursor, and a line of hints."""
        self.table = Table(self._columns(), lambda row: row.run_id, markable=True, id="table")
        self.table.empty = self._empty
        self.counts = Text(self._strip, focusable=False, id="strip")
        self.hint = Text(self._hint, focusable=False, id="hint")
        self.peek = Text(self._peek, ground="surface", id="peek")
        yield self.counts
        with Horizontal():
            with Vertical(id="list"):
                yield self.table
                yield self.hint
            yield self.peek

    def _columns(self) -> list[Column[RunRow]]:
        look = self.host.look
        return [
            Column(title="", cell=lambda row: look.status(row.state), width=1, gap=1),
            Column(title="RUN", cell=lambda row: (row.run_id[:8], "accent"), width=8),
            Column(title="WORKFLOW", cell=lambda row: (row.workflow, "text"), width=14, flex=3),
            Column(title="STATUS", cell=self._state, width=9),
            Column(title="STEP", cell=lambda row: (row.step, "muted"), width=10, flex=2, drop=2),
            Column(title="PROGRESS", cell=self._progress, width=BAR, drop=3),
            Column(title="DUR", cell=self._duration, width=6, right=True),
            Column(title="AGE", cell=self._age, width=6, right=True, drop=1, gap=1),
        ]

    # Cells

    def _state(self, row: RunRow) -> tuple[str, str]:
        # What is still going on may have changed while nobody could tell us.
        doubt = "?" if not row.ended and not self.host.feed.link.up else ""
        return row.state + doubt, self.host.look.status(row.state)[1]

    def _progress(self, row: RunRow) -> Line:
        look = self.host.look
        done = row.done / row.total if row.total else 0.0
        full, rest = bar(done, BAR, look.glyph("bar"), look.glyph("track"))
        return Line().add(full, look.status(row.state)[1]).add(rest, "line")

    def _duration(self, row: RunRow) -> tuple[str, str]:
        return span(row.duration(self.host.now())), "text"

    def _age(self, row: RunRow) -> tuple[str, str]:
        return age(self.host.now() - row.created_ns), "muted"

    # Lines

    def _strip(self, width: int) -> list[Line]:
        return [strip(self.host.feed.runs, self._address, self.host.look, width)]

    def _hint(self, width: int) -> list[Line]:
        row, look = Line().gap(2), self.host.look
        if self.table.marks:
            row.add(f"{count(len(self.table.marks))} marked", "accent").gap(3)
        if self.table.above and self.table.cursor:
            above = f"{look.glyph('up')} {count(self.table.above)} above"
            row.add(above, "muted", link="list.first").gap(3)
        current = self.table.current
        if current is not None and current.error and not self.is_wide:
            row.add(f"{look.glyph('failed')} {current.step} {current.error}", "bad", most=width)
        return [row.clip(width)]

    def _peek(self, width: int) -> list[Line]:
        row = self.row
        if row is None:
            return []
        view = self._seen[1] if self._seen and self._seen[0] == row.run_id else None
        return peek_lines(row, view, self.host.feed, self.host.look, width)

    def _empty(self, width: int) -> list[Line]:
        feed = self.host.feed
        if not feed.link.up and not feed.runs.total:
            return [line(feed.link.error or "connecting…", "muted")]
        if not feed.runs.complete:
            return [line("reading…", "muted")]
        if feed.runs.total:
            return [
                line("No run matches.", "text"),
                line("esc clears the words, f changes the filter, :runs shows all.", "muted"),
            ]
        return [
            line("No run yet.", "text bold"),
            *wrapped("Start one: dagnats run start WORKFLOW '{}'", width, "muted"),
            *wrapped("No workflow either? dagnats init project NAME", width, "muted"),
        ]

    # The view

    @property
    def row(self) -> RunRow | None:
        """The run under the cursor."""
        return self.table.current

    def navigate(self, address: Address) -> None:
        """Filter as asked; what makes no sense is reported, and all is shown."""
        if self._listing is not None and address == self._address:
            return
        try:
            wanted = run_filter(address)
        except DagnatsError as error:
            self.host.report(f"{error.message} ({error.hint})", "bad")
            address, wanted = Address(kind="runs"), run_filter(Address(kind="runs"))
        if self._listing is None:
            self._listing = Listing(self.host.feed.runs)
        self._address = address
        self._listing.use(wanted)

    def address(self) -> Address:
        """The filter."""
        return self._address

    def flush(self) -> None:
        """Take over what changed."""
        if self._listing is None:
            return
        self._listing.update(self.host.now())
        self.table.show(self._listing.rows)
        self._around()
        self.loaded = self.host.feed.runs.complete

    def _around(self) -> None:
        for pane in (self.counts, self.hint, self.peek):
            pane.repaint()

    def tick(self) -> None:
        """Time passes."""
        if self._listing is not None and self._listing.update(self.host.now()):
            self.table.show(self._listing.rows)
        super().tick()

    def filter(self, text: str) -> None:
        """The words must occur."""
        self.navigate(msgspec.structs.replace(self._address, text=text))
        self.flush()
        self.changed()

    def apply(self, address: Address | None) -> None:
        """Use another filter, if one was chosen."""
        if address is not None:
            self.host.go(address)

    def status(self) -> Line:
        """How many of how many."""
        index = self.host.feed.runs
        more = "" if index.complete else "+"
        return line(f"{count(len(self.table.rows))} of {count(index.total)}{more}", "muted")

    def actions(self) -> list[Action]:
        """What can be done to runs, and how they are shown."""
        return run_list_actions(self)

    def on_table_moved(self) -> None:
        """Read the run under the cursor, once the cursor rests."""
        self._around()
        row = self.row
        if row is None or not self.peek.display:
            return
        wanted = f"{row.run_id} {row.state} {row.done}"
        if wanted != self._asked:
            self._asked = wanted
            self.load(
                lambda session: get_run(session, row.run_id),
                self._read,
                name="peek",
                delay=PEEK_S,
                failed=lambda error: None,
            )

    def _read(self, view: RunView) -> None:
        self._seen = (view.run.run_id, view)
        self.peek.repaint()

    def on_table_opened(self) -> None:
        """Go to the run."""
        if self.row is not None:
            self.host.go(f"run {self.row.run_id}")

    def toggle_peek(self) -> None:
        """Show or hide the run under the cursor; on a narrow screen it takes the list's place."""
        self.toggle_class("-away" if self.is_wide else "-over")
        self.on_table_moved()

    def first_focus(self) -> Widget | None:
        """The list."""
        return self.table

    # Copying

    def command(self) -> str:
        """``dagnats run list`` with the same filter."""
        query = format_address(self._address).removeprefix("runs").strip()
        return "dagnats run list" + (f" --where {shlex.quote(query)}" if query else "")

    def copies(self) -> list[Copy]:
        """Id, error and record of the run under the cursor; the ids of those that are marked."""
        row, marked = self.row, self.table.marked()
        found: list[Copy] = []
        if row is not None:
            found.append(Copy("y", "run id", row.run_id))
            if row.error:
                found.append(Copy("e", "error", row.error))
            if self._seen and self._seen[0] == row.run_id:
                text = msgspec.json.format(msgspec.json.encode(self._seen[1].run)).decode()
                found.append(Copy("j", "JSON", text))
        if marked:
            ids = "\n".join(item.run_id for item in marked)
            found.append(Copy("m", plural(len(marked), "marked id"), ids))
        return found

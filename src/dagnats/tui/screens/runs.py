"""All runs, live."""

from __future__ import annotations

from textual.app import ComposeResult

from dagnats.errors import DagnatsError
from dagnats.services.address import Address
from dagnats.services.run_filter import RunFilter, run_filter
from dagnats.services.run_rows import RunRow
from dagnats.tui.format import age, span
from dagnats.tui.line import Line, line
from dagnats.tui.view import View
from dagnats.tui.widgets.table import Column, Table


class Runs(View):
    """The list of runs."""

    def __init__(self) -> None:
        super().__init__()
        self._address = Address(kind="runs")
        self._filter = RunFilter()

    def compose(self) -> ComposeResult:
        """The list."""
        columns: list[Column[RunRow]] = [
            Column(title="", cell=lambda row: self.host.look.status(row.state), width=1, gap=1),
            Column(title="RUN", cell=lambda row: (row.run_id[:8], "accent"), width=8),
            Column(title="WORKFLOW", cell=lambda row: (row.workflow, "text"), width=16, flex=2),
            Column(title="STATUS", cell=self._state, width=11),
            Column(title="STEP", cell=lambda row: (row.step, "muted"), width=12, flex=1, drop=2),
            Column(title="DUR", cell=self._duration, width=6, right=True),
            Column(title="AGE", cell=self._age, width=6, right=True, gap=1),
        ]
        self.table = Table(columns, lambda row: row.run_id, markable=True, id="runs")
        yield self.table

    def _state(self, row: RunRow) -> tuple[str, str]:
        return row.state, self.host.look.status(row.state)[1]

    def _duration(self, row: RunRow) -> tuple[str, str]:
        return span(row.duration(self.host.now())), "text"

    def _age(self, row: RunRow) -> tuple[str, str]:
        return age(self.host.now() - row.created_ns), "muted"

    def navigate(self, address: Address) -> None:
        """Filter as asked."""
        try:
            self._filter = run_filter(address)
        except DagnatsError as error:
            self.host.report(error.message, "bad")
            return
        self._address = address

    def address(self) -> Address:
        """The filter."""
        return self._address

    def flush(self) -> None:
        """Show what there is now."""
        now, wanted = self.host.now(), self._filter
        rows = [row for row in self.host.feed.runs.newest() if wanted.accepts(row, now)]
        self.table.empty = lambda width: [line("No runs.", "muted")]
        self.table.show(rows)
        self.loaded = self.host.feed.runs.complete

    def filter(self, text: str) -> None:
        """The words must occur."""
        self.navigate(
            Address(kind="runs", ids=self._address.ids, terms=self._address.terms, text=text)
        )
        self.flush()

    def status(self) -> Line:
        """How many."""
        return line(f"{len(self.table.rows):,} of {self.host.feed.runs.total:,}", "muted")

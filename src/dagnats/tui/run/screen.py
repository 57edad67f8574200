"""The screen of one run: live, or as it was at any event."""

from __future__ import annotations

from collections.abc import Mapping

from textual import events
from textual.app import ComposeResult
from textual.widget import Widget

from dagnats.errors import DagnatsError
from dagnats.model.records import LogRecord
from dagnats.model.run import DONE_STEP
from dagnats.model.workflow import StepType
from dagnats.services.address import Address, Term
from dagnats.services.run_query import RunRef, resolve_run
from dagnats.tui.actions import Action
from dagnats.tui.format import plural
from dagnats.tui.line import Line, line
from dagnats.tui.run.copying import command_of, copies_of
from dagnats.tui.run.eventlist import EventList
from dagnats.tui.run.heading import heading_lines, past_line, scrubber
from dagnats.tui.run.inspector import Inspector
from dagnats.tui.run.keys import run_actions
from dagnats.tui.run.model import RUN_ROW, Row, first_row
from dagnats.tui.run.panes import Box, arranged
from dagnats.tui.run.picture import Picture, layout_of
from dagnats.tui.run.reader import Reader
from dagnats.tui.run.state import RunState
from dagnats.tui.view import Copy, View
from dagnats.tui.widgets.canvas import Canvas
from dagnats.tui.widgets.table import Table
from dagnats.tui.widgets.text import Text

LOGS_EVERY_S = 3
"""Seconds after which the log of a run that goes on is read again while it is shown."""

FULL_ID = 32
"""Characters of an id that need not be looked up."""


class RunScreen(View):
    """One run.

    Attributes:
        state: what is known of it, and which moment is shown.
        zoomed: the pane that has everything; empty: none.
        pane: the pane that has the focus, or had it before the filter was opened.
        lower: the lower pane that a narrow terminal shows.
    """

    DEFAULT_CSS = "RunScreen > Canvas { position: absolute; }"

    def __init__(self) -> None:
        super().__init__()
        self.state = RunState("", lambda: 0)
        self.zoomed = ""
        self.pane = "picture"
        self.lower = "inspector"
        self.reader: Reader | None = None
        self._step = ""
        self._at: int | None = None
        self._placed = False
        self._seconds = 0
        self._boxes: Mapping[str, Box] = {}

    # --- panes ---------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Every pane; :meth:`lay_out` says where they are."""
        self.head = Text(self._head, focusable=False, id="run-head")
        self.picture = Picture(self.state, id="run-picture")
        self.scrubber = Text(self._scrubber, ground="surface", focusable=False, id="run-scrubber")
        self.events = EventList(self.state, id="run-events")
        self.inspector = Inspector(self.state, id="run-inspector")
        self.facts = Text(self.inspector.head, ground="surface", focusable=False, id="run-facts")
        for pane in (self.scrubber, self.facts):
            pane.inset = 0  # They are aligned with the panes above and below them.
        yield from (self.head, self.picture, self.scrubber, self.events, self.facts, self.inspector)

    def _head(self, width: int) -> list[Line]:
        rows = heading_lines(self.state, self.host.look, width)
        if not self.state.live:
            rows[1] = Line().gap().extend(past_line(self.state, self.host.look))
        return rows

    def _scrubber(self, width: int) -> list[Line]:
        if self.state.view is None:
            return []
        at = layout_of(self.state, self.picture.size.width or width)
        return [scrubber(self.state, at, self.host.look, width)]

    def lay_out(self) -> None:
        """Put every pane where it belongs."""
        size = self.size
        rows = len(self.picture.rows) + 1
        boxes = arranged(size.width, size.height, rows, zoomed=self.zoomed, lower=self.lower)
        if boxes == self._boxes:
            return
        self._boxes = boxes
        for name, box in boxes.items():
            pane = self.query_one(f"#run-{name}")
            pane.styles.offset = (box.x, box.y)
            pane.styles.width, pane.styles.height = box.width, box.height

    def on_resize(self) -> None:
        """Another size, another layout."""
        self.refill()

    def on_hide(self) -> None:
        """Nothing is followed that nobody sees."""
        if self.reader is not None:
            self.reader.pause()

    def on_show(self) -> None:
        """What happened meanwhile is read now."""
        if self.reader is not None:
            self.reader.resume()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A narrow terminal shows the lower pane that has, or had, the focus."""
        self.pane = (event.widget.id or "").removeprefix("run-")
        if self.pane in ("events", "inspector"):
            self.lower = self.pane
        if self.zoomed and self.zoomed != self.pane:
            self.zoomed = ""
        self.lay_out()

    def first_focus(self) -> Widget | None:
        """The picture."""
        return self.picture

    # --- address -------------------------------------------------------------------------------

    def navigate(self, address: Address) -> None:
        """Show a run: ``run ID step:NAME at:EVENT /text``."""
        terms = {term.key: term.values[0] for term in address.terms}
        at = terms.get("at", "")
        self._at = int(at) if at.isascii() and at.isdigit() else None
        self._step = terms.get("step", "")
        self._placed = self._placed and not self._step
        ref = address.ids[0] if address.ids else "last"
        if self.state.run_id and self.state.run_id.startswith(ref):
            self._changed()
        elif len(ref) >= FULL_ID:
            self._open(RunRef(ref))
        else:
            last = ref == "last"
            self.load(
                lambda session: resolve_run(session, "" if last else ref, last),
                self._open,
                name="resolve",
                failed=self._missing,
            )
        if address.text:
            self.filter(address.text)

    def _open(self, found: RunRef) -> None:
        recorded = self.host.feed.recorded
        self.state = RunState(found.run_id, self.host.now, recorded=recorded)
        for pane in (self.picture, self.events, self.inspector):
            pane.state = self.state
        self.reader = Reader(self, self.state, self._changed, self._missing)
        self.reader.start()

    def _missing(self, error: DagnatsError) -> None:
        self.loaded = True
        self.state.problem = f"{error.message}{f'; {error.hint}' if error.hint else ''}"
        self.refill()

    def address(self) -> Address:
        """The run, the step under the cursor, and the moment."""
        terms: list[Term] = []
        row = self.picture.current
        if row is not None and row.key != RUN_ROW and row.kind != "fold":
            terms.append(Term(key="step", values=(row.key,)))
        if self.state.position is not None:
            terms.append(Term(key="at", values=(str(self.state.position),)))
        run_id = self.state.run_id[:8] if len(self.state.run_id) == FULL_ID else self.state.run_id
        return Address(kind="run", ids=(run_id,), terms=tuple(terms), text=self.events.text)

    def command(self) -> str:
        """The command line that shows the same."""
        return command_of(self)

    def copies(self) -> list[Copy]:
        """The run, the step, and what is under the cursor."""
        return copies_of(self)

    def status(self) -> Line:
        """How far the run has come."""
        if self.state.view is None:
            return Line()
        steps = self.state.moment().run.steps.values()
        done = sum(step.status in DONE_STEP for step in steps)
        return line(f"{done} of {plural(len(steps), 'step')} done", "muted")

    # --- what changes --------------------------------------------------------------------------

    def tick(self) -> None:
        """A second has passed; every few, what was logged meanwhile is read."""
        super().tick()
        self._seconds += 1
        live = self.reader is not None and not self.state.ended
        if live and self.inspector.tab == "logs" and self._seconds % LOGS_EVERY_S == 0:
            self._read_logs(again=True)

    def flush(self) -> None:
        """The feed has changed."""
        if self.reader is not None:
            self.reader.look()

    def filter(self, text: str) -> None:
        """Find text in the document if that pane has the focus, else among the events."""
        if self.pane == "inspector" and self.inspector.doc is not None:
            self.search(text)
        else:
            self.events.only(text, self.events.step)
        self.changed()

    def search(self, text: str) -> None:
        """Find text in the document."""
        self.inspector.search(text)
        self.facts.repaint()

    def show_all(self) -> None:
        """Show the events of all steps, whatever they say."""
        self.events.only()
        self.repaint_all()

    def _changed(self) -> None:
        """Something was read."""
        state = self.state
        if state.view is None:
            return
        if self._at is not None and state.history.begun and state.total >= self._at:
            state.travel(self._at)
            self._at = None
        self.refill()
        self.loaded = self.loaded or (self.reader is not None and self.reader.settled)

    def refill(self) -> None:
        """Take over what is known into every pane."""
        state = self.state
        if not self.is_attached:
            return
        if state.view is None:
            self.lay_out()
            self.repaint_all()
            return
        width = self.picture.size.width or self.size.width
        self.picture.show(state.rows(layout_of(state, width).lanes))
        if not self._placed:
            self._place()
        self.lay_out()
        self.events.refill()
        self.inspector.inspect(self.picture.current)
        for pane in (self.head, self.scrubber, self.facts):
            pane.repaint()
        self.changed()

    def _place(self) -> None:
        self._placed = True
        view = self.state.view
        failed = view.run.failed_step if view else ""
        known = {row.key for row in self.picture.rows}
        wanted = self._step or (
            failed if failed and failed in known else first_row(self.picture.rows)
        )
        if not self.picture.move_to_key(wanted):
            self.picture.move_to(0)

    def repaint_all(self) -> None:
        """Paint every pane anew."""
        for pane in self.query(Canvas):
            pane.repaint()
        self.changed()

    def travel(self, to: int | None) -> None:
        """Show another moment."""
        self.state.travel(to)
        self.refill()

    # --- cursor --------------------------------------------------------------------------------

    @property
    def row(self) -> Row | None:
        """The row of the picture under the cursor."""
        return self.picture.current

    @property
    def step(self) -> str:
        """The step an action is about; empty for the run."""
        return self.row.step_id if self.row is not None else ""

    def on_table_moved(self, event: Table.Moved) -> None:
        """Another row: the inspector shows it."""
        if event.table is self.picture:
            row = self.picture.current
            if row is not None and self.inspector.row is not row:
                self.inspector.inspect(row)
                self._read_logs()
            self.facts.repaint()
            self.changed()

    def on_table_opened(self, event: Table.Opened) -> None:
        """Enter: open what is below the row, go to the child run, or into the inspector."""
        if event.table is self.inspector:
            self.inspector.toggle()
        elif event.table is self.events:
            self._go_to_event()
        elif self.row is not None:
            self._open_row(self.row)

    def _go_to_event(self) -> None:
        number = self.events.current
        if number is not None and self.state.history.begun:
            self.travel(number)

    def _open_row(self, row: Row) -> None:
        child = self.child_of(row)
        if row.opens:
            self.toggle_row(row)
        elif child:
            self.host.go(f"run {child}")
        else:
            self.inspector.focus()

    def toggle_row(self, row: Row) -> None:
        """Show or hide the rows below one."""
        self.state.opened ^= {row.key}
        self.refill()

    def child_of(self, row: Row) -> str:
        """The child run that a row stands for."""
        steps = self.state.view.steps if self.state.view else {}
        step = steps.get(row.step_id)
        if step is None or step.type != StepType.SUB_WORKFLOW:
            return ""
        return self.state.moment().state(row.step_id).child_run_id

    def turn_tab(self, tab: str = "") -> None:
        """Open a tab of the inspector, or the next."""
        if tab:
            self.inspector.choose(tab)
        else:
            self.inspector.turn(1)
        self.lower = "inspector"
        self._read_logs()
        self.lay_out()
        self.repaint_all()

    def _read_logs(self, *, again: bool = False) -> None:
        wanted = self.inspector.tab == "logs" and (again or self.inspector.logs is None)
        if wanted and self.reader is not None:
            self.reader.logs(self._logged)

    def _logged(self, records: list[LogRecord]) -> None:
        self.inspector.logs = records
        self.inspector.refill()

    def zoom(self) -> None:
        """Give the focused pane everything, or share again."""
        self.zoomed = "" if self.zoomed else self.pane
        self.refill()

    def actions(self) -> list[Action]:
        """What keys do here."""
        return run_actions(self)

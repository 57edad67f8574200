"""The inspector: input, output, error, attempts and logs of the row under the cursor."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

from dagnats.model.records import LogRecord
from dagnats.model.run import StepStatus
from dagnats.model.times import read_time
from dagnats.services.text import sanitize
from dagnats.tui.format import clock, plural, size, span
from dagnats.tui.jsontree import JsonTree, Node, node_line, path_text, value_text
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.run.facts import attempt_line, document, error_of, fact_lines
from dagnats.tui.run.model import RUN_ROW, Row
from dagnats.tui.run.state import RunState
from dagnats.tui.run.tracks import Attempt
from dagnats.tui.widgets.table import Column, Table

TABS = ("input", "output", "error", "attempts", "logs")
TREES = 32
"""Documents whose folds are remembered."""

MEMBERS = 50
"""Members of a fold that are listed: those that failed, and the slowest."""

ERROR_ROWS = 400
"""Lines of an error and its traceback that are shown; all of it can be copied."""

LEVELS = {"error": "bad", "warn": "warn", "info": "text", "debug": "faint"}


class Item(Struct, frozen=True, eq=False):
    """One row of the inspector.

    Args:
        key: what it is known by.
        line: how it looks, unless it is a node of a document.
        node: a node of the document that is shown.
        text: what is copied.
    """

    key: str
    line: Line | None = None
    node: Node | None = None
    text: str = ""


class Inspector(Table[Item]):
    """What is known of one row of the picture.

    Args:
        state: the run.
    """

    ground = "surface"

    def __init__(self, state: RunState, *, id: str) -> None:  # noqa: A002
        column: Column[Item] = Column(title="", cell=self._line, width=20, flex=1, gap=0)
        super().__init__([column], lambda item: item.key, heading=False, id=id)
        self.state = state
        self.row: Row | None = None
        self.tab = "input"
        self.chosen_tab = ""
        self.logs: list[LogRecord] | None = None
        self.hits: int | None = None
        self.doc: JsonTree | None = None
        self._made_for = 0
        self._trees: OrderedDict[tuple[str, str, int, int], JsonTree] = OrderedDict()
        self.empty = lambda width: [line(self._nothing(), "muted")]

    # --- what is shown -------------------------------------------------------------------------

    def inspect(self, row: Row | None) -> None:
        """Show another row; the tab stays if it was chosen, else the most telling one opens."""
        other = (row.key if row else None) != (self.row.key if self.row else None)
        self.row = row
        if other:
            self.hits = None
            self.logs = None
            self.tab = self.chosen_tab or self._telling()
            self.top = self.cursor = 0
        self.refill()

    def choose(self, tab: str) -> None:
        """Open a tab, and stay with it."""
        self.tab = self.chosen_tab = tab
        self.hits = None
        self.top = self.cursor = 0
        self.refill()

    def turn(self, by: int) -> None:
        """Open the next tab."""
        self.choose(TABS[(TABS.index(self.tab) + by) % len(TABS)])

    def _telling(self) -> str:
        row = self.row
        if row is None:
            return "input"
        if error_of(self.state, row)[0]:
            return "error"
        if row.kind == "fold":
            return "attempts"
        return "output" if row.status == StepStatus.COMPLETED else "input"

    def refill(self) -> None:
        """Take over what is known now."""
        self.doc = None
        if self.row is None or self.state.view is None:
            self.show([])
            return
        makers = {"error": self._errors, "attempts": self._attempts, "logs": self._records}
        maker = makers.get(self.tab)
        self.show(maker(self.row) if maker else self._document(self.row))

    def _nothing(self) -> str:
        row = self.row
        if row is None:
            return ""
        if self.tab == "logs":
            return "reading…" if self.logs is None else "nothing was logged about this"
        if self.tab == "error":
            return "no error"
        if row.kind == "fold":
            return "several steps: ⏎ on the row shows them one by one"
        if self.tab == "output" and row.status not in ("completed", "recovered"):
            return "no output yet" if row.ended is None else "no output"
        return f"no {self.tab}"

    # --- documents -----------------------------------------------------------------------------

    def _document(self, row: Row) -> list[Item]:
        data = bytes(document(self.state, row, self.tab))
        if not data:
            return []
        tree = self.doc = self._tree_of(row, data)
        items = [Item("problem", line(tree.problem, "warn"))] if tree.problem else []
        return items + [
            Item(path_text(node.path) + str(node.more), node=node, text=value_text(node.value))
            for node in tree.rows()
        ]

    def _tree_of(self, row: Row, data: bytes) -> JsonTree:
        key = (row.key, self.tab, len(data), hash(data))
        tree = self._trees.get(key)
        if tree is None:
            tree = self._trees[key] = JsonTree(data)
            if len(self._trees) > TREES:
                self._trees.popitem(last=False)
        return tree

    def toggle(self) -> None:
        """Open or close the node under the cursor; a closed plain value does nothing."""
        item = self.current
        if self.doc is not None and item is not None and item.node is not None:
            self.doc.toggle(item.node)
            self.refill()

    def open_all(self) -> None:
        """Open everything below the node under the cursor; if it is open, close everything."""
        item = self.current
        if self.doc is not None and item is not None:
            root = item.node.path if item.node is not None and not item.node.more else ()
            if not self.doc.open_all(root):
                self.doc.close_all()
            self.refill()

    def search(self, text: str) -> None:
        """Find text in the document."""
        if self.doc is not None:
            found = self.doc.search(text)
            self.hits = found if text else None
            self.next_hit(1)

    def next_hit(self, step: int) -> None:
        """Go to the next place that was found."""
        if self.doc is None:
            return
        item = self.current
        path = self.doc.next_hit(item.node.path if item and item.node else None, step)
        self.refill()
        if path is not None:
            self.move_to_key(path_text(path) + "0")

    # --- the other tabs ------------------------------------------------------------------------

    def _width(self) -> int:
        return max(20, self.size.width - 4)

    def _errors(self, row: Row) -> list[Item]:
        self._made_for = self.size.width
        text, attempt = error_of(self.state, row)
        if not text:
            return []
        full = text + (f"\n\n{attempt.traceback}" if attempt and attempt.traceback else "")
        rows = wrapped(text, self._width(), "bad", ERROR_ROWS)
        if attempt is not None and attempt.kind:
            rows.insert(0, line(attempt.kind, "muted"))
        letter = self.state.letter("" if row.key == RUN_ROW else row.step_id)
        if letter is not None and self.state.live:
            dead = Line().add(f"dead letter #{letter.sequence}", "accent")
            dead.add(
                "   r d replays it" if letter.body_preserved else "   its body is lost", "muted"
            )
            rows.append(dead)
        if attempt is not None and attempt.traceback:
            # Not wrapped: the indentation of a traceback says what belongs to what.
            trace = sanitize(attempt.traceback).splitlines()[:ERROR_ROWS]
            rows += [Line(), *(line(each, "muted") for each in trace)]
        return [Item(f"e{at}", each, text=full) for at, each in enumerate(rows)]

    def _attempts(self, row: Row) -> list[Item]:
        items: list[Item] = []
        if row.kind == "fold":
            return self._members(row)
        if row.key == RUN_ROW:
            return self._life()
        for number, attempt in enumerate(row.attempts, 1):
            status = "failed" if attempt.outcome == "timeout" else attempt.outcome or row.status
            glyph, role = self.look.status(status if status != "continued" else "completed")
            each = attempt_line(attempt, number, glyph, role, self.state.now)
            items.append(Item(f"a{number}", each, text=attempt.error))
            if attempt.error:
                said = Line().gap(6).add(attempt.error, "bad", most=self._width() - 6)
                items.append(Item(f"a{number}e", said, text=attempt.error))
        return items

    def _members(self, row: Row) -> list[Item]:
        """The members of a fold that failed, then those that took longest."""
        state, now = self.state, self.state.now
        told: list[tuple[tuple[int, int], str, Attempt]] = []
        for step, attempts in zip(row.members, row.crowd, strict=True):
            last = attempts[-1] if attempts else None
            if last is not None and last.started is not None:
                ran = (last.ended.at if last.ended else now) - last.started.at
                told.append(((-bool(last.error), -ran), step, last))
        rows: list[Item] = []
        worst = sorted(told, key=lambda each: each[:2])[:MEMBERS]
        for number, ((_, ran), step, last) in enumerate(worst):
            status = last.outcome or state.moment().state(step).status
            glyph, role = self.look.status("failed" if status == "timeout" else status)
            each = Line().add(step, "text", width=16, most=30).gap().add(glyph, role).gap()
            each.add(span(-ran), "text", width=7, align="right").gap(2).add(last.error, "bad")
            rows.append(Item(f"m{number}", each, text=last.error or step))
        return rows

    def _life(self) -> list[Item]:
        """What happened to the run as a whole, and what operators did."""
        state, items = self.state, list[Item]()
        until = state.total if state.position is None else state.position
        for number, event in enumerate(state.history.events[:until], 1):
            if event.step_id and event.type != "step.override":
                continue
            row = Line().add(number, "faint", width=5, align="right").gap()
            row.add(clock(state.history.times[number - 1], 1), "muted").gap(2).add(
                event.type, "text"
            )
            row.gap(2).add(event.step_id, "accent")
            if event.type != "workflow.started":
                row.gap(2).add(event.data, "muted", most=120)
            items.append(Item(f"l{number}", row, text=event.data))
        return items

    def _records(self, row: Row) -> list[Item]:
        items: list[Item] = []
        for at, record in enumerate(self.logs or ()):
            step = record.attributes.get("step_id", "")
            if row.key != RUN_ROW and step not in ("", row.key) and step != row.step_id:
                continue
            level = record.severity.lower()
            stamp = read_time(record.timestamp)
            each = Line().add(clock(stamp, 1), "muted").gap()
            each.add(level, LEVELS.get(level, "text"), width=5).gap()
            each.add(record.service_name, "faint", most=12).gap()
            each.add(record.body, LEVELS.get(level, "text"))
            items.append(Item(f"r{at}", each, text=record.body))
        return items

    # --- painting ------------------------------------------------------------------------------

    def paint(self, width: int, height: int) -> list[Line]:
        """The visible rows; an error is wrapped anew for another width."""
        if width != self._made_for and self.row is not None and self.tab == "error":
            self.rows = self._errors(self.row)
        return super().paint(width, height)

    def _line(self, item: Item) -> Line:
        if item.node is not None and self.doc is not None:
            return node_line(self.doc, item.node, self.look)
        return Line().extend(item.line) if item.line is not None else Line()

    def head(self, width: int) -> list[Line]:
        """The lines above: what is inspected, its tabs, and the facts."""
        row = self.row
        if row is None:
            return []
        glyph, role = self.look.status(row.status)
        title = Line().gap(2).add(glyph, role).gap()
        title.add(row.name, "text bold", most=max(8, width - 50)).gap(2).add(row.status, role)
        if len(row.attempts) > 1 and width >= 80:
            title.gap(2).add(plural(len(row.attempts), "attempt"), "muted")
        facts = [Line().gap(2).extend(each).clip(width - 1) for each in fact_lines(self.state, row)]
        return [title.right(self._tabs(), width), *facts]

    def _tabs(self) -> Line:
        row = Line()
        for tab in TABS:
            here = tab == self.tab
            role = "text bold on:cursor" if here else "muted"
            row.add(f" {tab} ", role, link=f"run.tab.{tab}")
        if self.doc is not None:
            found = f" {plural(self.hits, 'hit')}" if self.hits is not None else ""
            row.add(f" {size(self.doc.size)}{found}", "faint")
        return row.gap()

"""Two runs side by side."""

from __future__ import annotations

from msgspec import Struct
from textual.app import ComposeResult

from dagnats.errors import DagnatsError
from dagnats.services.address import Address
from dagnats.services.run_baseline import NOTICE
from dagnats.services.run_diff import Difference, RunDiff, diff_runs
from dagnats.services.run_events import run_events
from dagnats.services.run_query import RunView, created_ns, get_run, resolve_run
from dagnats.services.session import Session
from dagnats.tui.actions import Action, going
from dagnats.tui.format import NONE, age, plural, span
from dagnats.tui.jsontree import pretty_lines, value_text
from dagnats.tui.line import Line, line
from dagnats.tui.run.compare import WHOLE, Pair, Parting, Side, pairs_of, parting, step_of
from dagnats.tui.run.copying import shell
from dagnats.tui.sheets.base import Reading
from dagnats.tui.view import Copy, View
from dagnats.tui.widgets.table import Cell, Column, Table
from dagnats.tui.widgets.text import Text

HEAD = 3
"""Lines above the table."""

BAR = 10
"""Cells of the bar that shows how much slower or faster a step was."""


class Compared(Struct, frozen=True):
    """Everything that is known of two runs."""

    a: RunView
    b: RunView
    found: RunDiff
    first: Parting | None


class DiffScreen(View):
    """Two runs, step by step."""

    DEFAULT_CSS = """
    DiffScreen > #diff-head { height: 3; }
    DiffScreen > #diff-steps { height: auto; min-height: 4; }
    DiffScreen > #diff-places { height: 1fr; min-height: 4; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._refs = ("", "")
        self.compared: Compared | None = None
        self._longest = 1
        self._error = ""

    def compose(self) -> ComposeResult:
        """Heading, steps, and where they differ."""
        self.head = Text(self._head, focusable=False, id="diff-head")
        self.steps = Table(self._step_columns(), lambda pair: pair.step, id="diff-steps")
        self.places = Table(self._place_columns(), lambda place: place.path, id="diff-places")
        self.places.ground = "surface"
        self.steps.empty = self._empty
        self.places.empty = lambda width: [line("No difference here.", "muted")]
        yield from (self.head, self.steps, self.places)

    # --- reading -------------------------------------------------------------------------------

    def navigate(self, address: Address) -> None:
        """Compare ``diff A B``."""
        refs = (*address.ids, "", "")[:2]
        if refs != self._refs or self.compared is None:
            self._refs = (refs[0], refs[1])
            self.read()

    def read(self) -> None:
        """Read both runs anew."""
        self.load(self._compare, self._took, name="diff", failed=self._missing)

    async def _compare(self, session: Session) -> Compared:
        a = (await resolve_run(session, self._refs[0])).run_id
        b = (await resolve_run(session, self._refs[1])).run_id
        found = await diff_runs(session, a, b)
        first = parting(await run_events(session, a), await run_events(session, b))
        return Compared(await get_run(session, a), await get_run(session, b), found, first)

    def _took(self, compared: Compared) -> None:
        self.compared = compared
        self.loaded = True
        pairs = pairs_of(compared.a, compared.b, compared.found)
        self._longest = max((abs(pair.delta or 0) for pair in pairs), default=1) or 1
        self.steps.show(pairs)
        if not self.steps.cursor:
            first = compared.first.step if compared.first else ""
            self.steps.move_to_key(first)
        self._fit()
        self._show_places()

    def _missing(self, error: DagnatsError) -> None:
        self._error, self.loaded = error.message, True
        self.host.report(error.message, "bad")
        self.steps.repaint()

    def _empty(self, width: int) -> list[Line]:
        del width
        return [line(self._error or "reading…", "bad" if self._error else "muted")]

    def _fit(self) -> None:
        rows = len(self.steps.rows) + 1
        self.steps.styles.height = max(4, min(rows, (self.size.height - HEAD) * 3 // 5))

    def on_resize(self) -> None:
        """Share the height anew."""
        self._fit()

    # --- painting ------------------------------------------------------------------------------

    def _head(self, width: int) -> list[Line]:
        both = self.compared
        if both is None:
            return []
        rows = [self._side_line("A", both.a), self._side_line("B", both.b)]
        said = Line().gap()
        if both.found.same:
            said.add("The same input, definition, steps and outputs.", "ok")
        else:
            said.add(plural(len(both.found.differences), "difference"), "warn bold").gap(3)
            if both.first is not None:
                first = both.first
                said.add("first at event ", "muted").add(first.number, "text").gap()
                said.add(first.step or "the run", "accent").gap(2)
                said.add("A ", "muted").add(first.a or "nothing more", "text").gap(2)
                said.add("B ", "muted").add(first.b or "nothing more", "text")
        return [*rows, said.clip(width)]

    def _side_line(self, name: str, view: RunView) -> Line:
        glyph, role = self.host.look.status(view.run.status)
        row = Line().gap().add(name, "text bold").gap(2).add(glyph, role).gap()
        row.add(view.run.run_id[:8], "accent bold", link=f"go:run {view.run.run_id}").gap()
        row.add(view.run.status, role, width=10).gap(2).add(view.run.workflow_id, "text").gap(2)
        row.add(f"{age(self.host.now() - created_ns(view.run))} ago", "muted").gap(2)
        return row.add(f"definition {view.run.revision[:8]}" if view.run.revision else "", "faint")

    def _step_columns(self) -> list[Column[Pair]]:
        return [
            Column(title="STEP", cell=self._step_name, width=14, flex=2),
            Column(title="A", cell=lambda pair: self._cell(pair.a), width=22),
            Column(title="B", cell=lambda pair: self._cell(pair.b), width=22),
            Column(title="B - A", cell=_delta, width=7, right=True),
            Column(title="", cell=self._bar, width=2 * BAR + 1, drop=2),
            Column(title="DIFFERS", cell=_differs, width=9, drop=1, gap=0),
        ]

    def _step_name(self, pair: Pair) -> Cell:
        return (pair.step, "text") if pair.step else ("the run", "text bold")

    def _cell(self, side: Side) -> Cell:
        if not side.status:
            return NONE, "faint"
        glyph, role = self.host.look.status(side.status)
        row = Line().add(glyph, role).gap().add(side.status, role, width=9).gap()
        row.add(span(side.took), "text", width=6, align="right")
        tries = f" {self.host.look.glyph('tries')}{side.tries}" if side.tries > 1 else ""
        return row.add(tries, "retry")

    def _bar(self, pair: Pair) -> Cell:
        delta, look = pair.delta, self.host.look
        row = Line()
        if delta is None:
            return row.gap(2 * BAR + 1)
        size = round(abs(delta) * BAR / self._longest)
        left = size if delta < 0 else 0
        row.gap(BAR - left).add(look.glyph("bar") * left, "ok").add(look.glyph("side"), "line")
        return row.add(look.glyph("bar") * (size - left), "warn")

    def _place_columns(self) -> list[Column[Difference]]:
        return [
            Column(title="WHERE", cell=self._path, width=18, flex=1),
            Column(title="A", cell=lambda each: (value_text(each.a), "bad"), width=20, flex=2),
            Column(title="B", cell=lambda each: (value_text(each.b), "ok"), width=20, flex=2),
        ]

    def _path(self, place: Difference) -> Cell:
        pair = self.steps.current
        step = pair.step if pair is not None else WHOLE
        prefix = f"steps.{step}." if step else ""
        return place.path.removeprefix(prefix), "accent"

    # --- cursor --------------------------------------------------------------------------------

    def _show_places(self) -> None:
        both, pair = self.compared, self.steps.current
        if both is None or pair is None:
            return
        names = [each.step for each in self.steps.rows if each.step]
        places = [each for each in both.found.differences if step_of(each, names) == pair.step]
        self.places.show(places)
        self.head.repaint()
        self.changed()

    def on_table_moved(self, event: Table.Moved) -> None:
        """Another step: where it differs."""
        if event.table is self.steps:
            self._show_places()

    def on_table_opened(self, event: Table.Opened) -> None:
        """Enter: the step in run A, or the whole of two values."""
        if event.table is self.steps:
            self._open("a")
        elif self.places.current is not None:
            place = self.places.current
            self.host.in_background(
                self.host.ask(Reading(place.path, lambda width: _both(place, width)))
            )

    def _open(self, side: str) -> None:
        both, pair = self.compared, self.steps.current
        if both is not None and pair is not None:
            run_id = (both.a if side == "a" else both.b).run.run_id
            self.host.go(f"run {run_id}" + (f' step:"{pair.step}"' if pair.step else ""))

    def _swap(self) -> None:
        self.host.go(f"diff {self._refs[1]} {self._refs[0]}")

    # --- frame ---------------------------------------------------------------------------------

    def address(self) -> Address:
        """Both runs."""
        return Address(kind="diff", ids=tuple(ref[:8] for ref in self._refs if ref))

    def status(self) -> Line:
        """How many differences are shown."""
        return line(plural(len(self.places.rows), "difference") + " here", "muted")

    def command(self) -> str:
        """The same on the command line."""
        return shell("run", "diff", *self._refs)

    def copies(self) -> list[Copy]:
        """Both ids, and the values under the cursor."""
        found = [Copy("a", "id of A", self._refs[0]), Copy("b", "id of B", self._refs[1])]
        place = self.places.current
        if place is not None:
            found.append(Copy("p", "path", place.path))
            found.append(Copy("v", "both values", f"{value_text(place.a)}\n{value_text(place.b)}"))
        return found

    def actions(self) -> list[Action]:
        """Opening either run, and turning them round."""
        return [
            Action(
                id="diff.a", keys=("a",), label="open A", title="Open run A", group="Go",
                run=lambda: self._open("a"),
            ),
            Action(
                id="diff.b", keys=("b",), label="open B", title="Open run B", group="Go",
                run=lambda: self._open("b"),
            ),
            Action(
                id="diff.swap", keys=("s",), label="swap", title="Compare the other way round",
                run=self._swap,
            ),
            Action(
                id="diff.read", keys=("R",), title="Read both runs anew", run=self.read,
            ),
            going("diff.next", "Next step that differs", lambda: self._next(1), "n"),
            going("diff.prev", "Step before that differs", lambda: self._next(-1), "N"),
        ]  # fmt: skip

    def _next(self, by: int) -> None:
        rows, at = self.steps.rows, self.steps.cursor
        order = range(at + 1, len(rows)) if by > 0 else range(at - 1, -1, -1)
        found = next((index for index in order if rows[index].differences), None)
        if found is not None:
            self.steps.move_to(found)


def _delta(pair: Pair) -> Cell:
    delta = pair.delta
    if delta is None:
        return NONE, "faint"
    sign, role = ("-", "ok") if delta < 0 else ("+", "warn")
    return sign + span(abs(delta)), role if abs(delta) >= NOTICE else "faint"


def _differs(pair: Pair) -> Cell:
    return (plural(pair.differences, "place"), "warn") if pair.differences else ("", "")


def _both(place: Difference, width: int) -> list[Line]:
    rows: list[Line] = []
    for name, value in (("A", place.a), ("B", place.b)):
        rows += [line(name, "text bold"), *pretty_lines(value, width), Line()]
    return rows

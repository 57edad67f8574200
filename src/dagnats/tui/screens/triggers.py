"""Triggers: when they fire next, how their fires went, and changing them."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container

from dagnats.model.times import read_time
from dagnats.services.trigger_overview import TriggerLine, trigger_overview
from dagnats.tui.actions import Action
from dagnats.tui.format import NONE, age, plural, span
from dagnats.tui.line import Line, line
from dagnats.tui.screens.listing import ListView
from dagnats.tui.screens.trigger_do import TriggerDoer
from dagnats.tui.screens.trigger_lines import fire_line, trigger_lines
from dagnats.tui.sheets.base import Reading
from dagnats.tui.view import Copy
from dagnats.tui.widgets.table import Column, Table
from dagnats.tui.widgets.text import Text


class Triggers(ListView):
    """The list of triggers, and the history of the one under the cursor."""

    SCOPED_CSS = False
    DEFAULT_CSS = """
    Triggers #trigger-summary { height: 1; }
    Triggers #trigger-body { height: 1fr; layout: horizontal; }
    Triggers #triggers { width: 5fr; }
    Triggers #trigger-about { width: 3fr; }
    Triggers.-narrow #trigger-body { layout: vertical; }
    Triggers.-narrow #triggers { width: 1fr; height: 1fr; }
    Triggers.-narrow #trigger-about { width: 1fr; height: 1fr; }
    """
    keys = ("kind", "wf", "state")

    def __init__(self) -> None:
        super().__init__("triggers")
        self.all: list[TriggerLine] = []
        self.doer = TriggerDoer(self)
        self._looked = -1

    def compose(self) -> ComposeResult:
        """Summary, list, and history."""
        columns: list[Column[TriggerLine]] = [
            Column(title="", cell=self._mark, width=1, gap=1),
            Column(title="TRIGGER", cell=_trigger_id, width=12, flex=1),
            Column(title="KIND", cell=lambda t: (t.kind, "muted"), width=7, drop=3),
            Column(title="WORKFLOW", cell=_workflow, width=12, flex=2),
            Column(title="WHEN", cell=lambda t: (t.what, "text"), width=13, flex=3, drop=2),
            Column(title="LAST", cell=self._last, width=6, right=True),
            Column(title="NEXT", cell=self._next, width=6, right=True),
            Column(title="OK%", cell=_good, width=4, right=True),
            Column(title="STATE", cell=_state, width=5, gap=0),
        ]
        self.table: Table[TriggerLine] = Table(columns, lambda t: t.trigger.id, id="triggers")
        self.table.empty = self._empty
        yield Text(self._summary, focusable=False, id="trigger-summary")
        with Container(id="trigger-body"):
            yield self.table
            yield Text(self._about, ground="surface", id="trigger-about")

    # Cells

    def _mark(self, row: TriggerLine) -> tuple[str, str]:
        look = self.host.look
        if not row.trigger.enabled:
            return look.glyph("skipped"), "muted"
        if row.failing:
            return look.glyph("failed"), "bad"
        return look.glyph("ok"), "ok"

    def _last(self, row: TriggerLine) -> tuple[str, str]:
        at = read_time(row.fires[0].fired_at) if row.fires else None
        return (age(self.host.now() - at), "text") if at else ("never", "faint")

    def _next(self, row: TriggerLine) -> tuple[str, str]:
        at = read_time(row.next)
        return (span(at - self.host.now()), "accent") if at else (NONE, "faint")

    # What there is

    def flush(self) -> None:
        """Look again whenever the feed did."""
        health = self.host.feed.health
        if health is not None and health.at != self._looked:
            self._looked = health.at
            self.reread()

    def reread(self) -> None:
        """Read the triggers and their last fires."""
        self.load(trigger_overview, self._have, name="triggers")

    def _have(self, found: list[TriggerLine]) -> None:
        self.all = found
        self.loaded = True
        self.refiltered()

    def refiltered(self) -> None:
        """Show what the filter accepts, what fires next first."""
        far = 1 << 63
        only = self.only
        rows = [row for row in self.all if only.accepts(_values(row), _text(row))]
        rows.sort(key=lambda row: (read_time(row.next) or far, row.trigger.workflow_id))
        self.table.show(rows)
        self.tick()
        self.changed()

    # Painting

    def _summary(self, width: int) -> list[Line]:
        on = sum(row.trigger.enabled for row in self.all)
        failing = sum(bool(row.failing) for row in self.all)
        row = Line().gap(2).add(plural(len(self.all), "trigger"), "text bold").gap(3)
        row.add("on ", "muted").add(on).gap(3).add("off ", "muted").add(len(self.all) - on)
        if failing:
            row.gap(3).add(f"{failing} failing", "bad")
        soonest = min(
            (
                (at, line_.trigger.workflow_id)
                for line_ in self.all
                if (at := read_time(line_.next))
            ),
            default=None,
        )
        right = Line()
        if soonest:
            right.add("next ", "muted").add(soonest[1], "text")
            right.add(f" in {span(soonest[0] - self.host.now())}", "accent").gap()
        return [row.right(right, width)]

    def _about(self, width: int) -> list[Line]:
        row = self.table.current
        return trigger_lines(self.host, row, width) if row else []

    def _empty(self, width: int) -> list[Line]:
        del width
        if self.all:
            return [line("No trigger matches; esc clears the filter.", "text")]
        if not self.loaded:
            return [line("reading the triggers…", "muted")]
        return [
            line("No trigger is set up.", "text bold"),
            line("a adds one here; or from a shell:", "muted"),
            line('dagnats trigger create WORKFLOW --cron "0 3 * * *"', "accent"),
        ]

    # Keys

    def on_table_moved(self, event: Table.Moved) -> None:
        """The history is that of the row."""
        del event
        pane = self.query_one("#trigger-about", Text)
        pane.top = 0
        pane.repaint()
        self.changed()

    def on_table_opened(self, event: Table.Opened) -> None:
        """Read the whole."""
        del event
        row = self.table.current
        if row is not None:
            self.host.in_background(self._read(row))

    async def _read(self, row: TriggerLine) -> None:
        def lines(width: int) -> list[Line]:
            fires = [fire_line(self.host, fire, width) for fire in row.fires]
            return [*trigger_lines(self.host, row, width, whole=True), *fires]

        await self.host.ask(Reading(f"Trigger {row.trigger.id}", lines))

    def actions(self) -> list[Action]:
        """Firing and changing."""
        return [*self.doer.actions(), *self.detail_actions()]

    def copies(self) -> list[Copy]:
        """The id, and what it reacts to."""
        row = self.table.current
        if row is None:
            return []
        return [Copy("y", "trigger id", row.trigger.id), Copy("w", "what it reacts to", row.what)]

    def command(self) -> str:
        """The list."""
        return "dagnats trigger list"

    def status(self) -> Line:
        """How many are shown."""
        return line(f"{len(self.table.rows)} of {len(self.all)}", "muted")


def _trigger_id(row: TriggerLine) -> tuple[str, str]:
    return row.trigger.id, "accent" if row.trigger.enabled else "muted"


def _workflow(row: TriggerLine) -> tuple[str, str]:
    return row.trigger.workflow_id, "text" if row.trigger.enabled else "muted"


def _good(row: TriggerLine) -> tuple[str, str]:
    if row.good is None:
        return NONE, "faint"
    return (
        f"{row.good * 100:.0f}",
        "ok" if row.good >= 0.99 else "warn" if row.good > 0.9 else "bad",
    )


def _state(row: TriggerLine) -> tuple[str, str]:
    if not row.trigger.enabled:
        return "off", "muted"
    return (f"{row.failing} bad", "bad") if row.failing else ("on", "ok")


def _values(row: TriggerLine) -> dict[str, str]:
    return {
        "kind": row.kind,
        "wf": row.trigger.workflow_id,
        "state": "on" if row.trigger.enabled else "off",
    }


def _text(row: TriggerLine) -> str:
    return f"{row.trigger.id} {row.kind} {row.trigger.workflow_id} {row.what}"

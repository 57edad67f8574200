"""The audit trail: what was done, by whom, from here and from elsewhere."""

from __future__ import annotations

import msgspec
from textual.app import ComposeResult
from textual.containers import Container

from dagnats.model.records import AuditEvent
from dagnats.model.times import read_time
from dagnats.services.address import Address
from dagnats.services.audit import list_audit
from dagnats.tui.actions import Action
from dagnats.tui.format import NONE, age, count
from dagnats.tui.line import Line, line
from dagnats.tui.screens.listing import (
    ListView,
    json_lines,
    labelled,
    stamp,
    title,
    when,
    with_term,
)
from dagnats.tui.view import Copy
from dagnats.tui.widgets.table import Column, Table
from dagnats.tui.widgets.text import Text

ROWS = 1_000
"""The newest rows that are read."""

OUTCOMES = {"success": ("ok", "ok"), "denied": ("cancelled", "warn"), "failed": ("failed", "bad")}
FINAL = ("discard", "delete", "clean", "reject", "release")
"""What cannot be taken back stands out."""


class Audit(ListView):
    """The newest rows of the trail."""

    SCOPED_CSS = False
    DEFAULT_CSS = """
    Audit #audit-body { height: 1fr; layout: horizontal; }
    Audit #audit { width: 3fr; }
    Audit #audit-about { width: 2fr; }
    Audit.-narrow #audit-body { layout: vertical; }
    Audit.-narrow #audit { width: 1fr; height: 3fr; }
    Audit.-narrow #audit-about { width: 1fr; height: 1fr; min-height: 6; }
    """
    keys = ("actor", "action", "outcome")

    def __init__(self) -> None:
        super().__init__("audit")
        self.rows: list[AuditEvent] = []
        self._looked = -1

    def compose(self) -> ComposeResult:
        """The list, and the row in full."""
        columns: list[Column[AuditEvent]] = [
            Column(title="", cell=self._mark, width=1, gap=1),
            Column(title="AGE", cell=self._age, width=6, right=True),
            Column(title="WHO", cell=self._who, width=12, flex=1),
            Column(title="DID", cell=_did, width=18, flex=1),
            Column(title="TO", cell=lambda row: (row.target, "accent"), width=16, flex=2, gap=1),
        ]
        self.table: Table[AuditEvent] = Table(columns, _key, id="audit")
        self.table.empty = self._empty
        with Container(id="audit-body"):
            yield self.table
            yield Text(self._about, ground="surface", id="audit-about")

    def _mark(self, row: AuditEvent) -> tuple[str, str]:
        glyph, role = OUTCOMES.get(row.outcome, ("unknown", "warn"))
        return self.host.look.glyph(glyph), role

    def _age(self, row: AuditEvent) -> tuple[str, str]:
        at = read_time(row.time)
        return (age(self.host.now() - at), "muted") if at else (NONE, "faint")

    def _who(self, row: AuditEvent) -> tuple[str, str]:
        return row.actor, "text bold" if row.actor == self._me() else "text"

    def _me(self) -> str:
        return self.host.session.actor if self.host.feed.link.up else ""

    def flush(self) -> None:
        """Look again whenever the feed did."""
        health = self.host.feed.health
        if health is not None and health.at != self._looked:
            self._looked = health.at
            self.load(lambda session: list_audit(session, ROWS), self._have, name="audit")

    def _have(self, rows: list[AuditEvent]) -> None:
        self.rows = rows
        self.loaded = True
        self.refiltered()

    def refiltered(self) -> None:
        """Show what the filter accepts."""
        only = self.only
        self.table.show(
            [
                row
                for row in self.rows
                if only.accepts(
                    {"actor": row.actor, "action": row.action, "outcome": row.outcome},
                    f"{row.actor} {row.action} {row.target} {row.outcome}",
                )
            ]
        )
        self.tick()
        self.changed()

    def _about(self, width: int) -> list[Line]:
        row = self.table.current
        if row is None:
            return []
        lines = [
            Line().add(row.action, "text bold"),
            labelled("to", row.target, "accent"),
            labelled("by", row.actor),
            labelled("at", f"{stamp(row.time)}  {when(row.time, self.host.now())}"),
            labelled("outcome", row.outcome, OUTCOMES.get(row.outcome, ("", "warn"))[1]),
        ]
        if row.data:
            data = msgspec.json.encode(row.data)
            lines += [Line(), title("DETAILS", width - 2), *json_lines(data, self.host.look)]
        return [Line().gap().extend(each) for each in lines]

    def _empty(self, width: int) -> list[Line]:
        del width
        if self.rows:
            return [line("No row matches; esc clears the filter.", "text")]
        if not self.loaded:
            return [line("reading the trail…", "muted")]
        return [
            line("Nothing was done yet.", "text bold"),
            line("What operators change, here or from a shell, is written down:", "muted"),
            line("replays, cancels, triggers, workflows, approvals.", "muted"),
        ]

    def on_table_moved(self, event: Table.Moved) -> None:
        """The detail is that of the row."""
        del event
        self.query_one("#audit-about", Text).repaint()
        self.changed()

    def on_table_opened(self, event: Table.Opened) -> None:
        """Go to what was acted on, where that is a screen."""
        del event
        self._go()

    def _place(self) -> Address | None:
        row = self.table.current
        if row is None:
            return None
        run = row.data.get("run_id") or row.target.partition(".")[0]
        kind = row.action.partition(".")[0]
        if kind in ("run", "dlq", "approval", "step", "signal") and len(str(run)) >= 32:
            return Address(kind="run", ids=(str(run),))
        if kind == "workflow":
            return Address(kind="flow", ids=(row.target,))
        return Address(kind="triggers") if kind == "trigger" else None

    def _go(self) -> None:
        place = self._place()
        if place is None:
            self.host.report("there is no screen for what it was done to", "warn")
        else:
            self.host.go(place)

    def actions(self) -> list[Action]:
        """Going there, and only one's own."""
        mine = any(term.key == "actor" for term in self.here.terms)
        return [
            *self.detail_actions(),
            Action(
                id="audit.mine",
                keys=("m",),
                label="everybody's" if mine else "only mine",
                title="Only what I did, or what everybody did",
                run=lambda: self.navigate(
                    with_term(self.here, "actor", "" if mine else self._me())
                ),
            ),
        ]

    def copies(self) -> list[Copy]:
        """The row."""
        row = self.table.current
        if row is None:
            return []
        return [
            Copy("y", "target", row.target),
            Copy("j", "row", msgspec.json.encode(row).decode()),
        ]

    def status(self) -> Line:
        """How many are shown."""
        return line(f"{count(len(self.table.rows))} of {count(len(self.rows))}", "muted")


def _key(row: AuditEvent) -> str:
    return f"{row.time} {row.actor} {row.action} {row.target}"


def _did(row: AuditEvent) -> tuple[str, str]:
    final = row.action.rpartition(".")[2].startswith(FINAL)
    return row.action, "warn" if final else "text"

"""What waits for a person or for a time: approvals, and runs that are to start later."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container

from dagnats.errors import InvalidError
from dagnats.model.codec import decode, is_absent
from dagnats.model.records import ApprovalToken, ScheduledRun
from dagnats.model.times import read_time
from dagnats.model.workflow import ApprovalConfig
from dagnats.services.address import Address
from dagnats.services.run_steps import pending_approvals
from dagnats.services.schedules import list_schedules
from dagnats.services.session import Session
from dagnats.tui.actions import Action
from dagnats.tui.format import NONE, age, plural, size, span
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.screens.listing import json_lines, labelled, paired, stamp, title, when
from dagnats.tui.screens.sections import Section, Sectioned
from dagnats.tui.screens.waiting_do import WaitingDoer
from dagnats.tui.view import Copy
from dagnats.tui.widgets.table import Column, Table
from dagnats.tui.widgets.text import Text


class Waiting(Sectioned):
    """Approvals and schedules."""

    SCOPED_CSS = False
    DEFAULT_CSS = """
    Waiting #waiting-body { height: 1fr; layout: horizontal; }
    Waiting #waiting-lists { width: 3fr; }
    Waiting #waiting-about { width: 2fr; }
    Waiting.-narrow #waiting-body { layout: vertical; }
    Waiting.-narrow #waiting-lists { width: 1fr; height: 3fr; }
    Waiting.-narrow #waiting-about { width: 1fr; height: 2fr; min-height: 7; }
    """
    keys = ("wf", "run", "step")

    def __init__(self) -> None:
        super().__init__("waiting")
        self.approvals: list[ApprovalToken] = []
        self.schedules: list[ScheduledRun] = []
        self.doer = WaitingDoer(self)
        self._looked = -1

    def compose(self) -> ComposeResult:
        """Strip, lists, and what the cursor is on."""
        asked: list[Column[ApprovalToken]] = [
            Column(title="RUN", cell=lambda a: (a.run_id[:8], "accent"), width=8),
            Column(
                title="WORKFLOW", cell=lambda a: (self.workflow_of(a), "text"), width=14, flex=2
            ),
            Column(title="STEP", cell=lambda a: (a.step_id, "text"), width=10, flex=1),
            Column(title="ABOUT", cell=self._asks, width=13, flex=3, drop=2),
            Column(title="WAITS", cell=self._waits, width=6, right=True),
            Column(title="EXPIRES", cell=self._expires, width=7, right=True, gap=1),
        ]
        later: list[Column[ScheduledRun]] = [
            Column(title="RUN", cell=lambda s: (s.run_id[:8], "accent"), width=8),
            Column(title="WORKFLOW", cell=lambda s: (s.workflow_id, "text"), width=16, flex=2),
            Column(title="STARTS", cell=lambda s: (stamp(s.run_at), "text"), width=15),
            Column(title="IN", cell=self._due, width=6, right=True),
            Column(title="INPUT", cell=_input_size, width=8, right=True, drop=2),
            Column(title="SET", cell=self._set, width=6, right=True, drop=3, gap=1),
        ]
        self.asked: Table[ApprovalToken] = Table(asked, approval_key, markable=True, id="approvals")
        self.later: Table[ScheduledRun] = Table(
            later, lambda s: s.run_id, markable=True, id="schedules"
        )
        self.asked.empty = self._nobody_asks
        self.later.empty = self._nothing_later
        self.parts = [
            Section("waiting", "Approvals", self.asked, lambda: (str(len(self.approvals)), "")),
            Section("schedules", "Schedules", self.later, lambda: (str(len(self.schedules)), "")),
        ]
        yield from self.strip()
        with Container(id="waiting-body"):
            with Container(id="waiting-lists"):
                yield self.asked
                yield self.later
            yield Text(self._about, ground="surface", id="waiting-about")

    # Cells

    def workflow_of(self, row: ApprovalToken) -> str:
        """The workflow whose run asks, as far as it is known."""
        run = self.host.feed.runs.get(row.run_id)
        return run.workflow if run else NONE

    def _workflow(self, row: ApprovalToken) -> tuple[str, str]:
        return self.workflow_of(row), "text"

    def config_of(self, row: ApprovalToken) -> ApprovalConfig:
        """What the step says of its question."""
        flow = self.host.feed.flows.get(self.workflow_of(row))
        for step in flow.steps if flow else ():
            if step.id == row.step_id and not is_absent(step.config):
                try:
                    return decode(bytes(step.config), ApprovalConfig)
                except InvalidError:
                    break
        return ApprovalConfig()

    def _asks(self, row: ApprovalToken) -> tuple[str, str]:
        config = self.config_of(row)
        return config.description or config.subject, "muted"

    def _waits(self, row: ApprovalToken) -> tuple[str, str]:
        at = read_time(row.created_at)
        return (age(self.host.now() - at), "text") if at else (NONE, "faint")

    def _expires(self, row: ApprovalToken) -> tuple[str, str]:
        at = read_time(row.expires_at)
        if not at:
            return "never", "faint"
        left = at - self.host.now()
        return (
            (span(left), "warn" if left < 600_000_000_000 else "text")
            if left > 0
            else (
                "expired",
                "bad",
            )
        )

    def _due(self, row: ScheduledRun) -> tuple[str, str]:
        at = read_time(row.run_at)
        left = (at or 0) - self.host.now()
        return (span(left), "accent") if left > 0 else ("due", "warn")

    def _set(self, row: ScheduledRun) -> tuple[str, str]:
        at = read_time(row.created_at)
        return (age(self.host.now() - at), "muted") if at else (NONE, "faint")

    # What there is

    def flush(self) -> None:
        """Look again whenever the feed did."""
        health = self.host.feed.health
        if health is not None and health.at != self._looked:
            self._looked = health.at
            self.reread()

    def reread(self) -> None:
        """Read approvals and schedules."""
        self.load(_read, self._have, name="waiting")

    def _have(self, found: tuple[list[ApprovalToken], list[ScheduledRun]]) -> None:
        self.approvals, self.schedules = found
        self.loaded = True
        self.refiltered()

    def refiltered(self) -> None:
        """Show what the filter accepts."""
        only = self.only
        self.asked.show(
            [
                row
                for row in self.approvals
                if only.accepts(
                    {"wf": self.workflow_of(row), "run": row.run_id, "step": row.step_id},
                    f"{row.run_id} {row.step_id} {self.workflow_of(row)} {self._asks(row)[0]}",
                )
            ]
        )
        self.later.show(
            [
                row
                for row in self.schedules
                if only.accepts(
                    {"wf": row.workflow_id, "run": row.run_id}, f"{row.run_id} {row.workflow_id}"
                )
            ]
        )
        self.tick()
        self.changed()

    # Painting

    def _about(self, width: int) -> list[Line]:
        inner = width - 2
        if self.section.name == "schedules":
            later = self.later.current
            lines = self._schedule(later, inner) if later else []
        else:
            asked = self.asked.current
            lines = self._approval(asked, inner) if asked else []
        return [Line().gap().extend(each) for each in lines]

    def _approval(self, row: ApprovalToken, width: int) -> list[Line]:
        now, config = self.host.now(), self.config_of(row)
        head = Line().add(self.workflow_of(row), "text bold").add(" / ", "muted")
        lines = [head.add(row.step_id, "text bold").clip(width)]
        lines += wrapped(config.description or "It says nothing about what it asks.", width, "text")
        run = Line().add("run", "muted", width=11).gap()
        run.add(row.run_id[:8], "accent", link=f"go:run {row.run_id}")
        lines.append(Line())
        lines += paired(
            [
                run,
                labelled("subject", config.subject or NONE),
                labelled("asked", when(row.created_at, now)),
                labelled("expires", when(row.expires_at, now)),
            ],
            width,
        )
        lines += [labelled(key, value, "muted") for key, value in config.metadata.items()]
        return [*lines, Line(), line("a approves, X rejects; both may carry JSON.", "muted")]

    def _schedule(self, row: ScheduledRun, width: int) -> list[Line]:
        now = self.host.now()
        lines = [Line().add(row.workflow_id, "text bold").gap(2).add(row.run_id, "accent")]
        lines += paired(
            [
                labelled("starts", f"{stamp(row.run_at)}  {when(row.run_at, now)}"),
                labelled("set", when(row.created_at, now)),
            ],
            width,
        )
        given = b"" if is_absent(row.input) else bytes(row.input)
        return [*lines, Line(), title("INPUT", width), *json_lines(given, self.host.look, 200)]

    def _nobody_asks(self, width: int) -> list[Line]:
        del width
        if self.here.text or self.here.terms:
            return [line("No approval matches; esc clears the filter.", "text")]
        return [
            line("Nothing waits for a decision.", "ok bold"),
            line("Runs that reach an approval step show up here, and can be", "muted"),
            line("approved or rejected with a key, or with", "muted"),
            line("dagnats run approve RUN STEP", "accent"),
        ]

    def _nothing_later(self, width: int) -> list[Line]:
        del width
        if self.here.text or self.here.terms:
            return [line("No schedule matches; esc clears the filter.", "text")]
        return [
            line("No run is to start later.", "text bold"),
            line("Start one at a time: t on a workflow (5), or", "muted"),
            line("dagnats run start WORKFLOW --at 2026-12-01T09:00:00Z", "accent"),
        ]

    # Keys

    def on_table_moved(self, event: Table.Moved) -> None:
        """The detail follows the cursor."""
        if event.table is self.section.pane:
            self.query_one("#waiting-about", Text).repaint()
            self.changed()

    def on_table_opened(self, event: Table.Opened) -> None:
        """Go to the run, if it has begun."""
        del event
        row = self.asked.current
        if self.section.name == "waiting" and row is not None:
            self.host.go(Address(kind="run", ids=(row.run_id,)))

    def actions(self) -> list[Action]:
        """Deciding and cancelling."""
        return [*self.doer.actions(), *self.detail_actions(), *self.section_actions()]

    def copies(self) -> list[Copy]:
        """The run, and its input."""
        if self.section.name == "waiting":
            asked = self.asked.current
            return [Copy("y", "run id", asked.run_id)] if asked else []
        later = self.later.current
        if later is None:
            return []
        given = "" if is_absent(later.input) else bytes(later.input).decode(errors="replace")
        return [Copy("y", "run id", later.run_id), Copy("j", "input", given)]

    def command(self) -> str:
        """The list."""
        scheduled = self.section.name == "schedules"
        return "dagnats run list --scheduled" if scheduled else "dagnats run list --status running"

    def status(self) -> Line:
        """How many are shown, and marked."""
        table = self.later if self.section.name == "schedules" else self.asked
        row = Line()
        if marked := len(table.marked()):
            row.add(f"{marked} marked", "accent").gap(2)
        word = "schedule" if table is self.later else "approval"
        return row.add(plural(len(table.rows), word), "muted")


def approval_key(row: ApprovalToken) -> str:
    """What an approval is known by."""
    return f"{row.run_id}.{row.step_id}"


def _input_size(row: ScheduledRun) -> tuple[str, str]:
    return (NONE, "faint") if is_absent(row.input) else (size(len(bytes(row.input))), "muted")


async def _read(session: Session) -> tuple[list[ApprovalToken], list[ScheduledRun]]:
    return await pending_approvals(session), await list_schedules(session)

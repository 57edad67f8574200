"""Workflows: how each is doing, and starting one."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container

from dagnats.model.times import SECOND
from dagnats.model.trigger import TriggerDef
from dagnats.model.workflow import WorkflowDef
from dagnats.services.address import Address, Term
from dagnats.services.triggers import list_triggers
from dagnats.tui.actions import Action
from dagnats.tui.format import NONE, age, plural, short, span, spark
from dagnats.tui.line import Line, line
from dagnats.tui.screens.flow_do import FlowDoer
from dagnats.tui.screens.flow_lines import checks, summary_lines
from dagnats.tui.screens.flow_stats import FlowStats, stats_of
from dagnats.tui.screens.listing import ListView
from dagnats.tui.view import Copy
from dagnats.tui.widgets.table import Column, Table
from dagnats.tui.widgets.text import Text

SHARE = 9
"""How many times as long as it took nothing is counted."""

KINDS = ("cron", "subject", "webhook", "http", "external")


class Flows(ListView):
    """The registered workflows."""

    SCOPED_CSS = False
    DEFAULT_CSS = """
    Flows #flows-body { height: 1fr; layout: horizontal; }
    Flows #flows { width: 5fr; }
    Flows #flow-about { width: 3fr; }
    Flows.-narrow #flows-body { layout: vertical; }
    Flows.-narrow #flows { width: 1fr; height: 1fr; }
    Flows.-narrow #flow-about { width: 1fr; height: 1fr; }
    """
    keys = ("wf",)

    def __init__(self) -> None:
        super().__init__("flows")
        self.stats: dict[str, FlowStats] = {}
        self.triggers: dict[str, list[str]] = {}
        self.doer = FlowDoer(lambda: self.host, lambda: self.table.current)
        self._counted = (-1, -1)

    def compose(self) -> ComposeResult:
        """The list, and the graph of what the cursor is on."""
        columns: list[Column[WorkflowDef]] = [
            Column(title="", cell=self._mark, width=1, gap=1),
            Column(title="WORKFLOW", cell=lambda flow: (flow.name, "accent"), width=14, flex=3),
            Column(title="STEPS", cell=self._steps, width=5, right=True, drop=4),
            Column(title="24 H", cell=self._hours, width=12, drop=2),
            Column(title="RUNS", cell=self._runs, width=5, right=True),
            Column(title="P50", cell=self._p50, width=6, right=True),
            Column(title="P95", cell=self._p95, width=6, right=True, drop=5),
            Column(title="OK%", cell=self._good, width=4, right=True),
            Column(title="NOW", cell=self._going, width=9, flex=1),
            Column(title="TRIGGERS", cell=self._triggers, width=9, drop=6),
            Column(title="LAST", cell=self._last, width=6, right=True, gap=1),
        ]
        self.table: Table[WorkflowDef] = Table(columns, lambda flow: flow.name, id="flows")
        self.table.empty = self._empty
        with Container(id="flows-body"):
            yield self.table
            yield Text(self._about, ground="surface", id="flow-about")

    # Cells

    def _of(self, flow: WorkflowDef) -> FlowStats:
        return self.stats.get(flow.name) or FlowStats()

    def _mark(self, flow: WorkflowDef) -> tuple[str, str]:
        health = self.host.feed.health
        if health is not None and flow.name in health.paused.workflows:
            return self.host.look.glyph("paused"), "warn"
        return ("", "")

    def _steps(self, flow: WorkflowDef) -> tuple[str, str]:
        return str(len(flow.steps)), "muted"

    def _hours(self, flow: WorkflowDef) -> tuple[str, str]:
        return spark(self._of(flow).hours, 12, self.host.look.ascii_only), "run"

    def _runs(self, flow: WorkflowDef) -> tuple[str, str]:
        started = self._of(flow).started
        return short(started), "text" if started else "faint"

    def _p50(self, flow: WorkflowDef) -> tuple[str, str]:
        return span(self._of(flow).quantile(0.5)), "text"

    def _p95(self, flow: WorkflowDef) -> tuple[str, str]:
        return span(self._of(flow).quantile(0.95)), "muted"

    def _good(self, flow: WorkflowDef) -> tuple[str, str]:
        good = self._of(flow).good
        if good is None:
            return NONE, "faint"
        # The thresholds of the dashboard this follows (cli-beyond.md B1).
        role = "ok" if good >= 0.99 else "warn" if good >= 0.95 else "bad"
        return f"{good * 100:.0f}", role

    def _going(self, flow: WorkflowDef) -> Line:
        row = Line()
        for state, number in sorted(self._of(flow).states.items()):
            glyph, role = self.host.look.status(state)
            row.gap(2 if row.spans else 0).add(f"{glyph} {number}", role)
        return row

    def _triggers(self, flow: WorkflowDef) -> tuple[str, str]:
        return " ".join(self.triggers.get(flow.name, [])), "muted"

    def _last(self, flow: WorkflowDef) -> tuple[str, str]:
        newest = self._of(flow).newest
        return (age(self.host.now() - newest.created_ns), "muted") if newest else (NONE, "faint")

    # What there is

    def refiltered(self) -> None:
        """Read the triggers anew as well."""
        self.load(list_triggers, self._have_triggers, name="triggers")

    def _have_triggers(self, triggers: list[TriggerDef]) -> None:
        self.triggers = {}
        for trigger in triggers:
            kind = next((kind for kind in KINDS if getattr(trigger, kind) is not None), "")
            kinds = self.triggers.setdefault(trigger.workflow_id, [])
            if kind not in kinds:
                kinds.append(kind)
        self.tick()

    def flush(self) -> None:
        """Take over definitions; count runs at most every second."""
        feed = self.host.feed
        only = self.only
        self.table.show(
            [
                flow
                for _, flow in sorted(feed.flows.items())
                if only.accepts({"wf": flow.name}, _text(flow))
            ]
        )
        mark = (feed.runs.version, self.host.now() // SECOND)
        fresh = mark[0] != self._counted[0] and mark[1] >= self._counted[1]
        if fresh or not (self.stats or self.loaded):
            self._counted = (mark[0], mark[1] + 1)
            self.spawn("stats", self._count())
        self.tick()
        self.changed()
        if not feed.flows:
            self.loaded = feed.health is not None

    async def _count(self) -> None:
        began = self.host.now()
        self.stats = await stats_of(self.host.feed.runs.newest(), began)
        # Counting very many runs may take a tenth of the time at most.
        rest = (self.host.now() - began) * SHARE // SECOND
        self._counted = (self._counted[0], self._counted[1] + rest)
        self.loaded = self.host.feed.runs.complete
        self.tick()

    def _about(self, width: int) -> list[Line]:
        flow = self.table.current
        if flow is None:
            return []
        look, health = self.host.look, self.host.feed.health
        lines = [Line().add(flow.name, "text bold", most=width - 2), *checks(flow, health, look)]
        if self.doer.paused():
            lines.append(line(f"{look.glyph('paused')} paused: P resumes it", "warn"))
        lines += [Line(), *summary_lines(flow, health, look, width - 2)]
        return [Line().gap().extend(each) for each in lines]

    def _empty(self, width: int) -> list[Line]:
        del width
        if self.here.text or self.here.terms:
            return [line("No workflow matches; esc clears the filter.", "text")]
        return [
            line("No workflow is registered.", "text bold"),
            line("Write one and register it:", "muted"),
            line("dagnats init my-project", "accent"),
            line("dagnats workflow register my-project/workflow.json", "accent"),
        ]

    # Keys

    def on_table_moved(self, event: Table.Moved) -> None:
        """The graph is that of the row."""
        del event
        pane = self.query_one("#flow-about", Text)
        pane.top = 0
        pane.repaint()
        self.changed()

    def on_table_opened(self, event: Table.Opened) -> None:
        """Show the workflow."""
        del event
        flow = self.table.current
        if flow is not None:
            self.host.go(Address(kind="flow", ids=(flow.name,)))

    def actions(self) -> list[Action]:
        """Starting, and everything else that can be done with a workflow."""
        return [
            *self.doer.actions(),
            *self.detail_actions(),
            Action(
                id="flows.runs",
                keys=("o",),
                label="runs",
                title="Its runs",
                run=self._go_runs,
                off=lambda: "" if self.table.current else "no workflow is chosen",
                group="Go",
            ),
        ]

    def _go_runs(self) -> None:
        flow = self.table.current
        if flow is not None:
            self.host.go(Address(kind="runs", terms=(Term(key="wf", values=(flow.name,)),)))

    def copies(self) -> list[Copy]:
        """The name."""
        flow = self.table.current
        return [Copy("y", "workflow name", flow.name)] if flow else []

    def command(self) -> str:
        """The list."""
        return "dagnats workflow list"

    def status(self) -> Line:
        """How many."""
        return line(plural(len(self.table.rows), "workflow"), "muted")


def _text(flow: WorkflowDef) -> str:
    return " ".join((flow.name, *(f"{step.id} {step.task}" for step in flow.steps)))

"""One workflow: its steps as a graph, its definition, its versions."""

from __future__ import annotations

import msgspec
from textual.app import ComposeResult
from textual.containers import Container

from dagnats.model.codec import encode
from dagnats.model.times import read_time
from dagnats.model.workflow import StepDef, WorkflowDef
from dagnats.services.address import Address, Term
from dagnats.services.documents import document
from dagnats.services.run_rerun import changes
from dagnats.services.session import Session
from dagnats.services.workflows import Revision, get_revision, revisions
from dagnats.tui.actions import Action
from dagnats.tui.format import age, plural
from dagnats.tui.jsontree import json_text
from dagnats.tui.line import Line, line
from dagnats.tui.run.shape import Shape
from dagnats.tui.screens.flow_do import FlowDoer
from dagnats.tui.screens.flow_lines import (
    about_step,
    checks,
    doing,
    limits_of,
    plain,
    rail_line,
    shape_of_flow,
    step_state,
)
from dagnats.tui.screens.listing import (
    change_lines,
    json_lines,
    labelled,
    paired,
    stamp,
    term,
    title,
    with_term,
)
from dagnats.tui.screens.sections import Section, Sectioned
from dagnats.tui.sheets.base import Reading
from dagnats.tui.view import Copy
from dagnats.tui.widgets.table import Column, Table
from dagnats.tui.widgets.text import Text


class Flow(Sectioned):
    """A workflow by name."""

    SCOPED_CSS = False
    DEFAULT_CSS = """
    Flow #flow-head { height: 1; }
    Flow #flow-steps { height: 1fr; layout: horizontal; }
    Flow #steps { width: 3fr; }
    Flow #step-about { width: 2fr; }
    Flow.-narrow #flow-steps { layout: vertical; }
    Flow.-narrow #steps { width: 1fr; height: 1fr; }
    Flow.-narrow #step-about { width: 1fr; height: 1fr; }
    """
    keys = ("view", "step")

    def __init__(self) -> None:
        super().__init__("flow")
        self.flow: WorkflowDef | None = None
        self.shape: Shape | None = None
        self.versions: list[Revision] = []
        self.places: dict[str, int] = {}
        self.doer = FlowDoer(lambda: self.host, lambda: self.flow)

    def compose(self) -> ComposeResult:
        """Head, strip, and a pane for each section."""
        steps: list[Column[StepDef]] = [
            Column(title="", cell=self._rail, width=8),
            Column(title="STEP", cell=lambda step: (step.id, "text"), width=12, flex=2),
            Column(title="TASK", cell=lambda step: (doing(step), "muted"), width=14, flex=2),
            Column(title="", cell=self._word, width=9, drop=2),
            Column(title="", cell=lambda s: (about_step(s), "muted"), width=12, flex=3, drop=3),
        ]
        self.step_list: Table[StepDef] = Table(steps, lambda step: step.id, id="steps")
        past: list[Column[Revision]] = [
            Column(title="VERSION", cell=lambda r: (r.hash[:12], "accent"), width=12),
            Column(title="REGISTERED", cell=lambda r: (stamp(r.registered_at), "text"), width=15),
            Column(title="AGE", cell=self._age, width=6, right=True),
            Column(title="STEPS", cell=lambda r: (str(r.steps), "text"), width=5, right=True),
            Column(title="", cell=_current, width=18, flex=1),
        ]
        self.past: Table[Revision] = Table(past, lambda r: r.hash, markable=True, id="versions")
        self.past.empty = lambda width: [line("This server keeps no older versions.", "muted")]
        self.steps_pane = Container(
            self.step_list,
            Text(self._about, ground="surface", id="step-about"),
            id="flow-steps",
        )
        self.json = Text(self._json, id="flow-json")
        self.parts = [
            Section("steps", "Steps", self.steps_pane, self._step_count),
            Section("definition", "Definition", self.json),
            Section("versions", "Versions", self.past, lambda: (str(len(self.versions)), "")),
        ]
        yield Text(self._head, focusable=False, id="flow-head")
        yield from self.strip()
        yield self.steps_pane
        yield self.json
        yield self.past

    def _step_count(self) -> tuple[str, str]:
        return str(len(self.flow.steps)) if self.flow else "", ""

    # Cells

    def _rail(self, step: StepDef) -> Line:
        at = self.places.get(step.id)
        if self.shape is None or at is None:
            return Line()
        glyph, role, _ = step_state(step, self.host.feed.health)
        return rail_line(self.shape, at, self.host.look.glyph(glyph), role, self.host.look)

    def _word(self, step: StepDef) -> tuple[str, str]:
        _, role, word = step_state(step, self.host.feed.health)
        return word, role

    def _age(self, revision: Revision) -> tuple[str, str]:
        return age(self.host.now() - (read_time(revision.registered_at) or 0)), "muted"

    # Where

    def section_of(self, address: Address) -> str:
        """The section is a term: the kind says which workflow's screen it is."""
        return term(address, "view")

    def with_section(self, address: Address, name: str) -> Address:
        """The address of another section."""
        return with_term(address, "view", "" if name == "steps" else name)

    @property
    def workflow(self) -> str:
        """The name of the workflow."""
        return self.here.ids[0] if self.here.ids else ""

    def refiltered(self) -> None:
        """Another workflow, or another section of it."""
        name = self.workflow
        self.load(lambda session: revisions(session, name), self._have_versions, name="versions")
        self.flush()

    def _have_versions(self, found: list[Revision]) -> None:
        self.versions = found
        self.past.show(found)
        self.tick()

    def flush(self) -> None:
        """Take over the definition if it is another one."""
        feed = self.host.feed
        found = feed.flows.get(self.workflow)
        if found is not None and found != self.flow:
            new = self.flow is not None
            self.flow = found
            self.shape = shape_of_flow(found)
            rows = {step.id: step for step in found.steps}
            self.places = {node.id: at for at, node in enumerate(self.shape.nodes)}
            for at, node in enumerate(self.shape.nodes):
                self.places |= dict.fromkeys(node.members, at)
            self.step_list.columns = [
                with_width(self.step_list.columns[0], max(2, self.shape.width)),
                *self.step_list.columns[1:],
            ]
            order = [step for node in self.shape.nodes for step in (node.members or (node.id,))]
            self.step_list.show([rows[step] for step in order if step in rows])
            if wanted := term(self.here, "step"):
                self.step_list.move_to_key(wanted)
            if new:
                self.refiltered()
        self.loaded = self.flow is not None or (bool(feed.flows) or feed.health is not None)
        self.tick()
        self.changed()

    # Painting

    def _head(self, width: int) -> list[Line]:
        flow = self.flow
        if flow is None:
            told = f"There is no workflow {self.workflow}" if self.loaded else "reading…"
            return [Line().gap(2).add(told, "warn").clip(width)]
        row = Line().gap(2).add(flow.name, "text bold").gap(3)
        row.extend(checks(flow, self.host.feed.health, self.host.look)[0])
        if self.doer.paused():
            row.gap(3).add(f"{self.host.look.glyph('paused')} paused", "warn")
        return [row.clip(width)]

    def headline(self) -> Line:
        """How often it was registered."""
        version = self.flow.version if self.flow else ""
        return Line().add("version ", "muted").add(version, "text") if version else Line()

    def _about(self, width: int) -> list[Line]:
        flow, step = self.flow, self.step_list.current
        if flow is None:
            return []
        lines: list[Line] = []
        inner = width - 2
        if step is not None:
            lines += [Line().add(step.id, "text bold").gap(2).add(step.task, "accent")]
            after = ", ".join(step.depends_on) or "nothing"
            lines += paired(
                [
                    labelled("after", after),
                    labelled("type", str(step.type)),
                    labelled("also", about_step(step) or "nothing special"),
                ],
                inner,
            )
            lines += [Line(), title("STEP", inner)]
            lines += json_lines(msgspec.json.encode(document(step)), self.host.look, 60)
            lines.append(Line())
        lines += [title("WORKFLOW", inner), *paired(limits_of(flow), inner)]
        return [Line().gap().extend(each) for each in lines]

    def _json(self, width: int) -> list[Line]:
        del width
        if self.flow is None:
            return []
        data = msgspec.json.encode(document(self.flow))
        return [Line().gap().extend(each) for each in json_lines(data, self.host.look, 5_000)]

    # Keys

    def on_table_moved(self, event: Table.Moved) -> None:
        """The detail is that of the step."""
        if event.table is self.step_list:
            pane = self.query_one("#step-about", Text)
            pane.top = 0
            pane.repaint()
        self.changed()

    def on_table_opened(self, event: Table.Opened) -> None:
        """The runs at a step; what a version changed."""
        if event.table is self.past:
            self.host.in_background(self.diff())
        else:
            self._go_runs()

    def actions(self) -> list[Action]:
        """What can be done with the workflow, and with its versions."""
        found = [*self.doer.actions()]
        if self.section.name == "versions":
            diff = Action(
                id="flow.diff",
                keys=("d",),
                label="diff",
                title="What changed: two marked versions, or from the one before",
                run=self.diff,
                off=lambda: "" if len(self.versions) > 1 else "there is one version only",
            )
            found.insert(0, diff)
        runs = Action(
            id="flow.runs", keys=("o",), label="runs", title="Its runs", run=self._go_runs,
            group="Go",
        )  # fmt: skip
        return [*found, runs, *self.detail_actions(), *self.section_actions()]

    def _go_runs(self) -> None:
        terms = [Term(key="wf", values=(self.workflow,))]
        step = self.step_list.current
        if self.section.name == "steps" and step is not None and self.step_list.has_focus:
            terms.append(Term(key="step", values=(step.id,)))
        self.host.go(Address(kind="runs", terms=tuple(terms)))

    async def diff(self) -> None:
        """What is different between two versions."""
        pair = self._pair()
        if pair is None:
            self.host.report("there is one version only", "warn")
            return
        old, new = pair
        before = await self._definition(self.host.session, old)
        after = await self._definition(self.host.session, new)
        found = [
            (change.path, json_text(change.old), json_text(change.new))
            for change in changes(plain(before), plain(after))
        ]
        heading = f"{self.workflow}: {old.hash[:8]} to {new.hash[:8]}"
        await self.host.ask(
            Reading(
                heading,
                lambda width: [
                    line(f"{stamp(old.registered_at)}  to  {stamp(new.registered_at)}", "muted"),
                    line(plural(len(found), "change"), "text bold"),
                    Line(),
                    *change_lines(found, width),
                ],
            )
        )

    def _pair(self) -> tuple[Revision, Revision] | None:
        """Older and newer of what is to be compared."""
        marked = self.past.marked()
        if len(marked) == 2:
            return marked[1], marked[0]
        if len(self.versions) < 2:
            return None
        at = min(self.past.cursor, len(self.versions) - 2)
        return self.versions[at + 1], self.versions[at]

    async def _definition(self, session: Session, revision: Revision) -> WorkflowDef:
        return await get_revision(session, self.workflow, revision.hash)

    def copies(self) -> list[Copy]:
        """The name, and the definition."""
        if self.flow is None:
            return []
        return [
            Copy("y", "workflow name", self.flow.name),
            Copy("j", "definition", msgspec.json.format(encode(self.flow), indent=2).decode()),
        ]

    def command(self) -> str:
        """The same from a shell."""
        if self.section.name == "versions":
            return f"dagnats workflow revisions {self.workflow}"
        return f"dagnats workflow show {self.workflow}"

    def status(self) -> Line:
        """How many runs are known."""
        known = self.host.feed.runs.workflows.get(self.workflow, 0)
        return line(plural(known, "run"), "muted")


def _current(revision: Revision) -> tuple[str, str]:
    return ("new runs take it", "ok") if revision.current else ("", "")


def with_width(column: Column[StepDef], width: int) -> Column[StepDef]:
    """The column with another width."""
    return Column(title=column.title, cell=column.cell, width=width, gap=column.gap)

"""Queues and workers: what waits, what is in hand, who serves what, and what nobody serves."""

from __future__ import annotations

from itertools import islice

from textual.app import ComposeResult
from textual.containers import Container

from dagnats.model.records import WorkerRegistration
from dagnats.model.times import read_time
from dagnats.services.address import Address, Term
from dagnats.services.queues import oldest_tasks
from dagnats.services.workers import WorkerDetail, get_worker
from dagnats.tui.actions import Action
from dagnats.tui.format import NONE, age, bar, count, plural, spark
from dagnats.tui.line import Line, line
from dagnats.tui.screens.queue_detail import NAMES, queue_detail, worker_detail
from dagnats.tui.screens.queue_rows import Busy, Depths, QueueLine, busy_with, queue_lines
from dagnats.tui.screens.sections import Section, Sectioned
from dagnats.tui.view import Copy
from dagnats.tui.widgets.table import Column, Table
from dagnats.tui.widgets.text import Text

SLOTS = 8
"""Cells of the bar that shows how busy a worker is."""

SCAN = 20_000
"""The newest runs that are looked at to see what workers have in hand."""


class Queues(Sectioned):
    """Task queues, and the workers that serve them."""

    SCOPED_CSS = False
    DEFAULT_CSS = """
    Queues #loud { height: auto; max-height: 2; }
    Queues #queue-body { height: 1fr; layout: horizontal; }
    Queues #tables { width: 5fr; }
    Queues #queue-detail { width: 3fr; }
    Queues.-narrow #queue-body { layout: vertical; }
    Queues.-narrow #tables { width: 1fr; height: 3fr; }
    Queues.-narrow #queue-detail { width: 1fr; height: 2fr; min-height: 7; }
    """
    keys = ("task", "worker", "wf")

    def __init__(self) -> None:
        super().__init__("queues")
        self.lines: list[QueueLine] = []
        self.depths = Depths()
        self.oldest: dict[str, int] = {}
        self.busy = Busy()
        self.worker: WorkerDetail | None = None

    def compose(self) -> ComposeResult:
        """What is loud, the strip, the lists, and what the cursor is on."""
        self.queue_list: Table[QueueLine] = Table(
            self._queue_columns(), lambda q: q.task, id="queues"
        )
        self.worker_list: Table[WorkerRegistration] = Table(
            self._worker_columns(), lambda worker: worker.worker_id, id="workers"
        )
        self.queue_list.empty = self._no_queues
        self.worker_list.empty = self._no_workers
        self.parts = [
            Section("queues", "Queues", self.queue_list, lambda: (str(len(self.lines)), "")),
            Section("workers", "Workers", self.worker_list, self._worker_count),
        ]
        yield Text(self._loud, focusable=False, id="loud")
        yield from self.strip()
        with Container(id="queue-body"):
            with Container(id="tables"):
                yield self.queue_list
                yield self.worker_list
            yield Text(self._detail, ground="surface", id="queue-detail")

    # Columns

    def _queue_columns(self) -> list[Column[QueueLine]]:
        look = self.look_glyph
        return [
            Column(title="", cell=lambda q: (look(q.glyph), q.role), width=1, gap=1),
            Column(title="TASK", cell=lambda q: (q.task, "text"), width=16, flex=3),
            Column(title="WAITS", cell=self._pending, width=6, right=True),
            Column(title="IN HAND", cell=lambda q: number(q.row.in_flight), width=7, right=True),
            Column(
                title="AGAIN",
                cell=lambda q: number(q.row.redelivered, "retry"),
                width=5,
                right=True,
                drop=2,
            ),
            Column(title="OLDEST", cell=self._oldest_cell, width=6, right=True),
            Column(title="WORKERS", cell=self._served_by, width=7, right=True, drop=1),
            Column(title="2 MIN", cell=self._depth_cell, width=10, drop=3),
            Column(title="WHY", cell=lambda q: q.gate, width=17, flex=2, gap=0),
        ]

    def look_glyph(self, name: str) -> str:
        """A glyph of the theme in force."""
        return self.host.look.glyph(name)

    def _pending(self, q: QueueLine) -> tuple[str, str]:
        return number(q.row.pending, f"{q.gate[1]} bold" if q.gate[1] else "text bold")

    def _oldest_cell(self, q: QueueLine) -> tuple[str, str]:
        at = self.oldest.get(q.task)
        return (age(self.host.now() - at), "text") if at else (NONE, "faint")

    def _served_by(self, q: QueueLine) -> tuple[str, str]:
        if q.workers:
            return str(len(q.workers)), "text"
        return ("?", "muted") if q.row.served else ("none", q.gate[1] or "muted")

    def _depth_cell(self, q: QueueLine) -> tuple[str, str]:
        ring = self.depths.seen.get(q.task, [])
        return spark(ring, 10, self.host.look.ascii_only), "muted" if not any(ring) else "run"

    def _worker_columns(self) -> list[Column[WorkerRegistration]]:
        return [
            Column(title="WORKER", cell=lambda w: (name_of(w), "accent"), width=14, flex=2),
            Column(title="IN HAND", cell=self._slots, width=SLOTS + 6),
            Column(title="HEARD", cell=self._heard, width=6, right=True),
            Column(title="HOST", cell=lambda w: (w.hostname, "muted"), width=12, drop=2),
            Column(
                title="MAKE",
                cell=lambda w: (f"{w.language} {w.version}".strip(), "muted"),
                width=12,
                drop=3,
            ),
            Column(
                title="SERVES",
                cell=lambda w: (" ".join(w.task_types), "text"),
                width=16,
                flex=3,
                gap=0,
            ),
        ]

    def _slots(self, worker: WorkerRegistration) -> Line:
        busy, most = self.busy.workers.get(worker.worker_id, 0), worker.max_tasks
        look = self.host.look
        full, rest = bar(busy / most if most else 0, SLOTS, look.glyph("load"), look.glyph("queue"))
        row = Line().add(full, "run").add(rest, "faint")
        return row.gap().add(f"{busy}/{most or '?'}", "muted")

    def _heard(self, worker: WorkerRegistration) -> tuple[str, str]:
        at = read_time(worker.last_seen)
        return (age(self.host.now() - at), "muted") if at else (NONE, "muted")

    def _worker_count(self) -> tuple[str, str]:
        health = self.host.feed.health
        known = len(health.workers) if health else 0
        return str(known), "" if known else "warn"

    # What there is

    def flush(self) -> None:
        """Take over the last look at the server."""
        health = self.host.feed.health
        if health is None:
            return
        if self.depths.look(health):
            self._look_closer()
        self.refiltered()
        self.loaded = True

    def refiltered(self) -> None:
        """Show what the filter accepts."""
        health = self.host.feed.health
        if health is None:
            return
        only = self.only
        self.lines = queue_lines(health, self.host.feed.flows)
        self.queue_list.show(
            [q for q in self.lines if only.accepts({"task": q.task, "wf": _workflows(q)}, q.text)]
        )
        self.worker_list.show(
            [
                worker
                for worker in health.workers
                if only.accepts({"worker": worker.worker_id}, _worker_text(worker))
            ]
        )
        self.tick()
        self.changed()

    def _look_closer(self) -> None:
        """What a look does not tell: how old the oldest tasks are, what workers have in hand."""
        health = self.host.feed.health
        tasks = [q.task for q in health.queues if q.pending or q.in_flight] if health else []
        if tasks:
            self.load(lambda session: oldest_tasks(session, tasks), self._aged, name="oldest")
        else:
            self.oldest = {}
        runs = self.host.feed.runs.newest()
        self.busy = busy_with(islice(runs, SCAN), NAMES)

    def _aged(self, oldest: dict[str, int]) -> None:
        self.oldest = oldest
        self.tick()

    def entered(self) -> None:
        """The detail is that of the section."""
        self._look_at_worker()

    # Painting

    def _loud(self, width: int) -> list[Line]:
        """What nobody serves, so that it cannot be overlooked."""
        dead = [q for q in self.lines if q.gate[1] == "bad"]
        if not dead:
            return []
        waits = sum(q.row.pending for q in dead)
        row = Line().gap(2).add(self.look_glyph("failed"), "bad").gap()
        row.add(f"{plural(waits, 'task')} cannot start: ", "bad bold")
        names = ", ".join(q.task for q in dead[:4]) + (" …" if len(dead) > 4 else "")
        row.add(f"nobody serves {names}", "bad")
        return [row.clip(width)]

    def headline(self) -> Line:
        """How much waits in all."""
        health = self.host.feed.health
        if health is None:
            return Line()
        waits = sum(q.pending for q in health.queues)
        hand = sum(q.in_flight for q in health.queues)
        row = Line().add("waiting ", "muted").add(count(waits), "text bold").gap(2)
        return row.add("in hand ", "muted").add(count(hand), "text bold")

    def _detail(self, width: int) -> list[Line]:
        if self.section.name == "workers":
            worker = self.worker_list.current
            detail = self.worker
            known = (
                detail
                if worker and detail and detail.worker.worker_id == worker.worker_id
                else None
            )
            return worker_detail(self.host, worker, known, width) if worker else []
        q = self.queue_list.current
        if q is None:
            return []
        ring, waiting = self.depths.seen.get(q.task, []), self.busy.at(q.users, NAMES)
        return queue_detail(self.host, q, ring, self.oldest, waiting, width)

    def _no_queues(self, width: int) -> list[Line]:
        del width
        if self.here.text or self.here.terms:
            return [line("No queue matches; esc clears the filter.", "text")]
        return [
            line("No task was ever queued.", "text bold"),
            line("Register a workflow, and start a run of it:", "muted"),
            line("dagnats workflow register workflow.json", "accent"),
        ]

    def _no_workers(self, width: int) -> list[Line]:
        del width
        if self.here.text or self.here.terms:
            return [line("No worker matches; esc clears the filter.", "text")]
        return [
            line("No worker has been heard of within a minute.", "warn bold"),
            line("Tasks wait until one comes. A runnable one to begin with:", "muted"),
            line("dagnats init my-project && cd my-project && python main.py", "accent"),
        ]

    # Keys

    def on_table_moved(self, event: Table.Moved) -> None:
        """The detail follows the cursor."""
        if event.table is self.section.pane:
            self._look_at_worker()
            pane = self.query_one("#queue-detail", Text)
            pane.top = 0
            pane.repaint()
            self.changed()

    def _look_at_worker(self) -> None:
        worker = self.worker_list.current
        if self.section.name != "workers" or worker is None:
            return
        name = worker.worker_id
        self.load(
            lambda session: get_worker(session, name),
            self._looked,
            name="worker",
            delay=0.06,
            failed=lambda error: None,
        )

    def _looked(self, detail: WorkerDetail) -> None:
        self.worker = detail
        self.query_one("#queue-detail", Text).repaint()

    def on_table_opened(self, event: Table.Opened) -> None:
        """The runs that wait at a queue, or that a worker has in hand."""
        del event
        self._open()

    def _open(self) -> None:
        address = self._target()
        if address is not None:
            self.host.go(address)

    def _target(self) -> Address | None:
        if self.section.name == "workers":
            worker = self.worker_list.current
            if worker is None:
                return None
            return Address(kind="runs", terms=(Term(key="worker", values=(worker.worker_id,)),))
        q = self.queue_list.current
        steps = tuple(dict.fromkeys(user.partition("/")[2] for user in q.users)) if q else ()
        flows = tuple(dict.fromkeys(user.partition("/")[0] for user in q.users)) if q else ()
        if not steps:
            return None
        return Address(
            kind="runs",
            terms=(
                Term(key="wf", values=flows),
                Term(key="step", values=steps),
                Term(key="status", values=("active",)),
            ),
        )

    def actions(self) -> list[Action]:
        """Going to runs, and from a queue to who serves it."""
        return [
            Action(
                id="queues.runs",
                keys=("o",),
                label="runs",
                title="The runs that are at it",
                run=self._open,
                off=lambda: "" if self._target() else "no workflow uses it",
                group="Go",
            ),
            *self.detail_actions(),
            *self.section_actions(),
        ]

    def copies(self) -> list[Copy]:
        """The name of what the cursor is on."""
        if self.section.name == "workers":
            worker = self.worker_list.current
            return [Copy("y", "worker id", worker.worker_id)] if worker else []
        q = self.queue_list.current
        return [Copy("y", "task", q.task)] if q else []

    def command(self) -> str:
        """The command that shows the same."""
        if self.section.name == "workers":
            return "dagnats workers list"
        return "dagnats status --detail"

    def status(self) -> Line:
        """How many of how many."""
        pane = self.queue_list if self.section.name == "queues" else self.worker_list
        return line(plural(len(pane.rows), self.section.name[:-1]), "muted")


def number(value: int, role: str = "text") -> tuple[str, str]:
    """A count; nothing is faint."""
    return (count(value), role) if value else ("0", "faint")


def name_of(worker: WorkerRegistration) -> str:
    """What it calls itself, else its id."""
    return worker.metadata.get("name") or worker.worker_id


def _workflows(q: QueueLine) -> str:
    return q.users[0].partition("/")[0] if q.users else ""


def _worker_text(worker: WorkerRegistration) -> str:
    return " ".join((name_of(worker), worker.worker_id, worker.hostname, *worker.task_types))

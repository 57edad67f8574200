"""The log of server and workers: followed, paused, filtered, joined to runs."""

from __future__ import annotations

from collections.abc import AsyncIterator

from textual.app import ComposeResult

from dagnats.model.records import LogRecord
from dagnats.model.times import SECOND, parse_duration, read_time
from dagnats.services.address import Address
from dagnats.services.logs import LogLine, log_lines
from dagnats.services.session import Session
from dagnats.tui.actions import Action
from dagnats.tui.format import clock, count, spark
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.screens.listing import ListView, labelled, term, with_term
from dagnats.tui.view import Copy
from dagnats.tui.widgets.log import Log
from dagnats.tui.widgets.table import Table
from dagnats.tui.widgets.text import Text

KEEP = 20_000
"""Records kept; the oldest are dropped and counted."""

BACK = 20_000
"""Messages read back at first."""

LEVELS = ("debug", "info", "warn", "error")
ROLES = {"error": "bad", "warn": "warn", "info": "muted", "debug": "faint"}
CONTEXT = 5
"""Records shown around a match."""

MINUTES = 60


class Logs(ListView):
    """Records in order of arrival, the newest at the bottom."""

    SCOPED_CSS = False
    DEFAULT_CSS = """
    Logs #log-head { height: 1; }
    Logs #log { height: 1fr; }
    Logs #log-detail { height: 9; display: none; }
    Logs.-open #log-detail { display: block; }
    Logs #log-rate { height: 1; }
    """
    keys = ("level", "run", "step", "service", "since")

    def __init__(self) -> None:
        super().__init__("logs")
        self.seq: int | None = None
        self.context = False
        self.errors: dict[int, int] = {}
        self._around: set[int] = set()
        self._since: int | None = None

    def compose(self) -> ComposeResult:
        """Head, records, the whole of one of them, and errors per minute."""
        self.log_list: Log[LogLine] = Log(
            self._row, lambda each: str(each.sequence), keep=KEEP, id="log"
        )
        self.log_list.empty = self._empty
        yield Text(self._head, focusable=False, id="log-head")
        yield self.log_list
        yield Text(self._detail, ground="surface", id="log-detail")
        yield Text(self._rate, focusable=False, id="log-rate")

    # Data

    def navigate(self, address: Address) -> None:
        """Filter as asked, and begin to follow."""
        super().navigate(address)
        if self.seq is None:
            self.seq = 0
            self.follow(self._items, self._take, name="log")

    async def _items(self, session: Session) -> AsyncIterator[LogLine]:
        if self.seq:
            async for each in log_lines(session, self.seq):
                yield each
            return
        async for each in log_lines(session, None, BACK):
            yield each

    def _take(self, batch: list[LogLine]) -> None:
        self.seq = batch[-1].sequence
        for each in batch:
            if level_of(each.record) == "error":
                minute = (read_time(each.record.timestamp) or self.host.now()) // (60 * SECOND)
                self.errors[minute] = self.errors.get(minute, 0) + 1
        self.log_list.append(batch)
        if self.context:
            self._refind()
        self.query_one("#log-head", Text).repaint()
        self.changed()

    def flush(self) -> None:
        """Nothing here comes from the feed; an empty log is complete once it is connected."""
        self.loaded = bool(self.log_list.all) or self.host.feed.health is not None

    def refiltered(self) -> None:
        """Show what the filter accepts."""
        self._since = _since(term(self.here, "since"), self.host.now())
        plain = not (self.here.terms or self.here.text)
        self.context = self.context and not plain
        if self.context:
            self._refind()
        else:
            self.log_list.only(None if plain else self._accepts)
        self.tick()
        self.changed()

    def _accepts(self, each: LogLine) -> bool:
        record = each.record
        wanted = term(self.here, "level")
        if wanted in LEVELS and LEVELS.index(level_of(record)) < LEVELS.index(wanted):
            return False
        run = term(self.here, "run")
        if run and not record.attributes.get("run_id", "").startswith(run):
            return False
        if self._since is not None and (read_time(record.timestamp) or 0) < self._since:
            return False
        values = {"step": step_of(record), "service": record.service_name}
        return self.only.accepts(values, _text(record))

    def _refind(self) -> None:
        """The matches and what stands around them."""
        records = self.log_list.all
        self._around = set()
        for at, each in enumerate(records):
            if self._accepts(each):
                low, high = max(0, at - CONTEXT), at + CONTEXT + 1
                self._around |= {near.sequence for near in records[low:high]}
        self.log_list.only(lambda each: each.sequence in self._around)

    # Painting

    def _row(self, each: LogLine) -> Line:
        record = each.record
        level = level_of(record)
        match = not self.context or self._accepts(each)
        quiet = "" if match else "faint"
        row = Line().add(clock(read_time(record.timestamp), 3), quiet or "muted", width=12).gap()
        row.add(level, quiet or ROLES[level], width=5).gap()
        if self.is_wide:
            row.add(record.service_name, "faint", width=8).gap()
        run = record.attributes.get("run_id", "")
        row.add(run[:8], quiet or "accent", width=8, link=f"go:run {run}" if run else "").gap()
        if self.is_wide:
            place = step_of(record) or record.attributes.get("workflow", "")
            row.add(place, quiet or "muted", width=14).gap()
        return row.add(record.body, quiet or ("bad" if level == "error" else "text"))

    def _head(self, width: int) -> list[Line]:
        log = self.log_list
        row = Line().gap(2)
        if log.following:
            row.add("following", "ok bold")
        else:
            row.add("paused", "warn bold")
            if log.unseen:
                row.gap(2).add(f"{self.host.look.glyph('down')} {count(log.unseen)} new", "accent")
        row.gap(3).add("level ", "muted").add(term(self.here, "level") or "all", "text")
        for name in ("run", "step", "service", "since"):
            if value := term(self.here, name):
                row.gap(3).add(f"{name} ", "muted").add(value[:12], "accent")
        if self.here.text:
            row.gap(3).add(f"/{self.here.text}", "accent")
        if self.context:
            row.gap(3).add(f"context {CONTEXT}", "muted")
        kept = Line().add(f"{count(len(log.all))} kept", "muted")
        if log.dropped:
            kept.add(f", {count(log.dropped)} older dropped", "muted")
        return [row.right(kept.gap(), width)]

    def _rate(self, width: int) -> list[Line]:
        now = self.host.now() // (60 * SECOND)
        series = [self.errors.get(now - back, 0) for back in range(MINUTES - 1, -1, -1)]
        room = min(MINUTES, width - 30)
        row = Line("surface").gap(2).add("errors/min 1h ", "muted")
        row.add(spark(series, room, self.host.look.ascii_only), "bad" if any(series) else "faint")
        return [row.gap(2).add(f"{count(sum(series))} in all", "muted")]

    def _detail(self, width: int) -> list[Line]:
        each = self.log_list.current
        if each is None:
            return []
        record = each.record
        lines = wrapped(record.body, width - 2, "text", 4)
        lines.append(labelled("at", f"{record.timestamp}   {record.service_name}", "muted"))
        if record.trace_id:
            lines.append(labelled("trace", record.trace_id, "muted"))
        lines += [labelled(key, value) for key, value in sorted(record.attributes.items())]
        return [Line().gap().extend(row) for row in lines]

    def _empty(self, width: int) -> list[Line]:
        del width
        if self.log_list.all:
            return [
                line("No record matches.", "text"),
                line("esc clears the words, L changes the level, A shows everything.", "muted"),
            ]
        return [
            line("Nothing was logged yet.", "text bold"),
            line("Server and workers log here as soon as a run starts:", "muted"),
            line("dagnats run start WORKFLOW", "accent"),
        ]

    # Keys

    def on_table_moved(self, event: Table.Moved) -> None:
        """The detail is that of the record; scrolling up pauses."""
        del event
        self.query_one("#log-head", Text).repaint()
        if self.has_class("-open"):
            self.query_one("#log-detail", Text).repaint()

    def on_table_opened(self, event: Table.Opened) -> None:
        """Open and close the whole record."""
        del event
        self.toggle_class("-open")
        self.query_one("#log-detail", Text).repaint()

    def actions(self) -> list[Action]:
        """Following, filtering, and going to the run."""
        following = self.log_list.following
        return [
            *self.detail_actions(),
            Action(
                id="logs.pause",
                keys=("space",),
                label="pause" if following else "follow",
                title="Pause, or follow the end again",
                run=self._pause,
            ),
            Action(
                id="logs.level",
                keys=("L",),
                label="level",
                title="Level…",
                run=lambda: None,
                choices=self._levels,
            ),
            Action(
                id="logs.run",
                keys=("o",),
                label="run",
                title="Go to the run the record is about",
                run=self._go_run,
                off=lambda: "" if self._run() else "the record names no run",
                group="Go",
            ),
            Action(
                id="logs.only_run",
                keys=("r",),
                label="only this run",
                title="Only what is about the same run",
                run=lambda: self.navigate(with_term(self.here, "run", self._run())),
                off=lambda: "" if self._run() else "the record names no run",
            ),
            Action(
                id="logs.context",
                keys=("C",),
                label="context",
                title=f"Show {CONTEXT} records around each match",
                run=self._toggle_context,
                off=lambda: "" if self.here.terms or self.here.text else "nothing is filtered",
            ),
            Action(
                id="logs.next",
                keys=("n",),
                title="Next match",
                run=lambda: self._match(1),
            ),
            Action(
                id="logs.previous",
                keys=("N",),
                title="Match before",
                run=lambda: self._match(-1),
            ),
            Action(
                id="logs.all",
                keys=("A",),
                title="Show everything again",
                run=lambda: self.navigate(Address(kind="logs")),
            ),
        ]

    def _pause(self) -> None:
        self.log_list.toggle_following()
        self.query_one("#log-head", Text).repaint()
        self.changed()

    def _levels(self) -> list[Action]:
        options = [("a", "all", ""), *((name[0], name, name) for name in LEVELS)]
        return [
            Action(
                id=f"logs.level.{label}",
                keys=(key,),
                label=label if not value else f"{label} and worse",
                title=f"Level {label}",
                run=lambda value=value: self.navigate(with_term(self.here, "level", value)),
            )
            for key, label, value in options
        ]

    def _run(self) -> str:
        each = self.log_list.current
        return each.record.attributes.get("run_id", "") if each else ""

    def _go_run(self) -> None:
        self.host.go(Address(kind="run", ids=(self._run(),)))

    def _toggle_context(self) -> None:
        self.context = not self.context
        self.refiltered()

    def _match(self, step: int) -> None:
        """Put the cursor on the next record that the filter accepts."""
        rows, at = self.log_list.rows, self.log_list.cursor + step
        while 0 <= at < len(rows):
            if self._accepts(rows[at]):
                self.log_list.move_to(at)
                return
            at += step
        self.host.report("no further match", "warn")

    def copies(self) -> list[Copy]:
        """The record."""
        each = self.log_list.current
        if each is None:
            return []
        record = each.record
        whole = f"{record.timestamp} {record.severity} {record.service_name} {record.body}"
        return [Copy("y", "line", whole), Copy("r", "run id", self._run())]

    def command(self) -> str:
        """The same from a shell."""
        parts = ["dagnats logs"]
        for option, name in (("--level", "level"), ("--run", "run"), ("--service", "service")):
            if value := term(self.here, name):
                parts.append(f"{option} {value}")
        return " ".join(parts)

    def status(self) -> Line:
        """How many are shown."""
        log = self.log_list
        return line(f"{count(len(log.rows))} of {count(len(log.all))}", "muted")


def level_of(record: LogRecord) -> str:
    """One of :data:`LEVELS`."""
    level = record.severity.lower()
    known = {"warning": "warn", "critical": "error", "fatal": "error", "trace": "debug"}
    level = known.get(level, level)
    return level if level in LEVELS else "info"


def step_of(record: LogRecord) -> str:
    """The step a record is about."""
    return record.attributes.get("step_id", "")


def _text(record: LogRecord) -> str:
    return f"{record.body} {record.service_name} {' '.join(record.attributes.values())}"


def _since(text: str, now: int) -> int | None:
    """From when on records are wanted; nonsense means always."""
    try:
        return now - parse_duration(text, days=True) if text else None
    except ValueError:
        return None

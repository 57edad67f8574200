"""The system below the runs: engines, streams, consumers, connections, locks, settings."""

from __future__ import annotations

from typing import cast

from textual.app import ComposeResult
from textual.widget import Widget

from dagnats.services.health import StreamHealth
from dagnats.services.overview import (
    Connection,
    Consumer,
    Locks,
    RateRow,
    ServerFacts,
    list_connections,
    list_consumers,
    list_locks,
    server_facts,
)
from dagnats.services.session import Session
from dagnats.services.singletons import SingletonRow
from dagnats.tui.actions import Action
from dagnats.tui.format import NONE, count, short, size
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.screens.sections import Section, Sectioned
from dagnats.tui.screens.system_do import SystemDoer
from dagnats.tui.screens.system_lines import (
    BUCKET,
    consumer_columns,
    lock_columns,
    overview_lines,
    settings_lines,
    stream_columns,
)
from dagnats.tui.view import Copy
from dagnats.tui.widgets.table import Column, Table
from dagnats.tui.widgets.text import Text

Lock = SingletonRow | RateRow | str
"""A singleton lock, a rate limit, or the name of a workflow that is paused (``*``: everything)."""


class System(Sectioned):
    """Six sections about what carries the runs."""

    SCOPED_CSS = False
    DEFAULT_CSS = """
    System #stream-list, System #consumers, System #connections, System #locks { height: 1fr; }
    """
    keys = ("stream",)

    def __init__(self) -> None:
        super().__init__("system")
        self.facts: ServerFacts | None = None
        self.consumers: list[Consumer] = []
        self.connections: list[Connection] | None = None
        self.locks = Locks([], [])
        self.doer = SystemDoer(self)
        self._looked = -1
        self._known: set[str] = set()

    def compose(self) -> ComposeResult:
        """Strip, and a pane for each section."""
        look, now = self.host.look.glyph, self.host.now
        self.overview = Text(self._overview, id="overview")
        self.streams: Table[StreamHealth] = Table(
            stream_columns(look), lambda s: s.name, id="stream-list"
        )
        self.consumer_list: Table[Consumer] = Table(
            consumer_columns(look), lambda c: f"{c.stream} {c.name}", id="consumers"
        )
        self.connection_list: Table[Connection] = Table(
            _connection_columns(), lambda c: str(c.cid), id="connections"
        )
        self.connection_list.empty = self._may_not
        self.lock_list: Table[Lock] = Table(lock_columns(now), _lock_key, id="locks")
        self.lock_list.empty = lambda width: [
            line("Nothing is held: no pause, no singleton lock, no rate limit.", "ok")
        ]
        self.settings = Text(self._settings, id="settings")
        self.parts = [
            Section("system", "Overview", self.overview),
            Section("streams", "Streams", self.streams, self._stream_count),
            Section("consumers", "Consumers", self.consumer_list, self._consumer_count),
            Section("locks", "Locks", self.lock_list, self._lock_count),
            Section("connections", "Clients", self.connection_list, self._connection_count),
            Section("settings", "Settings", self.settings),
        ]
        yield from self.strip()
        for part in self.parts:
            yield part.pane

    # Counts

    def _stream_count(self) -> tuple[str, str]:
        return str(len(self.streams.rows)), ""

    def _consumer_count(self) -> tuple[str, str]:
        stalled = sum(each.stalled for each in self.consumers)
        text = str(len(self.consumers))
        return (f"{text}, {stalled} stalled", "warn") if stalled else (text, "")

    def _lock_count(self) -> tuple[str, str]:
        held = len(self.held())
        return str(held), "warn" if any(isinstance(each, str) for each in self.held()) else ""

    def _connection_count(self) -> tuple[str, str]:
        return ("" if self.connections is None else str(len(self.connections))), ""

    def held(self) -> list[Lock]:
        """What holds work back: pauses first."""
        health = self.host.feed.health
        pauses = [] if health is None else list(health.paused.workflows)
        if health is not None and health.paused.paused:
            pauses.insert(0, "*")
        return [*pauses, *self.locks.singletons, *self.locks.rates]

    # Data

    def flush(self) -> None:
        """Look again whenever the feed did."""
        health = self.host.feed.health
        if health is None or health.at == self._looked:
            return
        self._looked = health.at
        self.load(server_facts, self._have_facts, name="facts")
        if self.consumers:
            self.entered()
        else:
            for name in ("consumers", "locks"):  # Their numbers stand in the strip.
                self._read(name)
        self.refiltered()

    def entered(self) -> None:
        """Read what the section shows."""
        self._read(self.section.name)

    def _read(self, name: str) -> None:
        if name == "consumers":
            streams = [each.name for each in self._health_streams()]
            self.load(
                lambda session: list_consumers(session, streams), self._have_consumers, name=name
            )
        elif name == "locks":
            self.load(list_locks, self._have_locks, name=name)
        elif name == "connections":
            self.load(list_connections, self._have_connections, name=name)

    def reread(self) -> None:
        """Look at everything anew."""
        self.host.in_background(self._reread(self.host.session))

    async def _reread(self, session: Session) -> None:
        del session
        await self.host.feed.look()
        self.entered()

    def _health_streams(self) -> list[StreamHealth]:
        health = self.host.feed.health
        return health.streams if health else []

    def _have_facts(self, facts: ServerFacts) -> None:
        self.facts = facts
        self._has_come("")
        self.tick()

    def _has_come(self, name: str) -> None:
        """Something was read; the screen is complete with that of its section."""
        self._known.add(name)
        needs = {"consumers", "locks", "connections"} & {self.section.name}
        self.loaded = self.facts is not None and needs <= self._known

    def _have_consumers(self, found: list[Consumer]) -> None:
        self.consumers = found
        self._has_come("consumers")
        self.refiltered()

    def _have_locks(self, locks: Locks) -> None:
        self.locks = locks
        self._has_come("locks")
        self.refiltered()

    def _have_connections(self, found: list[Connection] | None) -> None:
        self.connections = found
        self._has_come("connections")
        self.refiltered()

    def refiltered(self) -> None:
        """Show what the filter accepts."""
        only = self.only
        streams = [s for s in self._health_streams() if only.accepts({"stream": s.name}, s.name)]
        self.streams.show(sorted(streams, key=lambda s: (s.name.startswith(BUCKET), s.name)))
        self.consumer_list.show(
            [
                each
                for each in self.consumers
                if only.accepts({"stream": each.stream}, f"{each.name} {each.stream} {each.filter}")
            ]
        )
        self.connection_list.show(
            [
                each
                for each in self.connections or ()
                if only.accepts({}, f"{each.name} {each.ip} {each.language}")
            ]
        )
        self.lock_list.show([each for each in self.held() if only.accepts({}, _lock_key(each))])
        self.tick()
        self.changed()

    # Painting

    def _overview(self, width: int) -> list[Line]:
        return overview_lines(self.host, self.facts, width)

    def _settings(self, width: int) -> list[Line]:
        return settings_lines(self.host, self.facts, width)

    def _may_not(self, width: int) -> list[Line]:
        if self.connections is not None:
            return [line("No client matches.", "text")]
        return [
            line("This connection may not ask who else is connected.", "text bold"),
            *wrapped(
                "nats-server tells its system account only. With a context that has one:",
                width,
                "muted",
            ),
            line("dagnats ui --context sys ':connections'", "accent"),
        ]

    # Keys

    def first_focus(self) -> Widget | None:
        """The pane of the section."""
        return self.section.pane

    def on_table_opened(self, event: Table.Opened) -> None:
        """From a stream to its consumers, from a lock to the run that holds it."""
        if event.table is self.streams and self.streams.current is not None:
            self.host.go(f"consumers stream:{self.streams.current.name}")
        elif event.table is self.lock_list:
            held = self.lock_list.current
            if isinstance(held, SingletonRow):
                self.host.go(f"run {held.run_id}")

    def on_table_moved(self, event: Table.Moved) -> None:
        """What keys can do depends on the row."""
        del event
        self.changed()

    def actions(self) -> list[Action]:
        """What can be done in the section."""
        return [*self.doer.actions(), *self.section_actions()]

    def copies(self) -> list[Copy]:
        """The name of what the cursor is on."""
        pane = self.section.pane
        if isinstance(pane, Table) and pane.current is not None:
            table = cast("Table[object]", pane)
            return [Copy("y", "name", table.key(table.current))]
        return []

    def command(self) -> str:
        """The same from a shell."""
        commands = {"locks": "dagnats singleton list", "settings": "dagnats config show"}
        return commands.get(self.section.name, "dagnats status --detail")

    def status(self) -> Line:
        """Whether the engine keeps up."""
        health = self.host.feed.health
        if health is None:
            return Line()
        if not health.engine:
            return line("no engine", "bad")
        return line(f"lag {count(health.lag)}", "warn" if health.lag > 1_000 else "muted")


def _connection_columns() -> list[Column[Connection]]:
    return [
        Column(title="ID", cell=lambda c: (str(c.cid), "muted"), width=5, right=True),
        Column(title="NAME", cell=lambda c: (c.name or NONE, "text"), width=20, flex=2),
        Column(title="FROM", cell=lambda c: (c.ip, "accent"), width=18, flex=1),
        Column(title="MAKE", cell=_make, width=14, drop=2),
        Column(title="RTT", cell=lambda c: (c.rtt, "muted"), width=9, right=True, drop=4),
        Column(title="SUBS", cell=lambda c: (short(c.subscriptions), "text"), width=5, right=True),
        Column(title="IN", cell=lambda c: (short(c.in_msgs), "text"), width=5, right=True),
        Column(title="OUT", cell=lambda c: (short(c.out_msgs), "text"), width=5, right=True),
        Column(title="BEHIND", cell=_behind, width=9, right=True, drop=3, gap=1),
    ]


def _make(row: Connection) -> tuple[str, str]:
    return f"{row.language} {row.version}", "muted"


def _behind(row: Connection) -> tuple[str, str]:
    return (size(row.pending), "warn") if row.pending else (NONE, "faint")


def _lock_key(held: Lock) -> str:
    if isinstance(held, str):
        return f"pause {held}"
    return held.key

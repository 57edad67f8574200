"""The go line: addresses, things and actions, found as one types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from dagnats.errors import DagnatsError
from dagnats.services.address import parse_address
from dagnats.services.contexts import list_contexts
from dagnats.services.run_filter import KEYS
from dagnats.tui import screens
from dagnats.tui.actions import key_text
from dagnats.tui.format import age
from dagnats.tui.line import Line
from dagnats.tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from dagnats.tui.app import Console

SHOWN = 12
"""Candidates that are shown."""

MIN_ID = 3
"""Characters of a run id before runs are offered."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something the go line offers.

    Attributes:
        text: what it is.
        note: a word more.
        kind: what sort of thing it is.
        run: does it.
        fill: what tab puts into the line.
    """

    text: str
    note: str
    kind: str
    run: Callable[[], object]
    fill: str = ""


def candidates(app: Console, typed: str) -> list[Candidate]:
    """What is offered for what was typed, the best first."""
    if typed.startswith(">"):
        return _actions(app, typed[1:])[:SHOWN]
    found = [
        *_exact(app, typed),
        *_contexts(app, typed),
        *_screens(app, typed),
        *_runs(app, typed),
        *_flows(app, typed),
    ]
    return [*found, *_terms(typed), *_actions(app, typed)][:SHOWN]


def _exact(app: Console, typed: str) -> list[Candidate]:
    try:
        address = parse_address(typed)
        entry = screens.find(address.kind)
    except DagnatsError:
        return []
    if entry.takes and not address.ids:
        return []  # Which one? Its things are offered as they are typed.
    return [Candidate(typed.strip(), entry.help, "screen", lambda: app.go(address), typed)]


def _place(app: Console, address: str, note: str, kind: str = "screen") -> Candidate:
    return Candidate(address, note, kind, lambda: app.go(address), address)


def _contexts(app: Console, typed: str) -> list[Candidate]:
    word, _, rest = typed.strip().partition(" ")
    if not word or not "ctx".startswith(word):
        return []
    return [
        _place(app, f"ctx {name}", "another server", "context")
        for name in list_contexts()
        if rest in name
    ]


def _screens(app: Console, typed: str) -> list[Candidate]:
    word = typed.strip().lower()
    if " " in word:
        return []
    return [
        Candidate(
            entry.kind, entry.help, "screen", lambda kind=entry.kind: app.go(kind), entry.kind
        )
        for entry in screens.SCREENS
        if word != entry.kind and (entry.kind.startswith(word) or word in entry.title.lower())
        if not entry.takes
    ]


def _runs(app: Console, typed: str) -> list[Candidate]:
    word = typed.rpartition(" ")[2].lower()
    if len(word) < MIN_ID or ":" in word or not _has("run"):
        return []
    found: list[Candidate] = []
    for row in app.feed.runs.with_prefix(word, 6):
        note = f"{row.workflow}  {row.state}  {age(app.now() - row.created_ns)} ago"
        found.append(_place(app, f"run {row.run_id}", note, "run"))
    return found


def _flows(app: Console, typed: str) -> list[Candidate]:
    word = typed.rpartition(" ")[2].lower()
    if len(word) < 2 or ":" in word:
        return []
    found: list[Candidate] = []
    for name in sorted(app.feed.flows):
        if word in name.lower():
            if _has("flow"):
                place = f'flow "{name}"' if " " in name else f"flow {name}"
                found.append(
                    Candidate(place, "workflow", "thing", lambda p=place: app.go(p), place)
                )
            place = f"runs wf:{name}"
            number = app.feed.runs.workflows.get(name, 0)
            found.append(
                Candidate(place, f"{number:,} runs", "screen", lambda p=place: app.go(p), place)
            )
    return found[:6]


def _has(kind: str) -> bool:
    return any(entry.kind == kind for entry in screens.SCREENS)


def _terms(typed: str) -> list[Candidate]:
    """Keys of terms for the word that is being typed."""
    head, _, word = typed.rpartition(" ")
    if not head or ":" in word:
        return []
    try:
        entry = screens.find(head.split()[0])
    except DagnatsError:
        return []
    return [
        Candidate(f"{head} {key}:…", KEYS.get(key, ""), "filter", lambda: None, f"{head} {key}:")
        for key in entry.terms
        if key.startswith(word)
    ]


def _actions(app: Console, typed: str) -> list[Candidate]:
    words = typed.lower().split()
    found: list[Candidate] = []
    for action in app.extra_actions():
        text = f"{action.title} {action.id}".lower()
        if all(word in text for word in words) and not action.id.startswith(("list.", "text.")):
            keys = " ".join(key_text(key) for key in action.keys)
            note = app.blocked(action) or keys
            found.append(Candidate(action.title, note, "action", lambda a=action: app.act(a)))
    return found


class Choices(Canvas):
    """The candidates, one of them chosen."""

    ground = "raised"

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self.items: list[Candidate] = []
        self.at = 0

    def paint(self, width: int, height: int) -> list[Line]:
        """A row per candidate."""
        rows: list[Line] = []
        for number, item in enumerate(self.items[:height]):
            here = number == self.at
            row = Line("cursor" if here else "")
            row.add(self.look.glyph("cursor") if here else " ", "accent").gap()
            row.add(item.text, "text", width=max(20, width * 4 // 9)).gap(2)
            row.add(item.note, "muted", most=max(10, width // 3))
            rows.append(row.right(Line().add(item.kind, "faint").gap(), width))
        return rows or [Line().gap(2).add("nothing like that", "muted")]

    def on_click(self, event: events.Click) -> None:
        """A click chooses."""
        event.stop()
        if event.y < len(self.items):
            self.at = event.y
            cast("GoLine", self.parent).choose()


class GoLine(Vertical):
    """An input with what it finds below; lies over the screen while it is open."""

    DEFAULT_CSS = """
    GoLine { display: none; layer: over; dock: top; offset: 0 1; height: auto; width: 1fr;
             background: $panel; padding: 1 1; }
    GoLine > Choices { height: 12; }
    """

    def compose(self) -> ComposeResult:
        """The input and the candidates."""
        yield Input(id="go-input", select_on_focus=False)
        yield Choices(id="go-choices")

    @property
    def console(self) -> Console:
        """The application."""
        return cast("Console", self.app)

    def open(self, text: str) -> None:
        """Begin to type."""
        self.display = True
        field = self.query_one(Input)
        field.cursor_blink = False
        field.value = text
        field.cursor_position = len(text)
        field.focus()
        self._find(text)

    def close(self) -> None:
        """Back to the screen."""
        self.display = False
        view = self.console.view
        pane = view.first_focus() if view else None
        self.screen.set_focus(pane, scroll_visible=False)

    def choose(self) -> None:
        """Do what is chosen."""
        pane = self.query_one(Choices)
        if not pane.items:
            return
        item = pane.items[pane.at]
        if item.kind == "filter":
            self.open(item.fill)
            return
        self.close()
        item.run()

    def _find(self, text: str) -> None:
        pane = self.query_one(Choices)
        pane.items = candidates(self.console, text.removeprefix(":"))
        pane.at = 0
        pane.styles.height = max(1, min(SHOWN, len(pane.items)))
        pane.repaint()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Every key finds anew."""
        event.stop()
        if self.display:
            self._find(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter does what is chosen."""
        event.stop()
        self.choose()

    def on_key(self, event: events.Key) -> None:
        """Choosing, completing, leaving; everything else is typed."""
        pane = self.query_one(Choices)
        if event.key in ("down", "ctrl+n", "up", "ctrl+p"):
            by = 1 if event.key in ("down", "ctrl+n") else -1
            pane.at = max(0, min(len(pane.items) - 1, pane.at + by))
            pane.repaint()
        elif event.key == "tab":
            if pane.items and pane.items[pane.at].fill:
                self.open(pane.items[pane.at].fill)
        elif event.key == "escape":
            self.close()
        else:
            return
        event.stop()
        event.prevent_default()
